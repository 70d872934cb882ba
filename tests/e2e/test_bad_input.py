"""Damaged and hostile files: a message that names file and field, exit status 1, never a crash."""
import json
import random
import struct
import subprocess

import gguf
import numpy as np
import pytest

import hf_models
import make_model
from support import ALICE, OUTBOARD, run


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    make_model.make("qwen2-small", path)
    return path


def outcome(*arguments):
    """Status and error text; a signal (a crash) fails the test."""
    result = subprocess.run([OUTBOARD, *map(str, arguments)], capture_output=True, timeout=120)
    error = result.stderr.decode(errors="replace")
    assert result.returncode in (0, 1), (result.returncode, error)
    if result.returncode == 1:
        assert error.startswith("outboard: "), error
    return result.returncode, error


def header_size(path):
    reader = gguf.GGUFReader(path)
    return min(int(t.data_offset) for t in reader.tensors)


def test_truncated_everywhere(small, tmp_path):
    whole = small.read_bytes()
    header = header_size(small)
    damaged = tmp_path / "damaged.gguf"
    lengths = sorted({0, 1, 3, 4, 7, 8, 15, 23, 24, *random.Random(1).sample(range(24, header), 60),
                      header - 1, header, len(whole) // 2, len(whole) - 1})
    for length in lengths:
        damaged.write_bytes(whole[:length])
        status, error = outcome("inspect", damaged)
        assert status == 1, length
        assert "damaged.gguf" in error, error


def test_flipped_bits(small, tmp_path):
    """Whatever a flipped bit makes of the header: refused, or a model that runs."""
    whole = bytearray(small.read_bytes())
    header = header_size(small)
    damaged = tmp_path / "damaged.gguf"
    chooser = random.Random(2)
    refused = 0
    for _ in range(150):
        position, bit = chooser.randrange(header), chooser.randrange(8)
        whole[position] ^= 1 << bit
        damaged.write_bytes(whole)
        whole[position] ^= 1 << bit
        refused += outcome("run", damaged, "-p", "the", "--raw", "-n", 2, "--ctx", 64)[0]
    assert refused > 10


def test_flipped_bits_in_numbers(small, tmp_path):
    """Bits of the counts and of every metadata number."""
    whole = bytearray(small.read_bytes())
    reader = gguf.GGUFReader(small)
    places = list(range(4, 24))
    for key, field in reader.fields.items():
        if key.startswith("qwen2."):
            places += range(field.offset, field.offset + sum(p.nbytes for p in field.parts))
    damaged = tmp_path / "damaged.gguf"
    for position in places[:: max(1, len(places) // 150)]:
        for value in (0x00, 0x7F, 0xFF):
            old, whole[position] = whole[position], value
            damaged.write_bytes(whole)
            whole[position] = old
            outcome("run", damaged, "-p", "the", "--raw", "-n", 1, "--ctx", 64)


def write(path, arch="llama", change=lambda w: None, tensors=True):
    writer = gguf.GGUFWriter(path, arch)
    change(writer)
    if tensors:
        writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_unsupported_architecture_says_which_are_supported(tmp_path):
    write(tmp_path / "m.gguf", "mamba")
    error = run("run", tmp_path / "m.gguf", "-p", "x", ok=False).err
    assert '"mamba" is not supported' in error and "gpt-oss, gpt2, granite" in error
    assert "can't run this model" in run("inspect", tmp_path / "m.gguf").out


def test_a_tokenizer_without_merges(small, tmp_path):
    reader = gguf.GGUFReader(small)
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "qwen2")
    for key, field in reader.fields.items():
        if key.startswith(("GGUF.", "general.architecture")) or key == "tokenizer.ggml.merges":
            continue
        sub = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(key, field.contents(), field.types[0], sub_type=sub)
    for t in reader.tensors:
        writer.add_tensor(t.name, t.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    error = run("run", path, "-p", "x", ok=False).err
    assert "m.gguf" in error and "merges" in error


def test_no_such_file_and_no_model(tmp_path):
    assert "no such file" in run("inspect", tmp_path / "none.gguf", ok=False).err
    (tmp_path / "text.gguf").write_text("hello, this is no model at all")
    assert "text.gguf" in run("inspect", tmp_path / "text.gguf", ok=False).err
    (tmp_path / "empty.gguf").write_bytes(b"")
    assert "empty" in run("inspect", tmp_path / "empty.gguf", ok=False).err
    run("inspect", tmp_path, ok=False)
    run("inspect", "/dev/zero", ok=False)


def gguf_header(tensors, pairs, body=b""):
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + body


def key_value(key, kind, payload):
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + payload


@pytest.mark.parametrize("content", [
    gguf_header(2**63, 0),
    gguf_header(0, 2**64 - 1),
    gguf_header(2**32, 2**32),
    gguf_header(0, 1, struct.pack("<Q", 2**64 - 1)),
    gguf_header(0, 1, key_value("a", 8, struct.pack("<Q", 2**63))),
    gguf_header(0, 1, key_value("a", 99, b"")),
    gguf_header(0, 1, key_value("a", 9, struct.pack("<IQ", 8, 2**61))),
    gguf_header(0, 1, key_value("a", 9, struct.pack("<IQ", 4, 2**62))),
    gguf_header(0, 1, key_value("a", 9, struct.pack("<IQ", 9, 1) * 4000)),
    gguf_header(1, 0, struct.pack("<Q", 1) + b"t" + struct.pack("<I", 2**31)),
    gguf_header(1, 0, struct.pack("<Q", 1) + b"t" + struct.pack("<IQQQQIQ", 4, 2**31, 2**31, 2**31, 2**31, 0, 0)),
    gguf_header(1, 0, struct.pack("<Q", 1) + b"t" + struct.pack("<IQIQ", 1, 32, 0, 2**63)),
    gguf_header(1, 0, struct.pack("<Q", 1) + b"t" + struct.pack("<IQIQ", 1, 32, 1000, 0)),
    b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    b"GGUF" + struct.pack("<IQQ", 99, 0, 0),
], ids=range(15))
def test_hostile_gguf(content, tmp_path):
    path = tmp_path / "hostile.gguf"
    path.write_bytes(content + b"\0" * 64)
    assert "hostile.gguf" in run("inspect", path, ok=False, timeout=20).err


def folder_with(tmp_path, header, data=b"\0" * 64):
    """A whole Hugging Face folder whose safetensors file is replaced."""
    folder = tmp_path / "folder"
    hf_models.write_family(folder, "llama")
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return folder


@pytest.mark.parametrize("header", [
    {"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 64]}},
    {"a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 2**62]}},
    {"a": {"dtype": "F32", "shape": [16], "data_offsets": [64, 0]}},
    {"a": {"dtype": "F32", "shape": [-16], "data_offsets": [0, 64]}},
    {"a": {"dtype": "F99", "shape": [16], "data_offsets": [0, 64]}},
    {"a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]},
     "b": {"dtype": "F32", "shape": [8], "data_offsets": [32, 64]}},
    b"[" * 100_000,
    b"{\"a\":" * 50_000,
    b"not json at all",
], ids=range(9))
def test_hostile_safetensors(header, tmp_path):
    folder = folder_with(tmp_path, header)
    assert "model.safetensors" in run("inspect", folder, ok=False, timeout=20).err


def test_safetensors_header_longer_than_the_file(tmp_path):
    folder = folder_with(tmp_path, {})
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**63) + b"{}")
    assert "model.safetensors" in run("inspect", folder, ok=False).err


def test_output_folder_that_does_not_exist(small):
    error = run("quantize", small, "/nonexistent/folder/x.gguf", "Q8_0", ok=False).err
    assert "/nonexistent/folder" in error
    error = run("perplexity", small, "-f", ALICE, "--logits", "/nonexistent/x.npy", "--ctx", 16, ok=False).err
    assert "/nonexistent/x.npy" in error


def test_prompts_that_are_no_utf8(small):
    run("run", small, "-f", "-", "--raw", "-n", 2, stdin=bytes(range(256)))
