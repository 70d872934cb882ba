"""What the tests of src/grammar share: the tool behind a pipe."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

TOOL = os.environ.get("OUTBOARD_GRAMMAR_TOOL")
if not TOOL:
    pytest.exit("OUTBOARD_GRAMMAR_TOOL must name the built grammar_tool", returncode=2)


class Tool:
    def __init__(self):
        self.process = subprocess.Popen([TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, encoding="utf-8")

    def __call__(self, op, **request):
        self.process.stdin.write(json.dumps({"op": op, **request}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the tool died on {op}: {request}"
        answer = json.loads(line)
        assert not answer.get("error", "").startswith("not an Error"), (answer, request)
        return answer

    def made(self, op, **request):
        answer = self(op, **request)
        assert "error" not in answer, answer
        return answer
