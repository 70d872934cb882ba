"""What the tests of src/text share: the tool behind a pipe, and files that are fetched for tests."""
import functools
import json
import os
import pathlib
import subprocess
import sys
import tarfile

import pytest

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


def models_folder():
    """Where real GGUF models lie; None if the variable is not set."""
    folder = os.environ.get("OUTBOARD_MODELS")
    return pathlib.Path(folder) if folder else None


@functools.cache
def llama_cpp_models():
    """The folder models/ of llama.cpp inside the sdist of llama-cpp-python: real vocabularies and
    chat templates. Fetched once; None when there is no network."""
    downloads = pathlib.Path(os.environ.get("OUTBOARD_DOWNLOADS", "build/downloads"))
    target = downloads / "llama-cpp-models"
    if not target.is_dir():
        downloads.mkdir(parents=True, exist_ok=True)
        fetched = subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:",
             "--no-build-isolation", "-d", str(downloads), "llama-cpp-python==0.3.36"],
            capture_output=True)
        archives = sorted(downloads.glob("llama_cpp_python-*.tar.gz"))
        if not archives:
            print(fetched.stderr.decode(errors="replace")[-500:])
            return None
        part = downloads / "llama-cpp-models.part"
        with tarfile.open(archives[0]) as archive:
            for member in archive:
                if "/vendor/llama.cpp/models/" not in member.name or not member.isfile():
                    continue
                path = part / member.name.split("/vendor/llama.cpp/models/")[1]
                if ".." in path.parts:
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.extractfile(member).read())
        part.rename(target)
    return target
