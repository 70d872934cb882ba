"""What the tests of src/formats share: the tool, and types to go through."""
import json
import os
import subprocess

import numpy as np
import pytest

TOOL = os.environ.get("OUTBOARD_FORMAT_TOOL")
if not TOOL:
    pytest.exit("OUTBOARD_FORMAT_TOOL must name the built format_tool", returncode=2)


def tool(*args):
    """Runs the tool; raises with its message when it fails."""
    done = subprocess.run([TOOL, *map(str, args)], capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return done.stdout


def dequantize(type_name, blocks, folder, half=False):
    (folder / "in").write_bytes(blocks.tobytes())
    tool("dequantize-half" if half else "dequantize", type_name, folder / "in", folder / "out")
    return np.fromfile(folder / "out", dtype=np.float16 if half else np.float32)


def quantize(type_name, values, folder, weights=None):
    (folder / "in").write_bytes(values.astype(np.float32).tobytes())
    more = []
    if weights is not None:
        (folder / "weights").write_bytes(weights.astype(np.float32).tobytes())
        more = [folder / "weights"]
    tool("quantize", type_name, folder / "in", folder / "out", *more)
    return np.fromfile(folder / "out", dtype=np.uint8)


def dump(path):
    return json.loads(tool("dump", path))


def text(value):
    """A string of dump()."""
    return bytes(value["bytes"]).decode()
