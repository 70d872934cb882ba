"""An unmodified tinygrad on the simulated card: boots, computes, comes back, recovers.

OUTBOARD names the program. Each test starts its own card.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import pytest

pytest.importorskip("tinygrad")

HERE = pathlib.Path(__file__).parent
OUTBOARD = os.environ.get("OUTBOARD", "")
pytestmark = pytest.mark.skipif(not OUTBOARD, reason="OUTBOARD does not name the program")

BOOT = """
import time
start = time.time()
from tinygrad import Device, Tensor
Device["AMD"]
print("boot", time.time() - start)
assert ((Tensor([1., 2.]) + 1).numpy() == [2., 3.]).all()
print("computed")
"""


class Server:
    def __init__(self, process, address):
        self.process, self.address = process, address
        self.report = None

    def stop(self):
        """Ends the card and returns what it counted."""
        if self.report is None:
            self.process.send_signal(signal.SIGTERM)
            self.report = json.loads(self.process.communicate(timeout=60)[0])
        return self.report

    def events(self, kind):
        return [f"{e['where']}: {e['text']}" for e in self.stop().get("events", []) if e["kind"] == kind]

    def check_clean(self):
        """No client that boots as it should may be told off."""
        # On a busy machine its doorbells can be later than its write pointer in system memory, which it
        # lets SDMA poll, too: a finding, told by `outboard sim moods` (doorbell.late).
        assert [e for e in self.events("driver error") if "write pointer goes back" not in e] == []
        assert self.events("not simulated") == []
        assert self.stop()["violation_count"] == 0, self.stop()["violations"]


@contextlib.contextmanager
def card(*arguments, unix=False, faults=None):
    with tempfile.TemporaryDirectory() as folder:
        where = ["--socket", f"{folder}/card.sock"] if unix else ["--tcp", "127.0.0.1:0"]
        if faults:
            path = pathlib.Path(folder, "faults.json")
            path.write_text(json.dumps(faults))
            where += ["--faults", str(path)]
        process = subprocess.Popen([OUTBOARD, "sim", "serve", *where, "--json", *arguments],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            address = None
            for line in process.stderr:
                if found := re.search(r"listens on (\S+?)\. ", line):
                    address = ("unix:" if unix else "") + found[1]
                if line.startswith("Ctrl-C"):
                    break
            assert address, "the server did not say where it listens"
            yield Server(process, address)
        finally:
            process.kill()
            process.wait()


def client(server, script, timeout=280, **environment):
    """Runs a script (a path or its text) with tinygrad on the card; returns what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        if not os.path.exists(script):
            path = pathlib.Path(folder, "script.py")
            path.write_text(script)
            script = path
        # TMPDIR: the lock of another tinygrad is none of ours.
        environment = {**os.environ, "TMPDIR": folder, "XDG_CACHE_HOME": folder, "HOME": folder, **environment}
        result = subprocess.run([sys.executable, HERE / "tinygrad_client.py", server.address, script],
                                capture_output=True, text=True, timeout=timeout, env=environment, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


@pytest.mark.parametrize("which", ["xtx", "xt", "gre"])
def test_boots(which):
    with card("--card", which) as server:
        start = time.time()
        out = client(server, BOOT)
        assert time.time() - start < 20
        assert "computed" in out
        server.check_clean()
        assert server.report["compute"]["dispatches"] >= 1
        # What tinygrad does on the way: firmware by the PSP, page tables, both hubs' TLBs.
        assert server.report["engines"]["tlb_invalidates"] > 10
        assert server.report["engines"]["page_faults"] == 0


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_operations(unix):
    with card(unix=unix) as server:
        out = client(server, HERE / "operations.py")
        passed, failed = re.search(r"(\d+) passed, (\d+) failed", out).groups()
        print(f"{passed} operations equal numpy's")
        assert int(failed) == 0 and int(passed) >= 60
        server.check_clean()
        # float16 matrices must have gone through the matrix instructions.
        assert server.report["compute"]["instructions"]["wmma"] > 0


def test_second_client_finds_the_card_warm():
    with card() as server:
        client(server, BOOT)
        out = client(server, BOOT, DEBUG="2")
        assert "AM_PSP initialized" not in out  # tinygrad skips it on a card that it left in order
        server.check_clean()


def test_dirty_card_is_reset():
    with card(faults=[{"what": "card.dirty"}]) as server:
        out = client(server, BOOT, DEBUG="2")
        assert "mode1 reset" in out
        assert "AM_PSP initialized" in out
        server.check_clean()
        assert server.report["link"]["resets"] == 1


def test_small_window():
    with card("--bar", "256M") as server:
        assert "computed" in client(server, BOOT)
        server.check_clean()


def test_queues_in_the_format_of_hsa():
    with card() as server:
        assert "computed" in client(server, BOOT, AMD_AQL="1")
        server.check_clean()
        assert server.report["engines"]["aql_packets"] > 0


RECOVER = """
from tinygrad import Device, Tensor
from tinygrad.device import Buffer
from tinygrad.dtype import dtypes
device = Device["AMD"]
assert ((Tensor([1., 2.]) + 1).numpy() == [2., 3.]).all()
# Touch an address that nobody mapped: the queue must hang, and tinygrad must notice.
queue = device.hw_compute_queue_t()
queue.wait_reg_mem(1, mem=0xdead0000)
queue.signal(device.timeline_signal, device.next_timeline()).submit(device)
try:
    device.synchronize(timeout=1500)
    raise SystemExit("the fault was not noticed")
except RuntimeError as error:
    print("noticed:", error)
assert ((Tensor([3., 4.]) + 1).numpy() == [4., 5.]).all()
print("recovered")
"""


def test_recovers_from_a_page_fault():
    with card() as server:
        out = client(server, RECOVER)
        assert "recovered" in out
        errors = server.events("driver error")
        assert any("0xdead0000" in e for e in errors)
        assert server.report["engines"]["page_faults"] >= 1


@pytest.mark.parametrize("fault, said", [
    ({"what": "psp.bootloader-stuck"}, "BL not ready"),
    ({"what": "psp.firmware-rejected", "where": "type 8"}, "PSP command failed"),
    # tinygrad's wait for the autoload passes while BOOTLOAD_COMPLETE is 0, where the kernel's
    # (gfx_v11_0_wait_for_rlc_autoload_complete) wants 1; it notices at the next thing the RLC must do.
    ({"what": "rlc.autoload-timeout"}, "RLC safe mode timeout"),
])
def test_failed_boot_is_noticed(fault, said):
    script = """
import functools, tinygrad.helpers
from tinygrad.runtime.support.am import ip
ip.wait_cond = functools.partial(tinygrad.helpers.wait_cond, timeout_ms=500)  # ten seconds are for real cards
from tinygrad import Device
try:
    Device["AMD"]
except Exception as error:
    print("noticed:", repr(error))
"""
    with card(faults=[fault]) as server:
        out = client(server, script)
        assert "noticed:" in out and said in out


MOODS = json.loads(subprocess.run([OUTBOARD, "sim", "moods", "--json"], capture_output=True, check=True).stdout
                   if OUTBOARD else "[]")
GOOD = [mood["name"] for mood in MOODS if not mood["tinygrad"] and mood["name"] != "card.posted"]


def test_boots_in_every_mood_that_is_judged_right():
    """All of them at once: what is proven on hardware must not fail for want of luck."""
    with card("--mood", ",".join(GOOD)) as server:
        assert "computed" in client(server, BOOT, OUTBOARD_MOODS=",".join(GOOD))
        assert server.events("driver error") == []


@pytest.mark.skipif("OUTBOARD_EVERY_MOOD" not in os.environ, reason="long: OUTBOARD_EVERY_MOOD=1 (in --all)")
@pytest.mark.parametrize("mood", MOODS, ids=lambda mood: mood["name"])
def test_each_mood(mood):
    """The list says truly in which moods tinygrad works, and in which it does not: those are findings."""
    script = OPERATIONS_WITH_COPIES
    # Over TCP system memory goes by messages, too, so that nothing overtakes a doorbell unless it is meant to.
    with card("--mood", mood["name"], unix=mood["name"].startswith("doorbell.")) as server:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "script.py")
            path.write_text(script)
            environment = {**os.environ, "TMPDIR": folder, "XDG_CACHE_HOME": folder, "HOME": folder,
                           "OUTBOARD_MOODS": mood["name"]}
            try:
                result = subprocess.run([sys.executable, HERE / "tinygrad_client.py", server.address, path],
                                        capture_output=True, text=True, timeout=90, env=environment, check=False)
                works = result.returncode == 0 and "computed" in result.stdout
            except subprocess.TimeoutExpired:
                works = False
        works = works and server.events("driver error") == []
        assert works == (not mood["tinygrad"]), mood["tinygrad"]


OPERATIONS_WITH_COPIES = """
import numpy as np
from tinygrad import Device, Tensor
rng = np.random.default_rng(1)
for turn in range(20):
    a, b = rng.standard_normal((2, 700, 700)).astype(np.float32)
    got = (Tensor(a) + Tensor(b)).numpy()
    assert np.array_equal(got, a + b), turn
print("computed")
"""
