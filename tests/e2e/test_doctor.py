"""`outboard doctor` on the simulated card: in process, behind both servers, and with faults."""
import contextlib
import json
import re
import signal
import subprocess

import pytest

from support import OUTBOARD, run


@contextlib.contextmanager
def served(folder, dialect, *arguments):
    """A card behind a server; yields what --device takes. What it says at the end lies in server.report."""
    where = ["--socket", f"{folder}/card.sock"] if dialect == "tinygpu" else ["--tcp", "127.0.0.1:0"]
    process = subprocess.Popen([OUTBOARD, "sim", "serve", *where, "--json", "--strict", "off", "--vram", "1G",
                                "--bar", "1G", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = None
        for line in process.stderr:
            if found := re.search(r"listens on (\S+?)\. ", line):
                address = found[1]
            if line.startswith("Ctrl-C"):
                break
        assert address
        process.device = f"{'tinygpu' if dialect == 'tinygpu' else 'remote'}:{address}"
        yield process
    finally:
        process.kill()
        process.wait()


def report(process):
    process.send_signal(signal.SIGTERM)
    return json.loads(process.communicate(timeout=60)[0])


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    folder = tmp_path_factory.mktemp("firmware")
    run("sim", "firmware", folder)
    return folder


def steps(result):
    return {step["step"]: step for step in json.loads(result.out)["steps"]}


def test_simulated_card_is_healthy():
    result = run("doctor", "--device", "sim")
    assert result.out.endswith("Nothing is wrong.\n")
    for step in ("BARs", "boot: firmware boot", "memory", "compute queue", "products", "decode"):
        assert re.search(rf"^ok +{step} ", result.out, re.M), step


def doctor_fails(*arguments):
    """Findings are on standard output; there is no error beside them."""
    result = subprocess.run([OUTBOARD, "doctor", *map(str, arguments)], capture_output=True, timeout=120, check=False)
    assert result.returncode == 1
    result.out = result.stdout.decode()
    return result


def test_a_fault_is_named(tmp_path):
    rules = tmp_path / "faults.json"
    rules.write_text(json.dumps([{"what": "psp.sos-silent"}]))
    result = doctor_fails("--device", "sim", "--faults", rules, "--json")
    document = json.loads(result.out)
    assert document["healthy"] is False
    bad = [step for step in document["steps"] if step["verdict"] == "bad"]
    assert [step["diagnosis"] for step in bad] == ["psp.sos-silent"]
    assert bad[0]["step"] == "boot: firmware boot" and bad[0]["todo"]


@pytest.mark.parametrize("dialect", ["tinygpu", "remote"])
def test_over_a_server(tmp_path, firmware, dialect):
    with served(tmp_path, dialect) as server:
        result = run("doctor", "--device", server.device, "--firmware-dir", firmware, "--json")
        assert json.loads(result.out)["healthy"] is True
        counted = report(server)
        assert [e for e in counted.get("events", []) if e["kind"] == "driver error"] == []


def test_missing_firmware_names_the_command(tmp_path):
    with served(tmp_path, "tinygpu") as server:
        result = doctor_fails("--device", server.device, "--firmware-dir", tmp_path / "none", "--json")
        assert "outboard pull firmware" in steps(result)["firmware"]["todo"]
        assert steps(result)["card"]["verdict"] == "ok"  # the layers beside it are looked at all the same
        assert "boot: bus" not in steps(result)


def test_nobody_listens(tmp_path):
    result = doctor_fails("--device", f"tinygpu:{tmp_path}/none.sock", "--json")
    assert steps(result)["server"]["diagnosis"] == "app.missing"
    assert "/Applications" in steps(result)["server"]["todo"]


def test_a_holder_is_named(tmp_path, firmware):
    """One program holds the card behind the server; the next one is told its process."""
    with served(tmp_path, "tinygpu") as server:
        with subprocess.Popen([OUTBOARD, "doctor", "--device", server.device, "--firmware-dir", firmware],
                              stdout=subprocess.PIPE, text=True) as first:
            assert "server" in first.stdout.readline()
            result = doctor_fails("--device", server.device, "--json")
            assert steps(result)["server"]["diagnosis"] == "lock.held"
            assert f"process {first.pid}" in steps(result)["server"]["seen"]
            first.stdout.read()
        assert first.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_killed_in_the_middle(tmp_path, firmware, number):
    """The guard puts the card to rest, and the next run works."""
    with served(tmp_path, "tinygpu", "--trace", str(tmp_path / "trace")) as server:
        with subprocess.Popen([OUTBOARD, "doctor", "--device", server.device, "--firmware-dir", firmware],
                              stdout=subprocess.PIPE, text=True) as first:
            for line in first.stdout:
                if "boot: queues" in line:
                    first.send_signal(number)
        assert first.returncode == -number
        run("doctor", "--device", server.device, "--firmware-dir", firmware)
        counted = report(server)
        assert not any("kernel panic" in e["text"] for e in counted.get("events", []))
        assert counted["link"]["resets"] == 1  # the second run does not trust what the first one left


def test_help_has_an_example():
    assert "Example: outboard doctor" in run("doctor", "--help").out
    assert "guard" not in run("--help").out


