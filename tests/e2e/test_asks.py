"""What a GGUF file asks for is done, refused by name, or known to be harmless: nothing is read over."""
import json

import gguf
import numpy as np
import pytest

import forward
import make_model
from edit_gguf import edit
from support import ALICE, run, run_json

F32, U32, I32 = gguf.GGUFValueType.FLOAT32, gguf.GGUFValueType.UINT32, gguf.GGUFValueType.INT32
TEXT, FLAG = gguf.GGUFValueType.STRING, gguf.GGUFValueType.BOOL
SCALED = {  # how files say "positions are divided by 4"
    "type and factor": {"rope.scaling.type": ("linear", TEXT), "rope.scaling.factor": (4.0, F32)},
    "no type": {"rope.scaling.factor": (4.0, F32)},
    "the key of 2023": {"rope.scale_linear": (4.0, F32)},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = {}

    def get(family):
        if family not in made:
            made[family] = folder / f"{family}.gguf"
            make_model.make(family, made[family])
        return made[family]

    return get


class Scaled(forward.Model):
    """The reference is told of the scaling outright, however the file spells it."""

    def key(self, name, default=None):
        return {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}.get(name) or super().key(name, default)


@pytest.mark.parametrize("spelling", SCALED)
@pytest.mark.parametrize("family", ["llama-small", "qwen3-small", "gemma3-small"])
def test_rope_scaling(models, family, spelling, tmp_path):
    plain = models(family)
    arch = make_model.SHAPES[family][0]
    path = edit(plain, tmp_path / "m.gguf", {f"{arch}.{k}": v for k, v in SCALED[spelling].items()})
    count = 100
    text = tmp_path / "text.txt"
    text.write_bytes(ALICE.read_bytes()[2000:2400])
    tokens = np.asarray(run_json("tokenize", path, "-f", text)["ids"][:count])
    how = dict(halves=arch != "llama", head_norms=arch in ("qwen3", "gemma3"), gemma=arch == "gemma3")
    want = forward.decoder(Scaled(path), tokens, **how)
    without = forward.decoder(forward.Model(plain), tokens, **how)
    run("perplexity", path, "-f", text, "--ctx", count, "--logits", tmp_path / "l.npy")
    got = np.load(tmp_path / "l.npy")[:count]
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, atol=0.02 * want.std())
    assert np.abs(got - without).max() > 0.2 * want.std()


@pytest.mark.parametrize("family", ["gemma3-small", "llama-small"])
def test_capped_logits(models, family, tmp_path):
    """cap * tanh(logit / cap), as Gemma 2's paper has it (arXiv:2408.00118); ollama's Gemma 3 1B asks for it."""
    text = tmp_path / "text.txt"
    text.write_bytes(ALICE.read_bytes()[2000:2300])
    logits = {}
    for cap in (None, 0.0, 1.5):
        arch = make_model.SHAPES[family][0]
        path = models(family) if cap is None else edit(
            models(family), tmp_path / "m.gguf", {f"{arch}.final_logit_softcapping": (cap, F32)})
        run("perplexity", path, "-f", text, "--ctx", 50, "--logits", tmp_path / "l.npy")
        logits[cap] = np.load(tmp_path / "l.npy")
    assert np.abs(logits[None]).max() > 1.5
    np.testing.assert_array_equal(logits[0.0], logits[None])
    np.testing.assert_allclose(logits[1.5], 1.5 * np.tanh(logits[None] / 1.5), atol=1e-4)


def test_no_scaling_is_no_scaling(models, tmp_path):
    """A factor of 0 or 1 and the type "none" leave the model as it is."""
    plain = models("llama-small")
    want = run("run", plain, "--raw", "-p", "the", "-n", 12, "--temp", 0).out
    for i, keys in enumerate([{"rope.scaling.type": ("none", TEXT), "rope.scaling.factor": (8.0, F32)},
                              {"rope.scaling.factor": (0.0, F32)}, {"rope.scale_linear": (1.0, F32)}]):
        path = edit(plain, tmp_path / f"{i}.gguf", {f"llama.{k}": v for k, v in keys.items()})
        assert run("run", path, "--raw", "-p", "the", "-n", 12, "--temp", 0).out == want


@pytest.mark.parametrize("kind", ["longrope", "dynamic", "su"])
def test_other_scalings_are_refused(models, kind, tmp_path):
    path = edit(models("qwen2-small"), tmp_path / "m.gguf", {"qwen2.rope.scaling.type": (kind, TEXT)})
    assert f'qwen2.rope.scaling.type = "{kind}"' in run("run", path, "-p", "x", ok=False).err


TENSORS = ["attn_sinks.weight", "attn_sub_norm.weight", "ffn_sub_norm.weight", "post_attention_norm.weight", "attn_q.scale",
           "attn_norm.bias", "ffn_gate_inp.weight", "exp_probs_b.bias"]


@pytest.mark.parametrize("name", TENSORS)
def test_unknown_tensors(models, name, tmp_path):
    extra = {f"blk.{i}.{name}": np.full(128, 2, np.float32) for i in range(3)}
    path = edit(models("llama-small"), tmp_path / "m.gguf", tensors=extra)
    for command in (["run", path, "--raw", "-p", "the", "-n", 4], ["perplexity", path, "-f", ALICE, "--ctx", 64]):
        error = run(*command, ok=False).err
        assert f"tensor blk.N.{name} (3 layers)" in error and "--ignore-unknown" in error
    went_on = run("run", path, "--raw", "-p", "the", "-n", 4, "--temp", 0, "--ignore-unknown")
    assert f"ignored, as you asked: tensor blk.N.{name}" in went_on.err
    assert went_on.out == run("run", models("llama-small"), "--raw", "-p", "the", "-n", 4, "--temp", 0).out
    assert run_json("inspect", path)["unknown"] == [f"tensor blk.N.{name} (3 layers)"]


@pytest.mark.parametrize("family,tensors", [
    ("qwen2-small", ["rope_factors_long.weight", "rope_factors_short.weight"]), ("qwen3-small", ["rope_freqs.weight"]),
    ("qwen2-small", ["blk.1.attn_q_norm.weight"]), ("gemma3-small", ["rope_freqs.weight"]), ("gpt2-small", ["blk.0.attn_q_norm.weight"])])
def test_tensors_of_other_families(models, family, tensors, tmp_path):
    path = edit(models(family), tmp_path / "m.gguf", tensors={t: np.linspace(1, 3, 8) for t in tensors})
    error = run("run", path, "-p", "x", ok=False).err
    for tensor in tensors:
        assert f"tensor {tensor}" in error


UNKNOWN_KEYS = {
    "llama.attention.gate": (1, U32), "llama.rope.freq_base_swa": (10000.0, F32), "llama.some.array": ([1, 2], gguf.GGUFValueType.ARRAY, U32),
    "someone.else": ("asks", TEXT), "tokenizer.ggml.add_sep_token": (True, FLAG), "tokenizer.ggml.add_space_prefix": (True, FLAG),
    "tokenizer.ggml.suppress_tokens": ([1], gguf.GGUFValueType.ARRAY, I32), "general.sampling.top_n_sigma": (1.5, F32),
    "general.sampling.sequence": ("temperature;top_k", TEXT)}


@pytest.mark.parametrize("key", UNKNOWN_KEYS)
def test_unknown_keys(models, key, tmp_path):
    path = edit(models("llama-small"), tmp_path / "m.gguf", {key: UNKNOWN_KEYS[key]})
    error = run("run", path, "--raw", "-p", "the", "-n", 4, ok=False).err
    assert f"metadata {key}" in error and "--ignore-unknown" in error
    went_on = run("run", path, "--raw", "-p", "the", "-n", 4, "--temp", 0, "--ignore-unknown")
    assert f"ignored, as you asked: metadata {key}" in went_on.err


OPTIONS = {"attention.clamp_kqv": 8.0, "attention.max_alibi_bias": 8.0, "attn_logit_softcapping": 50.0, "logit_scale": 0.5,
           "residual_scale": 0.2, "embedding_scale": 12.0}


@pytest.mark.parametrize("key", OPTIONS)
def test_options_by_value(models, key, tmp_path):
    """Off is harmless; on is refused."""
    off = edit(models("llama-small"), tmp_path / "off.gguf", {f"llama.{key}": (0.0, F32)})
    assert run("run", off, "--raw", "-p", "the", "-n", 4, "--temp", 0).err.count("outboard:") == 0
    on = edit(models("llama-small"), tmp_path / "on.gguf", {f"llama.{key}": (OPTIONS[key], F32)})
    assert f"llama.{key} = {OPTIONS[key]:g}" in run("run", on, "--raw", "-p", "the", ok=False).err


def test_harmless_keys(models, tmp_path):
    path = edit(models("llama-small"), tmp_path / "m.gguf", {
        "llama.vocab_size": (268, U32), "llama.tensor_data_layout": ("Meta AI original pth", TEXT), "llama.rope.scaling.finetuned": (True, FLAG),
        "general.quantized_by": ("someone", TEXT), "quantize.imatrix.file": ("x.dat", TEXT), "mradermacher.quantize_version": ("2", TEXT),
        "tokenizer.ggml.fim_pre_token_id": (3, U32), "tokenizer.chat_template.tool_use": ("{{ messages }}", TEXT),
        "tokenizer.ggml.token_type_count": (1, U32), "general.sampling.xtc_threshold": (0.1, F32),
        "general.sampling.mirostat": (2, I32)},
        tensors={"blk.0.nothing.weight": np.zeros((0, 4), np.float32)})
    result = run("run", path, "--raw", "-p", "the", "-n", 4, "--temp", 0)
    assert result.err.count("outboard:") == 0
    assert result.out == run("run", models("llama-small"), "--raw", "-p", "the", "-n", 4, "--temp", 0).out
    out = tmp_path / "q.gguf"
    run("quantize", path, out, "Q8_0")
    assert "blk.0.nothing.weight" in [t.name for t in gguf.GGUFReader(out).tensors]


def test_parts_for_images_are_harmless(models, tmp_path):
    """ollama keeps both halves of a Gemma 3 that sees in one file."""
    path = edit(models("gemma3-small"), tmp_path / "m.gguf", {
        "gemma3.vision.block_count": (2, U32), "gemma3.mm.tokens_per_image": (256, U32)},
        tensors={"v.blk.0.attn_q.weight": np.ones((4, 4)), "mm.mm_soft_emb_norm.weight": np.ones(4)})
    result = run("run", path, "--raw", "-p", "the", "-n", 4, "--temp", 0)
    assert result.out == run("run", models("gemma3-small"), "--raw", "-p", "the", "-n", 4, "--temp", 0).out
    assert result.err.count("outboard:") == 0


@pytest.mark.parametrize("key", ["tokenizer.ggml.eos_token_ids", "outboard.eos_token_ids"])
def test_listed_ends_end_an_answer(models, key, tmp_path):
    plain = models("llama-small")
    whole = run_json("run", plain, "--raw", "-p", "the", "-n", 12, "--temp", 0)["tokens"]
    end = whole[5]
    path = edit(plain, tmp_path / "m.gguf", {key: ([end, 9999], gguf.GGUFValueType.ARRAY, I32)})
    result = run("run", path, "--raw", "-p", "the", "-n", 12, "--temp", 0, "--json")
    assert json.loads(result.out)["tokens"] == whole[:whole.index(end)]
    assert f"{key} lists 9999" in result.err


def test_a_needed_tensor_of_no_elements(models, tmp_path):
    path = edit(models("llama-small"), tmp_path / "m.gguf", tensors={"blk.1.ffn_norm.weight": np.zeros(0, np.float32)})
    assert "blk.1.ffn_norm.weight: it has no elements" in run("run", path, "-p", "x", ok=False).err


@pytest.mark.parametrize("kind", ["adapter", "imatrix", "mmproj"])
def test_files_that_are_no_models(models, kind, tmp_path):
    path = edit(models("llama-small"), tmp_path / "m.gguf", {"general.type": (kind, TEXT)})
    assert f'general.type: "{kind}"' in run("run", path, "-p", "x", ok=False).err


@pytest.mark.parametrize("key,value", [("eos", 268), ("bos", 2**32 - 1), ("unknown", 2**32 - 1), ("padding", 999), ("seperator", 999),
                                       ("eot", 999), ("fim_pad", 999)])
def test_special_ids_out_of_range(models, key, value, tmp_path):
    """Published files of 2023 have them (llama.cpp 2981, 3634)."""
    name = f"tokenizer.ggml.{key}_token_id"
    path = edit(models("llama-small"), tmp_path / "m.gguf", {name: (value, U32)})
    result = run("run", path, "--raw", "-p", "the", "-n", 6, "--temp", 0)
    assert result.out == run("run", models("llama-small"), "--raw", "-p", "the", "-n", 6, "--temp", 0).out
    told = key not in ("padding", "seperator")  # which nothing here reads
    assert (f"{name} is {value}, and the vocabulary has 268 tokens" in result.err) == told, result.err
    if key in ("bos", "eos"):  # wanted in every text: there is no going on
        wanted = edit(path, tmp_path / "wanted.gguf", {f"tokenizer.ggml.add_{key}_token": (True, FLAG)})
        assert name in run("run", wanted, "--raw", "-p", "the", ok=False).err


def test_head_widths_in_words(tmp_path, models):
    for keys, words in [({"attention.head_count": (16, U32), "attention.head_count_kv": (4, U32), "attention.key_length": (12, U32)}, "heads of 12 elements"),
                        ({"rope.dimension_count": (7, U32)}, "an even number"), ({"attention.head_count_kv": (3, U32)}, "a divisor of the 8 heads")]:
        path = edit(models("llama-small"), tmp_path / "m.gguf", {f"llama.{k}": v for k, v in keys.items()})
        assert words in run("run", path, "-p", "x", ok=False).err


def test_the_models_own_sampling(models, tmp_path):
    """general.sampling.*: what llama.cpp takes for its defaults; the command line goes before it."""
    plain = models("qwen2-small")
    greedy = run("run", plain, "--raw", "-p", "the", "-n", 24, "--temp", 0).out
    options = ["--raw", "-p", "the", "-n", 24, "--seed", 7]
    asked = {"temp": 1.5, "top_k": 3, "top_p": 0.9, "min_p": 0.2, "penalty_repeat": 1.3}
    flags = ["--temp", 1.5, "--top-k", 3, "--top-p", 0.9, "--min-p", 0.2, "--repeat-penalty", 1.3]
    path = edit(plain, tmp_path / "m.gguf", {f"general.sampling.{k}": (v, I32 if k == "top_k" else F32) for k, v in asked.items()})
    want = run("run", plain, *options, *flags).out
    assert run("run", path, *options).out == want != run("run", plain, *options).out
    assert run("run", path, *options, "--temp", 0, "--repeat-penalty", 1).out == greedy
    cold = edit(plain, tmp_path / "c.gguf", {"general.sampling.temp": (0.0, F32)})
    assert run("run", cold, *options).out == greedy
    wrong = edit(plain, tmp_path / "w.gguf", {"general.sampling.top_p": (7.0, F32)})
    assert "general.sampling.top_p: 7" in run("run", wrong, *options, ok=False).err
