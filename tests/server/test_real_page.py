"""The page against the program itself: what tests/server/test_page.py asks for no set answers."""
import os
import pathlib
import subprocess
import sys

from serving import MODELS, serve


def test_the_page_talks_to_the_program():
    with serve(MODELS / "smollm2.gguf", "--device", "cpu", "--ctx", 2048) as server:
        result = subprocess.run([sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider",
                                 str(pathlib.Path(__file__).with_name("test_page.py")),
                                 "-k", "a_conversation or reload_keeps or stop or several or two_tabs or narrow or keyboard"],
                                env={**os.environ, "OUTBOARD_PAGE": server.address + "/"}, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0 and " passed" in result.stdout, result.stdout[-8000:]
