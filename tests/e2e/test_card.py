"""Language models on the simulated card: text, logits, and what a token costs."""
import json

import numpy as np
import pytest

import forward
import make_model
from support import ALICE, GEMMA, SMOLLM2, run, run_json, tokens_of
from test_doctor import report, served

SMALL = [family for family in make_model.SHAPES if family.endswith("-small")]
LIMIT = 1e-3  # nats, at every position


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def check_logits(path, tmp_path, count, *options):
    result = run("perplexity", path, "-f", ALICE, "--ctx", count, "--logits", tmp_path / "logits.npy",
                 "--device", "sim", *options, timeout=900)
    if "--strict" in options:
        assert "strict: 0 rules broken" in result.err, result.err
    got = np.load(tmp_path / "logits.npy")
    want = forward.logits(forward.Model(path), tokens_of(path)[:count])
    assert got.shape == want.shape
    divergence = forward.kl_divergence(want, got)
    print(f"{path.name}: KL at most {divergence.max():.2e}, mean {divergence.mean():.2e}")
    assert divergence.max() < LIMIT


@pytest.mark.parametrize("family", SMALL)
def test_small_families(family, folder, tmp_path):
    """Strict: no rule of the hardware is broken from boot to shutdown."""
    path = folder / f"{family}.gguf"
    make_model.make(family, path, "F32")
    check_logits(path, tmp_path, 100, "--strict")


@pytest.mark.parametrize("path", [SMOLLM2, GEMMA], ids=lambda p: p.stem)
def test_text_is_the_cpus(path):
    arguments = ("run", path, "-p", "The capital of France is", "--raw", "--temp", 0, "-n", 64)
    card = run_json(*arguments, "--device", "sim", timeout=1500)
    cpu = run_json(*arguments, "--device", "cpu")
    assert card["tokens"] == cpu["tokens"]
    assert card["text"] == cpu["text"]


@pytest.mark.parametrize("path", [SMOLLM2, GEMMA], ids=lambda p: p.stem)
def test_logits(path, tmp_path):
    check_logits(path, tmp_path, 64)


@pytest.mark.parametrize("card, name, units, gib", [("xt", "RX 7900 XT", 84, 20), ("gre", "RX 7900 GRE", 80, 16)])
def test_sisters(card, name, units, gib, folder):
    """The cards with less: what is there comes from the card, and the text is the same."""
    path = folder / "llama-small.gguf"
    make_model.make("llama-small", path, "Q8_0")
    arguments = ("run", path, "-p", "the rain in the other on", "--raw", "--temp", 0, "-n", 16)
    result = run(*arguments, "--device", f"sim:{card}", "--strict", "--stats")
    assert f"simulated {name}, {units} CUs, {gib} GiB" in result.err, result.err
    assert "strict: 0 rules broken" in result.err, result.err
    assert result.out == run(*arguments, "--device", "cpu").out
    assert f"{name}: {gib * 1024 - 16} MiB, {units} compute units of 96" in run("doctor", "--device", f"sim:{card}").out


def test_no_such_sister():
    result = run("doctor", "--device", "sim:xtt", ok=False)
    assert "no simulated card is called \"xtt\"" in result.err and "xtx, xt and gre" in result.err


def layers_of(path):
    names = [tensor["name"] for tensor in run_json("inspect", path)["tensors"]]
    return 1 + max(int(name.split(".")[1]) for name in names if name.startswith("blk."))


@pytest.mark.parametrize("path", [SMOLLM2, GEMMA], ids=lambda p: p.stem)
def test_a_token_costs(path):
    counted = json.loads(run("bench", path, "--device", "sim", "--counters", "-p", 0, "-n", 8, "--json").out)
    decode, upload = counted["decode"], counted["upload"]
    print(json.dumps(counted, indent=1))
    assert upload["dma_bytes"] + upload["message_bytes"] <= 1.02 * counted["weight_bytes"]
    # Page tables cost small models more than a message a MiB; one layer of an 8B model takes 0.4.
    assert upload["round_trips"] + upload["one_way_messages"] <= 1.5 * counted["weight_bytes"] / 2**20
    assert decode["tokens"] == 8
    assert decode["round_trips"] == 0
    assert decode["one_way_messages"] == 1
    assert decode["dispatches"] <= decode["tokens"] * (5 * layers_of(path) + 6)
    assert decode["vram_bytes_past_gl2"] <= 1.05 * decode["wanted_bytes"]


def test_over_the_socket(tmp_path):
    """The card behind TinyGPU's protocol, in another process: the same text, and what it cost there."""
    run("sim", "firmware", tmp_path / "firmware")
    path = tmp_path / "llama.gguf"
    make_model.make("llama-small", path, "Q8_0")
    arguments = ("run", path, "-p", "the rain in the other on", "--raw", "--temp", 0, "-n", 33)
    with served(tmp_path, "tinygpu") as server:
        there = run_json(*arguments, "--device", server.device, "--firmware-dir", tmp_path / "firmware")
        counted = report(server)
    assert there["tokens"] == run_json(*arguments, "--device", "sim")["tokens"]
    assert there["tokens"] == run_json(*arguments, "--device", "cpu")["tokens"]
    assert not [event for event in counted.get("events", []) if event["kind"] in ("driver error", "not simulated")]

    def doorbells(tokens):
        # Where the simulated card is late, on a busy machine, the driver rings again: more, never less.
        counts = []
        for _ in range(3):
            with served(tmp_path, "tinygpu") as server:
                run_json(*arguments[:-1], tokens, "--device", server.device, "--firmware-dir", tmp_path / "firmware")
                counts.append(report(server)["link"]["doorbells"])
        return min(counts)

    # One message starts eight tokens, here too: the prompt, four eights, and what the upload and the
    # self-test took.
    assert doorbells(33) - doorbells(1) <= 4 + 1  # and a stream's upload
