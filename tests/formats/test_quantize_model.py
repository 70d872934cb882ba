"""Whole models: types as llama.cpp chooses them (recorded_mixes.json: what llama_model_quantize of 0ce8cd1 made of
each shape), values and metadata as gguf reads them."""
import json
import pathlib

import numpy as np
import pytest
from gguf import GGUFReader, quants

from support import tool
from tiny_models import MIX_SHAPES, write_llama

RECORDED = json.loads((pathlib.Path(__file__).parent / "recorded_mixes.json").read_text())


@pytest.mark.parametrize("shape", MIX_SHAPES)
def test_types_as_llama_quantize(shape, tmp_path):
    model = tmp_path / "in.gguf"
    write_llama(model, **MIX_SHAPES[shape])
    for name, recorded in RECORDED[shape].items():
        mix, *importances = name.split("+")
        types = json.loads(tool("types", model, mix, *importances))
        others = {}
        for tensor, kind in sorted(types.items()):
            if "norm" in tensor:
                assert kind == "F32"
            elif kind != recorded["usual"]:
                others.setdefault(kind, []).append(tensor)
        assert {"usual": recorded["usual"], **others} == recorded, name


# Square root of the mean square error against the weights' own, for normal weights.
@pytest.mark.parametrize("mix, number, limit", [
    ("F32", 0, 0), ("F16", 1, 3e-4), ("BF16", 32, 2.5e-3), ("Q8_0", 7, 0.006), ("Q4_0", 2, 0.09),
    ("Q4_1", 3, 0.08), ("Q5_0", 8, 0.045), ("Q5_1", 9, 0.039), ("Q4_K_S", 14, 0.073),
    ("Q4_K_M", 15, 0.073), ("Q5_K_S", 16, 0.037), ("Q5_K_M", 17, 0.037), ("Q6_K", 18, 0.018), ("Q2_K", 10, 0.28),
    ("Q3_K_S", 11, 0.155), ("Q3_K_M", 12, 0.155), ("Q3_K_L", 13, 0.155), ("IQ4_NL", 25, 0.077), ("IQ4_XS", 30, 0.077),
    ("TQ1_0", 36, 0.85), ("TQ2_0", 37, 0.85), ("MXFP4", 38, 0.006)])
def test_converted_file(mix, number, limit, tmp_path):
    tensors = write_llama(tmp_path / "in.gguf", layers=3, biases=True)
    tool("convert", tmp_path / "in.gguf", tmp_path / "out.gguf", mix)
    reader = GGUFReader(tmp_path / "out.gguf")
    assert reader.fields["general.file_type"].contents() == number
    assert reader.fields["general.quantization_version"].contents() == 2
    assert reader.fields["llama.embedding_length"].contents() == 256
    assert [t.name for t in reader.tensors] == list(tensors)
    for tensor in reader.tensors:
        expected = tensors[tensor.name]
        found = quants.dequantize(tensor.data, tensor.tensor_type).reshape(expected.shape)
        if expected.ndim == 1:
            assert (found == expected).all()
        else:
            error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected ** 2))
            assert error <= limit, tensor.name
    assert list(tmp_path.glob("*.part*")) == []


def test_nan_is_refused_and_leaves_no_file(tmp_path):
    import gguf
    writer = gguf.GGUFWriter(tmp_path / "in.gguf", "llama")
    data = np.zeros((4, 256), np.float32)
    data[2, 5] = np.nan
    writer.add_tensor("output.weight", data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(RuntimeError, match="in.gguf: tensor output.weight: found NaN"):
        tool("convert", tmp_path / "in.gguf", tmp_path / "out.gguf", "Q8_0")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.gguf"]


def test_full_disk_leaves_no_file(tmp_path):
    """A limit on file sizes stands in for the disk: the write fails half way."""
    import resource
    import signal
    import subprocess
    import os
    write_llama(tmp_path / "in.gguf", layers=3)

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run([os.environ["OUTBOARD_FORMAT_TOOL"], "convert", tmp_path / "in.gguf",
                           tmp_path / "out.gguf", "Q8_0"], preexec_fn=limit, capture_output=True)
    assert done.returncode == 1
    assert b"write" in done.stderr and b"out.gguf" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.gguf"]


def test_unwritable_folder(tmp_path):
    write_llama(tmp_path / "in.gguf", layers=1)
    with pytest.raises(RuntimeError, match="create .*missing/out.gguf"):
        tool("convert", tmp_path / "in.gguf", tmp_path / "missing" / "out.gguf", "Q8_0")
