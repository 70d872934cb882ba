"""Writes tests/formats/recorded_mixes.json: the types that llama.cpp's llama-quantize chooses.

Run: python tools/formats/record_mixes.py PATH/TO/llama-quantize
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "formats"))
from tiny_models import MIX_SHAPES, write_llama  # noqa: E402

MIXES = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K_S", "Q4_K_M", "Q5_K_S",
         "Q5_K_M", "Q6_K"]


def main():
    recorded = {}
    with tempfile.TemporaryDirectory() as folder:
        source, out = f"{folder}/in.gguf", f"{folder}/out.gguf"
        for shape, options in MIX_SHAPES.items():
            write_llama(source, **options)
            for mix in MIXES:
                subprocess.run([sys.argv[1], source, out, mix], check=True, capture_output=True)
                types = {t.name: t.tensor_type.name for t in gguf.GGUFReader(out).tensors}
                # Only what differs from the mix's most frequent type, to keep the file small.
                names = list(types.values())
                usual = max(sorted(set(names)), key=names.count)
                recorded.setdefault(shape, {})[mix] = {
                    "usual": usual,
                    "others": {n: t for n, t in sorted(types.items()) if t != usual}}
    target = ROOT / "tests" / "formats" / "recorded_mixes.json"
    target.write_text(json.dumps(recorded, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
