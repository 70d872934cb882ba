"""What the tests of src/text share: the tool behind a pipe, and files that are fetched for tests."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

from fetched import llama_cpp  # noqa: E402

TOOL = os.environ.get("OUTBOARD_TEXT_TOOL")
if not TOOL:
    pytest.exit("OUTBOARD_TEXT_TOOL must name the built text_tool", returncode=2)


class Tool:
    def __init__(self):
        self.process = subprocess.Popen([TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, encoding="utf-8")

    def __call__(self, op, **request):
        self.process.stdin.write(json.dumps({"op": op, **request}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the tool died on {op}"
        return json.loads(line)

    def ids(self, text, **options):
        answer = self("encode", **({"hex": text.hex()} if isinstance(text, bytes) else {"text": text}),
                      **options)
        assert "error" not in answer, answer
        return answer["ids"]


def gguf_strings(path):
    """The string values of a GGUF file's metadata. The package gguf takes seconds for a large vocabulary."""
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    with open(path, "rb") as file:
        def number(size=8):
            return int.from_bytes(file.read(size), "little")

        def value(kind):
            if kind == 8:
                return file.read(number())
            if kind == 9:
                inner, count = number(4), number()
                if inner in sizes:
                    file.seek(sizes[inner] * count, 1)
                else:
                    for _ in range(count):
                        value(inner)
                return None
            file.seek(sizes[kind], 1)

        assert file.read(4) == b"GGUF" and number(4) in (2, 3)
        number()
        found = {}
        for _ in range(number()):
            key = file.read(number()).decode()
            text = value(number(4))
            if text is not None:
                found[key] = text.decode()
        return found


def models_folder():
    """Where real GGUF models lie; None if the variable is not set."""
    folder = os.environ.get("OUTBOARD_MODELS")
    return pathlib.Path(folder) if folder else None


def llama_cpp_models():
    """The folder models/ of llama.cpp: real vocabularies and chat templates."""
    return llama_cpp("models")
