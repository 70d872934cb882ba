"""300 programs, one after the other, on cards in other processes, with a busy machine beside them: no wrong byte, no
note, no report. Long: it runs with --all."""
import itertools
import json
import os
import subprocess
import sys

import pytest

from support import run
from test_doctor import report, served

SESSIONS = int(os.environ.get("OUTBOARD_SOAK_SESSIONS", 300))
CARDS = 10  # each serves an equal share: a cold boot, then what it was left as


@pytest.fixture
def load():
    """As many busy processes as there are cores."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(10**6))"]) for _ in range(os.cpu_count())]
    yield
    for process in busy:
        process.kill()
        process.wait()


def test_served_sessions(tmp_path, load):
    run("sim", "firmware", tmp_path / "firmware")
    for number, (dialect, mood) in zip(range(CARDS), itertools.cycle(
            itertools.product(("tinygpu", "remote"), ((), ("--mood", "doorbell.late"))))):
        folder = tmp_path / str(number)
        folder.mkdir()
        with served(folder, dialect, *mood) as server:
            for session in range(SESSIONS // CARDS):
                result = run("doctor", "--device", server.device, "--firmware-dir", tmp_path / "firmware", "--json")
                steps = json.loads(result.out)["steps"]
                bad = [step for step in steps if step["verdict"] in ("bad", "warning")
                       # A doorbell that is late by design may be taken for lost when the machine is busy.
                       and step["diagnosis"] != "doorbell.lost"]
                assert bad == [], (number, session)
            counted = report(server)
            events = [event for event in counted.get("events", []) if not event["text"].startswith("mode 1 reset")]
            assert events == [], (number, dialect)
