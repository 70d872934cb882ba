"""Importance matrices: what the Python package gguf writes, and llama.cpp's older format byte by byte."""
import struct

import gguf
import numpy as np
import pytest

from support import quantize, tool
from tiny_models import write_llama


def write_matrix(path, sums, chunks=4):
    """sums: {name: (squares [matrices, inputs], counts [matrices])}."""
    writer = gguf.GGUFWriter(path, "")
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", ["words.txt"])
    writer.add_uint32("imatrix.chunk_count", chunks)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, (squares, counts) in sums.items():
        writer.add_tensor(name + ".in_sum2", squares.astype(np.float32))
        writer.add_tensor(name + ".counts", counts.astype(np.float32).reshape(-1, 1))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_old(path, means, calls=7, tail=True):
    data = struct.pack("<i", len(means))
    for name, values in means.items():
        data += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", calls, len(values))
        data += (values * calls).astype(np.float32).tobytes()
    path.write_bytes(data + (struct.pack("<ii", calls, 5) + b"a.txt" if tail else b""))
    return path


def blocks(path, name):
    return next(t.data for t in gguf.GGUFReader(path).tensors if t.name == name)


@pytest.fixture
def model(tmp_path):
    tensors = write_llama(tmp_path / "in.gguf", layers=2, experts=4)
    rng = np.random.default_rng(5)
    sums = {}
    for name, data in tensors.items():
        if data.ndim >= 2 and name.startswith("blk") and "gate_inp" not in name:
            matrices = data.shape[0] if data.ndim == 3 else 1
            sums[name] = (rng.gamma(0.3, 1, (matrices, data.shape[-1])) * 100, np.full(matrices, 100))
    # An expert that was never chosen.
    sums["blk.1.ffn_up_exps.weight"][0][2] = 0
    sums["blk.1.ffn_up_exps.weight"][1][2] = 0
    return tmp_path / "in.gguf", tensors, sums


def test_each_column_and_expert_gets_its_own(model, tmp_path):
    path, tensors, sums = model
    matrix = write_matrix(tmp_path / "i.gguf", sums)
    tool("convert", path, tmp_path / "out.gguf", "Q4_K_S", matrix)
    tool("convert", path, tmp_path / "plain.gguf", "Q4_K_S")
    fields = gguf.GGUFReader(tmp_path / "out.gguf").fields
    found = {key.split("imatrix.")[1]: field.contents() for key, field in fields.items() if "imatrix" in key}
    assert found == {"file": "i.gguf", "dataset": "words.txt", "entries_count": len(sums), "chunks_count": 4}
    for name in ("blk.1.attn_q.weight", "blk.1.ffn_up_exps.weight", "token_embd.weight"):
        data = tensors[name]
        if name in sums:
            squares, counts = sums[name]
            means = np.where(counts[:, None] > 0, squares.astype(np.float32) / np.maximum(counts, 1).astype(np.float32)[:, None],
                             np.float32(1))
            weights = np.broadcast_to(means.reshape(-1, 1, data.shape[-1]), data.reshape(len(means), -1, data.shape[-1]).shape)
            expected = quantize("Q4_K", data.ravel(), tmp_path, weights.ravel())
            assert (expected != blocks(tmp_path / "plain.gguf", name).ravel()).any()
        else:
            expected = quantize("Q4_K", data.ravel(), tmp_path)
        assert (blocks(tmp_path / "out.gguf", name).ravel() == expected).all(), name


@pytest.mark.parametrize("tail", [True, False])
def test_the_older_format_says_the_same(tail, model, tmp_path):
    path, _, sums = model
    means = {name: (squares / 128).ravel() for name, (squares, _) in sums.items()}
    new = {name: (squares, np.full(len(squares), 128)) for name, (squares, _) in sums.items()}
    tool("convert", path, tmp_path / "new.gguf", "Q5_K_S", write_matrix(tmp_path / "i.gguf", new))
    tool("convert", path, tmp_path / "old.gguf", "Q5_K_S", write_old(tmp_path / "i.dat", means, 8, tail))
    for tensor in gguf.GGUFReader(tmp_path / "new.gguf").tensors:
        # An expert of zeros is another thing there: nobody counts.
        if tensor.name != "blk.1.ffn_up_exps.weight":
            assert (blocks(tmp_path / "old.gguf", tensor.name) == tensor.data).all(), tensor.name


def test_two_bits_need_them(model, tmp_path):
    path, _, sums = model
    with pytest.raises(RuntimeError, match="Q2_K_S needs importances, and there are none of blk.0.attn_q.weight"):
        tool("convert", path, tmp_path / "out.gguf", "Q2_K_S")
    tool("convert", path, tmp_path / "out.gguf", "Q2_K_S", write_matrix(tmp_path / "i.gguf", sums))
    del sums["blk.1.attn_output.weight"]
    with pytest.raises(RuntimeError, match="there are none of blk.1.attn_output.weight"):
        tool("convert", path, tmp_path / "out2.gguf", "Q2_K_S", write_matrix(tmp_path / "i.gguf", sums))


def test_what_is_wrong_is_told(model, tmp_path):
    path, _, sums = model
    def refused(matrix, message):
        with pytest.raises(RuntimeError, match=message):
            tool("convert", path, tmp_path / "out.gguf", "Q4_K_S", matrix)
        assert not (tmp_path / "out.gguf").exists()

    name = "blk.0.attn_q.weight"
    one = {name: (np.ones((1, 256)), np.ones(1))}
    old = write_old(tmp_path / "i.dat", {name: np.ones(256, np.float32)}).read_bytes()
    refused(path, "found no tensor NAME.in_sum2")
    refused(write_matrix(tmp_path / "a", {name: (np.ones((1, 128)), np.ones(1))}), f"{name}: found 128 importances, expected one for each of 256 columns")
    refused(write_matrix(tmp_path / "b", {name: (np.full((1, 256), np.nan), np.ones(1))}), f"{name}: .*no number")
    refused(write_matrix(tmp_path / "c", {name: (np.full((1, 256), -1.0), np.ones(1))}), f"{name}: .*negative")
    refused(write_matrix(tmp_path / "d", {name: (np.ones((1, 256)), np.ones(3))}), f"{name}: found 256 sums for 3 matrices")
    writer = gguf.GGUFWriter(tmp_path / "e", "")
    writer.add_tensor(name + ".in_sum2", np.ones((1, 256), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    refused(tmp_path / "e", f"there are sums, but no {name}.counts")
    for size in (3, 10, 30, 40, 500, len(old) - 3):
        (tmp_path / "f").write_bytes(old[:size])
        refused(tmp_path / "f", "f: importance matrix: ")
    (tmp_path / "g").write_bytes(struct.pack("<i", 0))
    refused(tmp_path / "g", "number of entries: found 0")
    refused(tmp_path / "nothing", "nothing")
    write_matrix(tmp_path / "h", one)
    tool("convert", path, tmp_path / "out.gguf", "Q4_K_S", tmp_path / "h")
