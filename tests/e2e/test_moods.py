"""Every mood of the simulated card, behind TinyGPU's socket: boot, upload, eight tokens, rest, and the next run works."""
import concurrent.futures
import json
import subprocess

import pytest

import make_model
from support import OUTBOARD, run, run_json
from test_doctor import report, served

MOODS = [mood["name"] for mood in json.loads(subprocess.run([OUTBOARD, "sim", "moods", "--json"], capture_output=True,
                                                            check=True).stdout)]
PROMPT = ("-p", "the rain in the other on", "--raw", "--temp", 0, "-n", 8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "llama.gguf"
    make_model.make("llama-small", path, "Q8_0")
    return path


def two_runs(model, folder, dialect, moods, *arguments):
    """Two programs, one after the other, on one card. Returns their tokens and what the card has to say."""
    folder.mkdir()
    run("sim", "firmware", folder / "firmware", "--mood", ",".join(moods))
    with served(folder, dialect, "--strict", "on", "--mood", ",".join(moods), *arguments) as server:
        tokens = [run_json("run", model, *PROMPT, "--device", server.device,
                           "--firmware-dir", folder / "firmware")["tokens"] for _ in range(2)]
        counted = report(server)
    said = [f"{e['where']}: {e['text']}" for e in counted.get("events", [])
            if e["kind"] in ("driver error", "not simulated")]
    return tokens, said + [v["text"] for v in counted.get("violations") or []]


def test_each_mood(model, tmp_path):
    want = run_json("run", model, *PROMPT, "--device", "cpu")["tokens"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = {mood: pool.submit(two_runs, model, tmp_path / mood, "tinygpu", [mood]) for mood in MOODS}
    for mood, result in results.items():
        tokens, said = result.result()
        assert tokens == [want, want], mood
        assert said == [], mood


@pytest.mark.parametrize("dialect", ["tinygpu", "remote"])
def test_all_at_once(model, tmp_path, dialect):
    want = run_json("run", model, *PROMPT, "--device", "cpu")["tokens"]
    assert two_runs(model, tmp_path / "all", dialect, ["all"]) == ([want, want], [])


def test_an_unknown_mood_is_refused(tmp_path):
    result = run("sim", "serve", "--tcp", "127.0.0.1:0", "--mood", "gloomy", ok=False)
    assert "gloomy" in result.err and "doorbell.late" in result.err
