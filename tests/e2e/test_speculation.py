"""Several tokens a step: texts are what they are without, and a head for further tokens that was trained is
right about most of them."""
import os
import subprocess
import sys

import pytest

import families
import make_model
import train_hybrid
from support import ROOT, run, run_json

# At most. By hand with 2000 (OUTBOARD_SPECULATED_TOKENS), and then of models with real weights, too.
TOKENS = int(os.environ.get("OUTBOARD_SPECULATED_TOKENS", 250))


@pytest.fixture(scope="session")
def hybrid(tmp_path_factory):
    """A model that was trained, in a program of its own: its small matrices want one thread."""
    path = tmp_path_factory.mktemp("hybrid") / "hybrid.gguf"
    subprocess.run([sys.executable, ROOT / "tests/reference/train_hybrid.py", path], check=True)
    return path


def copies(model, words, *arguments):
    """How many unseen texts are copied right, tokens, and the share of guesses that were right."""
    results = [run_json("run", model, "-p", f"{word}>", "--raw", "--temp", 0, "-n", 16, *arguments) for word in words]
    right = sum(result["text"] == word for result, word in zip(results, words))
    drafted, accepted = (sum(result[f"{what}_tokens"] for result in results) for what in ("drafted", "accepted"))
    print(f"{arguments}: {right} of {len(words)} right, {accepted} of {drafted} guesses")
    return right, [result["tokens"] for result in results], accepted / max(drafted, 1)


def test_copies_what_it_has_not_seen(hybrid):
    words = train_hybrid.unseen(40)
    plain = copies(hybrid, words, "--speculate", "off")
    mtp = copies(hybrid, words, "--speculate", "mtp", "--draft-tokens", 1)
    three = copies(hybrid, words, "--speculate", "mtp", "--draft-tokens", 3)
    assert plain[0] >= 38
    assert mtp[1] == three[1] == plain[1]
    assert mtp[2] > 0.8
    assert three[2] > 0.6, "guesses made of guesses"


def test_copies_on_the_simulated_card(hybrid):
    words = train_hybrid.unseen(6)
    right, _, share = copies(hybrid, words, "--speculate", "mtp", "--draft-tokens", 1, "--device", "sim", "--strict")
    assert right >= 5 and share > 0.8


def check_equal(model, how, text="the rain in the other on"):
    prompt = ("-p", text, "--raw", "-n", TOKENS, "--ctx", TOKENS + 64, "--ignore-eos")
    for temperature in 0, 0.8:
        plain, guessed = (run_json("run", model, *prompt, "--temp", temperature, "--seed", 3, "--speculate", each)
                          for each in ("off", how))
        assert guessed["tokens"] == plain["tokens"]
        assert len(plain["tokens"]) == TOKENS
        if temperature == 0:
            print(f"{model}: {len(plain['tokens'])} tokens, {guessed['accepted_tokens']} of "
                  f"{guessed['drafted_tokens']} guesses right")


@pytest.mark.parametrize("name, how", [("qwen35-mtp", "mtp"), ("qwen35moe-mtp", "mtp"), ("falcon-h1", "lookup"),
                                       ("gemma2", "lookup"), ("hybrid", "mtp"), ("hybrid", "lookup")])
def test_texts_are_equal(name, how, hybrid, tmp_path, monkeypatch):
    path = hybrid
    monkeypatch.setattr(families, "CONTEXT", max(families.CONTEXT, TOKENS + 64))
    if name != "hybrid":
        path = tmp_path / f"{name}.gguf"
        {**families.FAMILIES, **families.DRAFTERS}[name](path)
    check_equal(path, how, "KFMBAPCD>" if name == "hybrid" else "the rain in the other on")


@pytest.mark.skipif(TOKENS < 2000, reason="takes minutes")
@pytest.mark.parametrize("name", ["smollm2", "gemma3-270m"])
def test_texts_of_real_weights_are_equal(name):
    check_equal(name, "lookup")


def test_what_can_not_be_had_is_refused(hybrid, tmp_path):
    make_model.make("llama-small", tmp_path / "llama.gguf", "F32")
    refused = run("run", tmp_path / "llama.gguf", "-p", "x", "--speculate", "mtp", ok=False).err
    assert "has no head for further tokens" in refused and "lookup" in refused
    refused = run("run", hybrid, "-p", "x", "--speculate", "off", "--draft-tokens", 3, ok=False).err
    assert "nothing is guessed" in refused
    both = run_json("run", tmp_path / "llama.gguf", "-p", "the rain", "--raw", "--temp", 0, "-n", 40, "--draft",
                    tmp_path / "llama.gguf", "--draft-tokens", 4)
    assert both["accepted_tokens"] == both["drafted_tokens"] > 20, "it is its own draft model"


def test_bench_tells_guesses(hybrid):
    told, = run_json("bench", hybrid, "-p", 0, "-n", 24, "-r", 1, "--speculate", "mtp", "--draft-tokens", 2)
    assert told["drafted_tokens"] > 0


def test_single_steps_are_the_model_s_own(tmp_path):
    """What guesses is no layer of it, and is not there."""
    steps = {}
    for name, make in (("with", families.DRAFTERS["qwen35-mtp"]), ("without", families.FAMILIES["qwen35"])):
        make(tmp_path / f"{name}.gguf")
        steps[name] = run_json("bench", tmp_path / f"{name}.gguf", "--device", "sim", "--counters", "-d", 0, "-p", 0)
    assert steps["with"]["layers"] == steps["without"]["layers"]
    kernels = {name: [(k["kernel"], k["launches"]) for k in told["steps"][0]["launches"]] for name, told in steps.items()}
    assert kernels["with"] == kernels["without"]
