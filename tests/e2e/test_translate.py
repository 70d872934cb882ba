"""Translation: the same tokens and scores as CTranslate2 and as the numpy reference, in the exact shape
of Helsinki-NLP's opus-mt models."""
import json
import os
import shutil
import subprocess
import sys

import ctranslate2
import numpy as np
import pytest
from ctranslate2.converters import OpusMTConverter

import marian
import marian_folders
import marian_random
import train_toy
from support import ROOT, run

VOCABULARY = 58101
THREADS = 2


def lines_of(count, seed, words=None, longest=3):
    """Random lines of words of a small text, and of made-up ones."""
    rng = np.random.default_rng(seed)
    words = words or " ".join(marian_folders.SOURCE_TEXT).split()
    made = ["".join(rng.choice(list("aeioulnrst"), rng.integers(2, 7))) for _ in range(40)]
    return [" ".join(rng.choice(words + made, rng.integers(1, longest + 1))) for _ in range(count)]


def translate(model, lines, *arguments):
    """The JSON objects of `outboard translate`, in order."""
    text = "".join(line + "\n" for line in lines).encode()
    out = run("translate", model, "--device", "cpu", "--json", "-t", THREADS, *arguments, stdin=text, timeout=1200).out
    objects = [json.loads(line) for line in out.strip().split("\n")]
    assert [o["source"] for o in objects] == lines
    return objects


def convert(folder, out, kind="f32"):
    run("convert", folder, out, "--type", kind, "-t", THREADS)
    return out


def set_generation(folder, **options):
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **options}))


class Opus:
    """One model in both programs' formats."""

    def __init__(self, folder):
        self.tokenizer = marian_folders.make_tokenizer(VOCABULARY, languages=())
        config = marian_folders.opus_config(VOCABULARY)
        weights = marian_random.weights(config, seed=7)
        marian_folders.write_marian(folder / "marian", weights, config, self.tokenizer)
        OpusMTConverter(str(folder / "marian")).convert(str(folder / "ct2"))
        self.path = convert(folder / "marian", folder / "opus.gguf")
        shutil.rmtree(folder / "marian")
        self.ct2 = str(folder / "ct2")
        self.translator = ctranslate2.Translator(self.ct2, compute_type="float32", intra_threads=THREADS)
        self.reference = marian.Marian(self.path)

    def ctranslate2(self, lines, beams, translator=None, **options):
        pieces = [self.reference.source_spm.encode(line, out_type=str) for line in lines]
        return (translator or self.translator).translate_batch(
            pieces, beam_size=beams, return_scores=True, max_input_length=0, min_decoding_length=0, max_batch_size=32,
            **options)


@pytest.fixture(scope="session")
def opus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("opus")
    yield Opus(folder)
    shutil.rmtree(folder)


SENTENCES = int(os.environ.get("OUTBOARD_SENTENCES", 120))


@pytest.mark.parametrize("beams", [1, 4, 6])
def test_same_as_ctranslate2(opus, beams):
    lines = lines_of(SENTENCES, seed=beams)
    theirs = opus.ctranslate2(lines, beams)
    # The sentences differ, and end by themselves.
    lengths = [len(r.hypotheses[0]) for r in theirs]
    assert 4 < np.mean(lengths) < 14 and np.std(lengths) > 1.5 and max(lengths) < 60
    assert len({tuple(r.hypotheses[0]) for r in theirs}) > 0.9 * len(set(lines))
    assert np.mean([len(set(h)) / max(1, len(h)) for h in (r.hypotheses[0] for r in theirs)]) > 0.7

    mine = translate(opus.path, lines, "--beam", beams, "--early-stopping", "yes")
    same = [m["tokens"] == t.hypotheses[0] for m, t in zip(mine, theirs)]
    differences = [abs(m["score"] - t.scores[0]) for m, t, equal in zip(mine, theirs, same) if equal]
    print(f"beam {beams}: {sum(same)} of {len(same)} the same, scores differ by at most {max(differences):.1e}")
    assert sum(same) >= 0.99 * len(lines)
    assert max(differences) < 1e-3
    assert not any(m["cut"] for m in mine)
    for m in mine:
        assert m["text"] == opus.reference.text([opus.reference.ids[piece] for piece in m["tokens"]])


def test_n_best_and_longest(opus):
    """All hypotheses, in order; and sentences that are cut."""
    lines = lines_of(40, seed=11)
    for longest in (255, 5):
        theirs = opus.ctranslate2(lines, 4, num_hypotheses=4, max_decoding_length=longest)
        mine = translate(opus.path, lines, "--beam", 4, "--nbest", 4, "--early-stopping", "yes",
                         "--max-tokens", longest)
        for m, t in zip(mine, theirs):
            choices = [m, *m["alternatives"]]
            assert [c["tokens"] for c in choices] == t.hypotheses
            assert np.allclose([c["score"] for c in choices], t.scores, atol=1e-3)
        if longest == 5:
            assert sum(m["cut"] for m in mine) > 5


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.5])
def test_length_penalty(opus, length_penalty):
    lines = lines_of(40, seed=12)
    theirs = opus.ctranslate2(lines, 4, length_penalty=length_penalty)
    mine = translate(opus.path, lines, "--beam", 4, "--early-stopping", "yes", "--length-penalty", length_penalty)
    assert [m["tokens"] for m in mine] == [t.hypotheses[0] for t in theirs]
    assert np.allclose([m["score"] for m in mine], [t.scores[0] for t in theirs], atol=1e-3 * 20)


def test_f16(opus, tmp_path):
    """The sentences of the reference reading the same file."""
    path = tmp_path / "model.gguf"
    run("quantize", opus.path, path, "f16")
    lines = lines_of(6, seed=13)
    reference = marian.Marian(path)
    mine = translate(path, lines, "--beam", 4, "--early-stopping", "yes")
    want = [reference.translate(line, beams=4, early_stopping=True)[0] for line in lines]
    assert [m["tokens"] for m in mine] == [reference.pieces(ids) for ids, _ in want]
    assert np.allclose([m["score"] for m in mine], [score for _, score in want], atol=1e-3)


def test_8_bits_lose_no_more_than_ctranslate2s(opus, tmp_path):
    """Random weights amplify every rounding, so sentences change; but in no more lines than in its int8."""
    path = tmp_path / "model.gguf"
    run("quantize", opus.path, path, "q8_0")
    lines = lines_of(60, seed=13)

    def sentences(results):
        return [result.hypotheses[0] for result in results]
    exact = sentences(opus.ctranslate2(lines, 4))
    int8 = ctranslate2.Translator(opus.ct2, compute_type="int8", intra_threads=THREADS)
    theirs = sentences(opus.ctranslate2(lines, 4, translator=int8))
    mine = [m["tokens"] for m in translate(path, lines, "--beam", 4, "--early-stopping", "yes")]

    def kept(found):
        return sum(len({*a} & {*b}) / max(1, len({*a} | {*b})) for a, b in zip(exact, found)) / len(lines)
    print(f"words kept: Q8_0 {kept(mine):.2f}, CTranslate2's int8 {kept(theirs):.2f}")
    assert kept(mine) >= kept(theirs)


# Smaller models of all kinds against the reference: what CTranslate2 does not do the same way.

def small(folder, seed=1, generation=None, languages=(), **config):
    tokenizer = marian_folders.make_tokenizer(700, languages=languages)
    config = marian_folders.make_config(700, width=64, feed_forward=128, **config)
    make = marian_random.weights if config["share_encoder_decoder_embeddings"] and config[
        "tie_word_embeddings"] and not config["normalize_before"] else marian_folders.random_weights
    marian_folders.write_hf(folder / "hf", make(config, seed), config, tokenizer)
    set_generation(folder / "hf", **(generation or {}))
    return convert(folder / "hf", folder / "small.gguf")


KINDS = {"swish": {}, "relu": {"activation_function": "relu"}, "gelu": {"activation_function": "gelu"},
         "uneven": {"layers": 3, "decoder_layers": 1},
         "pre-norm": {"normalize_before": True, "add_final_layer_norm": True},
         "untied": {"share_encoder_decoder_embeddings": False, "tie_word_embeddings": False},
         "unscaled": {"scale_embedding": False}}


def check_search(path, stop, count=12, beams=4, longest=24, **options):
    """The three best of every line, searched until `stop`."""
    lines = lines_of(count, seed=14)
    reference = marian.Marian(path)
    mine = translate(path, lines, "--beam", beams, "--nbest", 3, "--max-tokens", longest,
                     "--early-stopping", {True: "yes", False: "no", "never": "never"}[stop],
                     *(f"--{name.replace('_', '-')}={value}" for name, value in options.items()))
    for m, line in zip(mine, lines):
        want = reference.translate(line, beams=beams, early_stopping=stop, max_length=longest + 1, **options)[:3]
        choices = [m, *m["alternatives"]]
        assert [c["tokens"] for c in choices] == [reference.pieces(ids) for ids, _ in want]
        assert np.allclose([c["score"] for c in choices], [score for _, score in want], atol=1e-3)
    return mine


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_models(kind, tmp_path):
    check_search(small(tmp_path, **KINDS[kind]), True)


def test_early_stopping(tmp_path):
    """The three ways to stop, which must not all give the same."""
    path = small(tmp_path)
    for length_penalty in (1.0, 2.0, -1.0):
        found = {stop: check_search(path, stop, count=20, length_penalty=length_penalty)
                 for stop in (True, False, "never")}
        if length_penalty == 1.0:
            scores = {stop: [m["score"] for m in lines] for stop, lines in found.items()}
            assert scores[True] != scores[False] != scores["never"]


def check_logits(path, sources, reference, limit, device="cpu"):
    """Rows of the next word's logits, with random words as the target, against the reference."""
    rng = np.random.default_rng(3)
    targets = [rng.integers(2, len(reference.tokens) - 1, rng.integers(0, 20)).tolist() for _ in sources]
    requests = "".join(f"{' '.join(map(str, s))} | {' '.join(map(str, t))}\n" for s, t in zip(sources, targets))
    result = subprocess.run([os.environ["MARIAN_LOGITS"], path, device], input=requests.encode(), capture_output=True,
                            check=True)
    got = np.frombuffer(result.stdout, np.float32).reshape(-1, len(reference.tokens))
    want = np.concatenate([reference.logits(reference.encode(s), t) for s, t in zip(sources, targets)])
    assert got.shape == want.shape
    # The pad's row says that it can never be chosen; the others say how likely.
    assert np.all(got[:, reference.pad] == -np.inf)
    got, want = np.delete(got, reference.pad, 1), np.delete(want, reference.pad, 1)
    worst = np.abs(got - want).max()
    print(f"{path.name}: logits of {len(want)} positions differ by at most {worst:.1e}, deviation {want.std():.2f}")
    assert worst < limit and want.std() > 0.5
    return want


def random_sources(reference, count):
    return [reference.source_ids(line) for line in lines_of(count, seed=21, longest=8)]


def test_logits_of_the_exact_shape(opus):
    check_logits(opus.path, random_sources(opus.reference, 6), opus.reference, limit=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_of_kinds(kind, tmp_path):
    path = small(tmp_path, **KINDS[kind])
    reference = marian.Marian(path, np.float64)
    check_logits(path, random_sources(reference, 10), reference, limit=1e-4)


def test_encoder_alone(tmp_path):
    """A decoder that adds the mean of the encoder's output to its input and nothing else: its logits show
    whether the encoder is right."""
    tokenizer = marian_folders.make_tokenizer(700, languages=())
    config = marian_folders.make_config(700, width=64, layers=6, decoder_layers=1, feed_forward=128)
    weights = marian_random.weights(config, seed=5)
    for name, value in weights.items():
        if name.startswith("model.decoder."):
            shown = "encoder_attn." in name and name.endswith(("v_proj.weight", "out_proj.weight"))
            value[:] = np.eye(64) if shown else 1 if name.endswith("norm.weight") else 0
    marian_folders.write_hf(tmp_path / "hf", weights, config, tokenizer)
    path = convert(tmp_path / "hf", tmp_path / "encoder.gguf")
    reference = marian.Marian(path, np.float64)
    sources = random_sources(reference, 20)
    want = check_logits(path, sources, reference, limit=1e-5)
    assert len(np.unique(want[:, 5].round(4))) > len(sources)


def test_defaults_of_the_model(tmp_path):
    """Beams, length penalty, early stopping and longest translation are the model's own."""
    generation = {"num_beams": 3, "length_penalty": 0.5, "early_stopping": True, "max_length": 12}
    path = small(tmp_path, generation=generation)
    lines = lines_of(30, seed=15)
    reference = marian.Marian(path)
    for m, line in zip(translate(path, lines), lines):
        ids, score = reference.translate(line, beams=3, length_penalty=0.5, early_stopping=True, max_length=12)[0]
        assert m["tokens"] == reference.pieces(ids)
        assert abs(m["score"] - score) < 1e-3


def test_batches_do_not_matter(opus):
    lines = lines_of(60, seed=16)
    together = translate(opus.path, lines, "--beam", 3, "--batch", 24)
    apart = translate(opus.path, lines[:8], "--beam", 3, "--batch", 1)
    for a, b in zip(together, apart):
        assert a["tokens"] == b["tokens"]
        assert abs(a["score"] - b["score"]) < 1e-3


def test_languages(tmp_path):
    """--to and a line's own token are the source's first piece; without either the model cannot know."""
    path = small(tmp_path, languages=(">>fra<<", ">>deu<<"))
    reference = marian.Marian(path)
    lines = ["the small house", "a long book"]
    told = translate(path, lines, "--to", "fra")
    spelled = run("translate", path, "--json", *(f">>fra<<{line}" for line in lines)).out.strip().split("\n")
    other = translate(path, lines, "--to", "deu")
    for a, b, c in zip(told, map(json.loads, spelled), other):
        assert a["tokens"] == b["tokens"] != c["tokens"]
        assert b["source"].startswith(">>fra<<")
        assert a["source_tokens"] == c["source_tokens"] == len(reference.source_ids(b["source"]))
    assert "fra" in run("translate", path, *lines, ok=False).err
    assert "spa" in run("translate", path, *lines, "--to", "spa", ok=False).err


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """A model that was trained, in a program of its own: its small matrices want one thread."""
    folder = tmp_path_factory.mktemp("toy")
    subprocess.run([sys.executable, ROOT / "tests/reference/train_toy.py", folder / "hf"], check=True)
    return convert(folder / "hf", folder / "toy.gguf", "f16")


def check_unseen(toy, count, *arguments):
    """How many lines that training did not see come out wrong: at most one of twenty."""
    pairs = train_toy.unseen(count)
    text = "".join(line + "\n" for line, _ in pairs).encode()
    out = run("translate", toy, *arguments, stdin=text).out.strip().split("\n")
    wrong = [(line, want, got) for (line, want), got in zip(pairs, out, strict=True) if want != got]
    print(f"{arguments}: {count - len(wrong)} of {count} unseen lines right; wrong: {wrong}")
    assert len(pairs) == count and len(wrong) <= count // 20
    return out


@pytest.mark.parametrize("beams", [1, 4])
def test_unseen_lines_are_right(toy, beams):
    check_unseen(toy, 100, "--device", "cpu", "-t", THREADS, "--beam", beams)


def test_unseen_lines_in_8_bits(toy, tmp_path):
    run("quantize", toy, tmp_path / "q8_0.gguf", "q8_0")
    check_unseen(tmp_path / "q8_0.gguf", 100, "--device", "cpu", "-t", THREADS)


def test_unseen_lines_on_the_simulated_card(toy):
    check_unseen(toy, 20, "--device", "sim", "--beam", 4)
