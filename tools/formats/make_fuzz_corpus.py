"""Writes the seeds of the format fuzzers: tests/fuzz/corpus/{gguf,safetensors}.

Run: python tools/formats/make_fuzz_corpus.py
"""
import json
import pathlib
import struct
import sys

import gguf
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
sys.path.insert(0, str(ROOT / "tests" / "formats"))


def write_gguf(name, tensors, arrays):
    path = CORPUS / "gguf" / name
    writer = gguf.GGUFWriter(path, "llama")
    for key, value, kind in [("u8", 1, 0), ("i8", -1, 1), ("u16", 2, 2), ("i16", -2, 3), ("u32", 3, 4),
                             ("i32", -3, 5), ("f32", 0.5, 6), ("bool", True, 7), ("text", "x", 8),
                             ("u64", 4, 10), ("i64", -4, 11), ("f64", 0.25, 12)]:
        writer.add_key_value(key, value, gguf.GGUFValueType(kind))
    for key, values in arrays.items():
        writer.add_array(key, values)
    for tensor, (shape, kind) in tensors.items():
        data = np.zeros(shape, np.float32)
        if kind != "F32":
            data = gguf.quants.quantize(data, gguf.GGMLQuantizationType[kind])
        writer.add_tensor(tensor, data, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_safetensors(name, header, data=0):
    text = header if isinstance(header, str) else json.dumps(header)
    encoded = text.encode()
    path = CORPUS / "safetensors" / name
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + bytes(data))


def main():
    for folder in ("gguf", "safetensors"):
        (CORPUS / folder).mkdir(parents=True, exist_ok=True)
    write_gguf("plain", {"a": ((2, 4), "F32"), "b": ((2, 32), "Q8_0")},
               {"ints": [1, 2], "texts": ["a", "bc"], "bools": [True, False]})
    write_gguf("nested", {}, {"deep": [[1], [2, 3]]})
    write_gguf("aligned", {"a": ((1, 2, 3), "F32")}, {"floats": [0.5]})
    (CORPUS / "gguf" / "empty_model").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    write_safetensors("plain", {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [8, 12]}}, 12)
    write_safetensors("empty", {})
    write_safetensors("scalar", {"s": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]}}, 8)
    write_safetensors("deep", "[" * 40)
    write_safetensors("overlap", {
        "a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
        "b": {"dtype": "U8", "shape": [4], "data_offsets": [2, 6]}}, 6)


if __name__ == "__main__":
    main()
