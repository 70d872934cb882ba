"""Every family's logits and greedy text against what llama.cpp said of the same file (tests/data/families,
recorded by tests/reference/llama_cpp.py) and against numpy (tests/reference/forward.py)."""
import hashlib
import os
import subprocess

import numpy as np
import pytest

import families
import forward
from support import ROOT, run, run_json

RECORDS = ROOT / "tests/data/families"
PROMPT = "the rain in the other on"
CPU_LIMIT, CARD_LIMIT = 1e-4, 1e-3  # nats, at every position


class Asked:
    """The program that answers for many models on one device (text_logits.cpp)."""

    def __init__(self, device):
        self.device, self.process = device, None

    def logits(self, path, context, step, tokens, drafter=False):
        """drafter: of the head for further tokens, a row less."""
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen([os.environ["TEXT_LOGITS"], self.device], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE)
        self.process.stdin.write(f"{path} {context} {step} {'drafter' if drafter else '|'} {' '.join(map(str, tokens))}\n".encode())
        self.process.stdin.flush()
        head = self.process.stdout.read(8)
        assert len(head) == 8, f"text_logits ended: {self.process.wait()}"
        rows, columns = np.frombuffer(head, np.int32)
        assert rows >= 0, self.process.stdout.read(columns).decode()
        return np.frombuffer(self.process.stdout.read(4 * rows * columns), np.float32).reshape(rows, columns)


@pytest.fixture(scope="session")
def cpu():
    return Asked("cpu")


@pytest.fixture(scope="session")
def card():
    return Asked("sim")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


class Record:
    def __init__(self, name):
        with np.load(RECORDS / f"{name}.npz") as kept:
            self.sha256 = str(kept["sha256"])
            self.tokens, self.positions, self.prompt, self.greedy = (
                kept[part].astype(np.int64) for part in ("tokens", "positions", "prompt", "greedy"))
            self.logits = kept["low"] + kept["logits"].astype(np.float64) / 65535 * (kept["high"] - kept["low"])


@pytest.fixture(scope="session")
def made(folder):
    """The file and the record of a family."""
    kept = {}

    def get(name):
        if name not in kept:
            path = folder / f"{name}.gguf"
            families.FAMILIES[name](path)
            kept[name] = path, Record(name)
            assert hashlib.sha256(path.read_bytes()).hexdigest() == kept[name][1].sha256, (
                f"{name}: families.py makes another file than llama.cpp was asked about: llama_cpp.py record {name}")
        return kept[name]

    return get


def at_most(want, got, limit, what):
    divergence = forward.kl_divergence(want, got[:, : want.shape[1]])
    print(f"{what}: KL at most {divergence.max():.2e}, mean {divergence.mean():.2e}")
    assert divergence.max() < limit, what


@pytest.mark.parametrize("name", families.FAMILIES)
def test_logits(name, cpu, made):
    """In one step and in several; of a text of thousands of tokens in several alone, and numpy, which would
    take minutes, of its beginning."""
    path, record = made(name)
    context, length = families.context_of(name), len(record.tokens)
    reference = forward.logits(forward.Model(path), record.tokens[: families.LENGTH], context)
    early = record.positions < families.LENGTH
    at_most(record.logits[early], reference[record.positions[early]], 1e-6, "numpy to llama.cpp")
    for step in (length, 37) if length <= 512 else (512,):
        got = cpu.logits(path, context, step, record.tokens)
        assert got.shape[0] == length
        at_most(record.logits, got[record.positions], CPU_LIMIT, f"in steps of {step}, to llama.cpp")
        at_most(reference, got[: families.LENGTH], CPU_LIMIT, f"in steps of {step}, to numpy")


@pytest.mark.parametrize("name", families.FAMILIES)
def test_greedy(name, made):
    path, record = made(name)
    result = run_json("run", path, "-p", PROMPT, "--raw", "--temp", 0, "-n", len(record.greedy), "--ctx",
                      families.context_of(name))
    assert run_json("tokenize", path, PROMPT)["ids"] == record.prompt.tolist()
    assert result["tokens"] == record.greedy.tolist()


@pytest.mark.parametrize("name", families.FAMILIES)
def test_card(name, card, made):
    """A prompt, and then a token at a time, which other kernels do."""
    path, record = made(name)
    if name == "llama4":  # which no such card has the memory for
        assert "--device cpu" in run("run", path, "-p", "x", "--device", "sim", ok=False).err
        return
    tokens = record.tokens[: families.CARD_LENGTH]
    got = card.logits(path, families.CONTEXT, 32, tokens)
    want = forward.logits(forward.Model(path), tokens, families.CONTEXT)
    at_most(want, got, CARD_LIMIT, "card")
    tokens, want = tokens[:12], want[:12]
    at_most(want, card.logits(path, families.CONTEXT, 1, tokens), CARD_LIMIT, "card, a token at a time")


@pytest.mark.parametrize("name", families.DRAFTERS)
def test_drafter(name, cpu, card, folder):
    """What the head for further tokens says, behind steps of several tokens and of one; and the model's own
    text is what it is without the head."""
    path = folder / f"{name}.gguf"
    families.DRAFTERS[name](path)
    model = forward.Model(path)
    tokens = np.random.default_rng(5).integers(3, 250, families.CARD_LENGTH)
    want = forward.qwen35_drafter(model, tokens)
    for device, limit in (cpu, CPU_LIMIT), (card, CARD_LIMIT):
        for step in 64, 7, 1:
            few = 12 if step == 1 else len(tokens)
            got = device.logits(path, families.CONTEXT, step, tokens[:few], drafter=True)
            assert len(got) == few - 1
            at_most(want[: few - 1], got, limit, f"{device.device}, in steps of {step}")
    at_most(forward.logits(model, tokens), cpu.logits(path, families.CONTEXT, 64, tokens), CPU_LIMIT, "the model")
    plain, drafted = (run_json("run", path, "-p", PROMPT, "--raw", "--temp", 0, "-n", 64, "--speculate", how)
                      for how in ("off", "mtp"))
    assert drafted["tokens"] == plain["tokens"]
    assert drafted["drafted_tokens"] > 0 and plain["drafted_tokens"] == 0
