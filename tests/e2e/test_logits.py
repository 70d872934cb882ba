"""Logits and greedy text against the float32 forward pass in numpy (tests/reference/forward.py)."""
import numpy as np
import pytest

import forward
import make_model
from support import ALICE, GEMMA, SMOLLM2, run, run_json, tokens_of

SMALL = [family for family in make_model.SHAPES if family.endswith("-small")]
LIMIT = 1e-3  # nats, at every position


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def small(family, folder, kind="F32"):
    path = folder / f"{family}-{kind}.gguf"
    if not path.exists():
        make_model.make(family, path, kind)
    return path


def check_logits(path, tmp_path, count=512, threads=2):
    run("perplexity", path, "-f", ALICE, "--ctx", count, "--logits", tmp_path / "logits.npy", "-t", threads)
    got = np.load(tmp_path / "logits.npy")
    tokens = tokens_of(path)[:count]
    want = forward.logits(forward.Model(path), tokens)
    assert got.shape == want.shape
    divergence = forward.kl_divergence(want, got)
    print(f"{path.name}: KL at most {divergence.max():.2e}, mean {divergence.mean():.2e}")
    assert divergence.max() < LIMIT
    assert divergence.min() > -1e-9
    return want


def check_greedy(path, prompt, count=64):
    """By induction: each token must be the reference's likeliest after those before it."""
    result = run_json("run", path, "-p", prompt, "--raw", "--temp", 0, "-n", count)
    prompt_tokens = run_json("tokenize", path, prompt)["ids"]
    assert len(prompt_tokens) == result["prompt_tokens"]
    answer = result["tokens"]
    want = forward.logits(forward.Model(path), prompt_tokens + answer).argmax(axis=-1)
    start = len(prompt_tokens) - 1
    assert answer == want[start : start + len(answer)].tolist()
    assert len(answer) == count or result["finish"] == "stop"


@pytest.mark.parametrize("family", SMALL)
def test_small_families(family, folder, tmp_path):
    path = small(family, folder)
    want = check_logits(path, tmp_path)
    # A model that is sure of every token, or of none, would prove nothing.
    probability = np.exp(want - want.max(-1, keepdims=True))
    probability /= probability.sum(-1, keepdims=True)
    entropy = -(probability * np.log(probability + 1e-30)).sum(-1).mean()
    assert 0.3 < entropy < 5
    check_greedy(path, "the rain in the other on")


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("family", ["llama-small", "gpt2-small", "qwen3moe-small"])
def test_small_families_in_other_types(family, kind, folder, tmp_path):
    check_logits(small(family, folder, kind), tmp_path, count=100)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_do_not_matter(threads, folder, tmp_path):
    check_logits(small("gemma3-small", folder), tmp_path, count=150, threads=threads)


def test_smollm2(tmp_path):
    check_logits(SMOLLM2, tmp_path)
    check_greedy(SMOLLM2, "The capital of France is")


def test_gemma3(tmp_path):
    check_logits(GEMMA, tmp_path)
    check_greedy(GEMMA, "The capital of France is")


@pytest.mark.parametrize("family", ["gpt2", "gpt2-medium"])
def test_exact_shape(family, folder, tmp_path):
    path = small(family, folder, "Q8_0")
    check_logits(path, tmp_path, count=48)
    path.unlink()
