"""`outboard doctor` on the simulated card: in process, behind both servers, and with faults."""
import contextlib
import json
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import zipfile

import pytest

from support import OUTBOARD, SMOLLM2, run


@contextlib.contextmanager
def served(folder, dialect, *arguments):
    """A card behind a server; yields what --device takes. What it says at the end lies in server.report."""
    where = ["--socket", f"{folder}/card.sock"] if dialect == "tinygpu" else ["--tcp", "127.0.0.1:0"]
    strict = [] if "--strict" in arguments else ["--strict", "off"]
    process = subprocess.Popen([OUTBOARD, "sim", "serve", *where, "--json", *strict, "--vram", "1G", "--bar", "1G",
                                *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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


@pytest.mark.parametrize("mood", [(), ("--mood", "doorbell.late")], ids=["", "doorbells late"])
@pytest.mark.parametrize("dialect", ["tinygpu", "remote"])
def test_over_a_server(tmp_path, firmware, dialect, mood):
    with served(tmp_path, dialect, *mood) as server:
        result = run("doctor", "--device", server.device, "--firmware-dir", firmware, "--json")
        assert json.loads(result.out)["healthy"] is True
        counted = report(server)
        # Nothing that the hardware would not forgive, and nothing that it might take otherwise.
        assert [e for e in counted.get("events", []) if e["kind"] in ("driver error", "note", "not simulated")] == []


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


def contents(path):
    """Everything in a report, as bytes; and report.json."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert {"report.json", "traffic.bin"} <= set(files)
    return files, json.loads(files["report.json"])


def replay(path, *arguments):
    return json.loads(run("sim", "replay", path, "--json", *arguments).out)


def test_report_replays_without_a_difference(tmp_path):
    path = tmp_path / "report.zip"
    result = run("doctor", "--device", "sim", "--report", path)
    assert f"The report is in {path}" in result.out
    files, document = contents(path)
    assert [f["verdict"] for f in document["findings"]].count("bad") == 0
    assert len(files["config.bin"]) == 4096 and len(files["discovery.bin"]) == 10240
    outcome = replay(path)
    assert outcome["compared"] > 400
    assert outcome["differing"] == outcome["unknowable"] == 0, outcome["differences"]
    assert outcome["driver_errors"] == []
    assert "0 differ" in run("sim", "replay", path).out
    assert list(tmp_path.iterdir()) == [path]  # nothing beside it


@pytest.mark.parametrize(("fault", "register"), [("psp.bootloader-stuck", "MP0_SMN_C2PMSG_35"),
                                                 ("smu.no-answer", "MP1_SMN_C2PMSG_90")])
def test_report_of_a_failed_boot_names_the_register(tmp_path, fault, register):
    rules, path = tmp_path / "faults.json", tmp_path / "report.zip"
    rules.write_text(json.dumps([{"what": fault}]))
    result = doctor_fails("--device", "sim", "--faults", rules, "--report", path, "--json")
    assert json.loads(result.out)["report"] == str(path)
    wait = contents(path)[1]["stages"][-1]["waits"][-1]
    assert wait["last_read"] == register and not wait["came"] and wait["looks"] > 1
    outcome = replay(path)
    assert [(d["place"], d["times"]) for d in outcome["differences"]] == [(register, 1)]
    assert replay(path, "--faults", rules)["differing"] == 0
    assert replay(path, "--vram", "1G")["differences"][0]["place"] == "RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE"


@pytest.mark.parametrize("dialect", ["tinygpu", "remote"])
def test_report_tells_no_names(tmp_path, firmware, dialect):
    home = tmp_path / "a home"
    home.mkdir()
    path = tmp_path / "report.zip"
    with served(tmp_path, dialect) as server:
        run("doctor", "--device", server.device, "--firmware-dir", firmware, "--report", path,
            env={"HOME": str(home), "USER": "vera-example"})
    files, document = contents(path)
    names = [str(home), str(tmp_path), str(firmware), pwd.getpwuid(os.getuid()).pw_name,
             str(pathlib.Path("~").expanduser()), socket.gethostname(), "vera-example"]
    if dialect == "remote":
        names.append("127.0.0.1")
    for name in names:
        for file, data in files.items():
            # Random bytes may hold a short name by chance; text does not.
            if len(name) < 5 and file != "report.json":
                continue
            for text in re.findall(rb"[\x20-\x7e]{8,}", data):
                assert not re.search(rb"(?<!\w)" + re.escape(name.encode()) + rb"(?!\w)", text), (name, file)
    images = [image.read_bytes() for image in firmware.iterdir()]
    assert len(document["firmware"]) == len(images)
    for image in images:  # made up here, AMD's on a real card
        assert image[len(image) // 2:][:32] not in files["traffic.bin"]
    outcome = replay(path, "--vram", "1G")
    assert outcome["differing"] == 0, outcome["differences"]


def test_report_when_the_link_drops(tmp_path):
    rules, path = tmp_path / "faults.json", tmp_path / "report.zip"
    rules.write_text(json.dumps([{"what": "link.drop", "request": 1300}]))
    doctor_fails("--device", "sim", "--faults", rules, "--report", path)
    assert contents(path)[1]["stages"]
    assert replay(path)["failures"]


def test_report_goes_where_it_can(tmp_path):
    result = run("doctor", "--device", "sim", "--report", tmp_path / "none" / "report.zip", ok=False)
    assert str(tmp_path / "none") in result.err


def test_record_of_a_run(tmp_path):
    path = tmp_path / "record.zip"
    result = run("run", SMOLLM2, "--device", "sim", "-p", "Hi", "-n", "2", "--temp", "0", "--record", path)
    assert str(path) in result.err
    # Weights are not in it. (9 MB on an idle machine; waits on a busy one take more looks.)
    assert path.stat().st_size < SMOLLM2.stat().st_size // 2
    outcome = replay(path)
    assert outcome["differing"] == 0, outcome["differences"]
    assert outcome["unknowable"] > 0


def test_replay_refuses_what_is_no_recording(tmp_path):
    path = tmp_path / "report.zip"
    run("doctor", "--device", "sim", "--read-only", "--report", path)
    whole = path.read_bytes()
    for data, why in [(whole[:len(whole) // 2], "ZIP archive"), (b"text", "traffic:"),
                      (b"OBTRAF1\n\x7f", "kind 127 is unknown")]:
        path.write_bytes(data)
        assert why in run("sim", "replay", path, ok=False).err


def test_help_has_an_example():
    assert "Example: outboard doctor" in run("doctor", "--help").out
    assert "guard" not in run("--help").out


