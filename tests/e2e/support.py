"""What the end-to-end tests share: the program, models, references."""
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTBOARD = os.environ["OUTBOARD"]
MODELS = pathlib.Path(os.environ["OUTBOARD_MODELS"])
SMOLLM2 = MODELS / "smollm2.gguf"
GEMMA = MODELS / "gemma3-270m.gguf"
ALICE = ROOT / "tests/data/alice.txt"


def run(*arguments, ok=True, env=None, stdin=None, timeout=300):
    """Runs the program; checks that it succeeded, or failed with a message and status 1."""
    result = subprocess.run([OUTBOARD, *map(str, arguments)], capture_output=True, input=stdin,
                            timeout=timeout, env={**os.environ, **(env or {})})
    result.out = result.stdout.decode()
    result.err = result.stderr.decode()
    if ok:
        assert result.returncode == 0, result.err
    else:
        assert result.returncode == 1, (result.returncode, result.err)
        assert result.err.startswith("outboard: "), result.err
    return result


def run_json(*arguments, **options):
    return json.loads(run(*arguments, "--json", **options).out)


def tokens_of(model, text_file=ALICE):
    return run_json("tokenize", model, "-f", text_file)["ids"]

