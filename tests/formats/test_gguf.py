"""Files that the Python package gguf writes are read equal, and the other way round."""
import shutil
import struct

import gguf
import numpy as np
import pytest

from support import dump, text, tool
from tiny_models import write_llama


def write_everything(path):
    writer = gguf.GGUFWriter(path, "test")
    kinds = gguf.GGUFValueType
    for name, value, kind in [
            ("u8", 200, kinds.UINT8), ("i8", -100, kinds.INT8), ("u16", 60000, kinds.UINT16),
            ("i16", -30000, kinds.INT16), ("u32", 4000000000, kinds.UINT32),
            ("i32", -2000000000, kinds.INT32), ("f32", 0.15625, kinds.FLOAT32),
            ("u64", 2**63 + 1, kinds.UINT64), ("i64", -2**62, kinds.INT64),
            ("f64", 1e300, kinds.FLOAT64), ("yes", True, kinds.BOOL),
            ("text", "naïve 🙂\0end", kinds.STRING)]:
        writer.add_key_value("test." + name, value, kind)
    writer.add_array("test.ints", [1, -2, 3])
    writer.add_array("test.floats", [0.5, -0.25])
    writer.add_array("test.bools", [True, False, True])
    writer.add_array("test.texts", ["a", "", "ccc"])
    writer.add_array("test.nested", [[1, 2], [3]])
    rng = np.random.default_rng(1)
    tensors = {"f32": rng.normal(size=(3, 5)).astype(np.float32),
               "f16": rng.normal(size=(2, 3, 4)).astype(np.float16),
               "i32": rng.integers(-9, 9, 7).astype(np.int32),
               "q8": gguf.quants.quantize(rng.normal(size=(4, 64)).astype(np.float32),
                                          gguf.GGMLQuantizationType.Q8_0)}
    for name, data in tensors.items():
        writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType.Q8_0 if name == "q8" else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def check_everything(found):
    data = found["metadata"]
    for name, value in {"u8": 200, "i8": -100, "u16": 60000, "i16": -30000, "u32": 4000000000,
                        "i32": -2000000000, "f32": 0.15625, "u64": 2**63 + 1, "i64": -2**62,
                        "f64": 1e300, "yes": True, "ints": [1, -2, 3], "floats": [0.5, -0.25],
                        "bools": [True, False, True], "nested": [[1, 2], [3]]}.items():
        assert data["test." + name] == value, name
    assert text(data["test.text"]) == "naïve 🙂\0end"
    assert [text(t) for t in data["test.texts"]] == ["a", "", "ccc"]


def test_all_types_are_read(tmp_path):
    tensors = write_everything(tmp_path / "in.gguf")
    found = dump(tmp_path / "in.gguf")
    check_everything(found)
    shapes = {"f32": ("F32", [3, 5]), "f16": ("F16", [2, 3, 4]), "i32": ("I32", [7]),
              "q8": ("Q8_0", [4, 64])}
    for name, data in tensors.items():
        assert (found["tensors"][name]["type"], found["tensors"][name]["shape"]) == shapes[name]
        tool("tensor", tmp_path / "in.gguf", name, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data.tobytes()


def test_all_types_are_written(tmp_path):
    """Through quantize, which keeps metadata; the result is read by us and by gguf."""
    write_everything(tmp_path / "in.gguf")
    tool("convert", tmp_path / "in.gguf", tmp_path / "out.gguf", "F32")
    check_everything(dump(tmp_path / "out.gguf"))
    fields = gguf.GGUFReader(tmp_path / "out.gguf").fields
    for key, field in gguf.GGUFReader(tmp_path / "in.gguf").fields.items():
        if not key.startswith("GGUF.") and key != "test.nested":  # gguf reads nested arrays flat
            assert fields[key].types == field.types, key
            assert fields[key].contents() == field.contents(), key


def test_version_2(tmp_path):
    """Version 2 has the same layout for little-endian files."""
    write_llama(tmp_path / "in.gguf", layers=1)
    data = bytearray((tmp_path / "in.gguf").read_bytes())
    data[4:8] = struct.pack("<I", 2)
    (tmp_path / "old.gguf").write_bytes(data)
    assert dump(tmp_path / "old.gguf") == dump(tmp_path / "in.gguf")


def split_model(folder, layers=3):
    """One model in three parts, as gguf-split names and marks them."""
    tensors = write_llama(folder / "whole.gguf", layers=layers)
    names = list(tensors)
    for part in range(3):
        writer = gguf.GGUFWriter(folder / f"m-{part + 1:05}-of-00003.gguf", "llama")
        if part == 0:
            writer.add_block_count(layers)
        writer.add_uint16("split.no", part)
        writer.add_uint16("split.count", 3)
        writer.add_int32("split.tensors.count", len(names))
        for name in names[part::3]:
            writer.add_tensor(name, tensors[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return tensors


@pytest.mark.parametrize("part", [1, 2, 3])
def test_any_part_opens_the_set(part, tmp_path):
    tensors = split_model(tmp_path)
    found = dump(tmp_path / f"m-0000{part}-of-00003.gguf")
    assert set(found["tensors"]) == set(tensors)
    assert found["metadata"]["llama.block_count"] == 3
    tool("tensor", tmp_path / f"m-0000{part}-of-00003.gguf", "blk.1.ffn_up.weight", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == tensors["blk.1.ffn_up.weight"].tobytes()


def test_split_set_is_written_as_one(tmp_path):
    tensors = split_model(tmp_path)
    tool("convert", tmp_path / "m-00001-of-00003.gguf", tmp_path / "one.gguf", "F16")
    reader = gguf.GGUFReader(tmp_path / "one.gguf")
    assert {t.name for t in reader.tensors} == set(tensors)
    assert not [key for key in reader.fields if key.startswith("split.")]


BAD_SETS = {
    "part missing": (lambda f: (f / "m-00002-of-00003.gguf").unlink(), "part 2 of 3 is missing"),
    "part twice": (lambda f: shutil.copy(f / "m-00001-of-00003.gguf", f / "m-00002-of-00003.gguf"),
                   "m-00002-of-00003.gguf"),
    "parts exchanged": (lambda f: ((f / "m-00002-of-00003.gguf").rename(f / "x"),
                                   (f / "m-00003-of-00003.gguf").rename(f / "m-00002-of-00003.gguf"),
                                   (f / "x").rename(f / "m-00003-of-00003.gguf")),
                        "metadata split.no: found 2, expected 1"),
    "unsplit file among them": (lambda f: shutil.copy(f / "whole.gguf", f / "m-00002-of-00003.gguf"),
                                "m-00002-of-00003.gguf"),
}


@pytest.mark.parametrize("name", BAD_SETS)
def test_bad_set(name, tmp_path):
    split_model(tmp_path)
    change, message = BAD_SETS[name]
    change(tmp_path)
    with pytest.raises(RuntimeError, match=message):
        dump(tmp_path / "m-00001-of-00003.gguf")


def test_renamed_part(tmp_path):
    split_model(tmp_path)
    shutil.copy(tmp_path / "m-00001-of-00003.gguf", tmp_path / "mine.gguf")
    with pytest.raises(RuntimeError, match="metadata split.count: found 3 in a file with a name"):
        dump(tmp_path / "mine.gguf")
