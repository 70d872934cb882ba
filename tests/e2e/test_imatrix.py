"""`outboard imatrix` and what quantize makes of it."""
import gguf
import numpy as np
import pytest

import forward
import make_model
from support import ALICE, SMOLLM2, run, run_json

CHUNK = 64


class Traced(np.ndarray):
    """A weight of the reference that notes what it is multiplied with."""

    def __array_finalize__(self, other):
        self.name, self.expert, self.sums = (getattr(other, key, None) for key in ("name", "expert", "sums"))

    def __getitem__(self, key):
        part = super().__getitem__(key)
        if self.ndim == 3 and isinstance(key, (int, np.integer)):
            part.expert = int(key)
        return part

    def __array_ufunc__(self, ufunc, method, *inputs, **more):
        if ufunc is np.matmul and self.sums is not None:
            (rows,) = (np.asarray(x, np.float64) for x in inputs if x is not self)
            squares, counts = self.sums.setdefault(self.name, ({}, {}))
            expert = self.expert or 0
            rows = rows.reshape(-1, rows.shape[-1])
            squares[expert] = squares.get(expert, 0) + (rows**2).sum(0)
            counts[expert] = counts.get(expert, 0) + len(rows)
        return getattr(ufunc, method)(*(np.asarray(x) for x in inputs), **more)


class TracedModel(forward.Model):
    def __init__(self, path):
        super().__init__(path)
        self.sums, self.kept = {}, {}

    def __getitem__(self, name):
        if name not in self.kept:
            weight = super().__getitem__(name).view(Traced)
            weight.name, weight.sums = name, self.sums
            self.kept[name] = weight
        return self.kept[name]


def read(path):
    reader = gguf.GGUFReader(path)
    assert reader.fields["general.type"].contents() == "imatrix"
    assert reader.fields["imatrix.datasets"].contents() == ["alice.txt"]
    assert reader.fields["imatrix.chunk_size"].contents() == CHUNK
    tensors = {t.name: np.array(t.data) for t in reader.tensors}
    return {name.removesuffix(".in_sum2"): (data, tensors[name.replace(".in_sum2", ".counts")])
            for name, data in tensors.items() if name.endswith(".in_sum2")}, reader.fields["imatrix.chunk_count"].contents()


@pytest.mark.parametrize("family", ["llama-small", "gpt2-small", "qwen3moe-small", "gemma3-small"])
def test_against_the_reference(family, tmp_path):
    path = tmp_path / "m.gguf"
    make_model.make(family, path)
    run("imatrix", path, "-f", ALICE, "-o", tmp_path / "m.imatrix", "--ctx", CHUNK)
    found, chunks = read(tmp_path / "m.imatrix")
    tokens = run_json("tokenize", path, "-f", ALICE)["ids"]
    assert chunks == len(tokens) // CHUNK > 2
    model = TracedModel(path)
    bos = tokens[0] if model.value("tokenizer.ggml.add_bos_token") else None
    for i in range(chunks):
        chunk = tokens[i * CHUNK : (i + 1) * CHUNK]
        forward.logits(model, [bos, *chunk[1:]] if bos is not None else chunk)
    expected = {name: sums for name, sums in model.sums.items() if name not in ("output.weight", "token_embd.weight")
                and "gate_inp" not in name}
    assert set(found) == set(expected)
    for name, (squares, counts) in expected.items():
        ours, rows = found[name]
        for matrix in range(len(ours)):
            # An expert that two scores nearly tie for may get a row more.
            assert abs(rows[matrix, 0] - counts.get(matrix, 0)) <= (2 if "exps" in name else 0), name
            if rows[matrix, 0] == counts.get(matrix, 0) > 0:
                worst = np.abs(ours[matrix] - squares[matrix]).max() / squares[matrix].max()
                assert worst < 1e-3, (name, matrix, worst)


def test_quantizing_with_them(tmp_path):
    """What matters is kept better: a text that they were not made of is predicted better than without."""
    lines = ALICE.read_text()
    half = len(lines) // 2
    for name, text in (("alice.txt", lines[:half]), ("other.txt", lines[half:])):
        (tmp_path / name).write_text(text)
    run("imatrix", "smollm2", "-f", tmp_path / "alice.txt", "-o", tmp_path / "i.gguf", "--ctx", 128)
    again = run("quantize", "smollm2", tmp_path / "plain.gguf", "Q4_0", ok=False)
    assert "is in Q4_1 already" in again.err and "--allow-requantize" in again.err
    run("quantize", "smollm2", tmp_path / "plain.gguf", "Q4_0", "--allow-requantize")
    run("quantize", "smollm2", tmp_path / "weighed.gguf", "Q4_0", "--allow-requantize", "--imatrix", tmp_path / "i.gguf")
    weighed, plain = (run_json("perplexity", tmp_path / f"{name}.gguf", "-f", tmp_path / "other.txt", "--ctx", 128)["perplexity"]
                      for name in ("weighed", "plain"))
    print(f"perplexity {weighed}, without importances {plain}")
    assert weighed < plain
    # To a float nothing is rounded.
    run("quantize", "smollm2", tmp_path / "f.gguf", "F16")


def test_what_is_wrong_is_told(tmp_path):
    (tmp_path / "short.txt").write_text("Hello.")
    assert "less than one chunk of 512" in run("imatrix", "smollm2", "-f", tmp_path / "short.txt", "-o", tmp_path / "o", ok=False).err
    (tmp_path / "there").write_text("x")
    assert "--force" in run("imatrix", "smollm2", "-f", ALICE, "-o", tmp_path / "there", ok=False).err
    assert run("imatrix", "smollm2", "-f", ALICE, "-o", ALICE, "--force", ok=False).err and ALICE.stat().st_size == 3349
    assert "no tensor NAME.in_sum2" in run("quantize", "smollm2", tmp_path / "o", "Q8_0", "--imatrix", SMOLLM2, "--allow-requantize",
                                           ok=False).err
    assert not (tmp_path / "o").exists()
