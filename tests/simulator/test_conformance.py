"""Does Outboard's driver do to the card what tinygrad's does, which is known to work on the real one?

Both boot the same simulated card, cold and then warm, compute something and put it to rest; all that they write is
compared (conformance.py), and each difference must stand in conformance_differences.toml with its reason.

OUTBOARD names the program, OUTBOARD_SESSION the short session of ours (driver/exit_safety_session.cpp).
`python test_conformance.py --print` prints what the list lacks, in its form, and what it has too much."""

import os
import pathlib
import struct
import subprocess
import sys

import pytest

pytest.importorskip("tinygrad")

from tinygrad.runtime.autogen.am import am  # noqa: E402

import card_names  # noqa: E402
import card_trace  # noqa: E402
import conformance  # noqa: E402
from card_state import CardState  # noqa: E402
from test_tinygrad import Server, card, client  # noqa: E402
from trace_proxy import Command, Proxy  # noqa: E402

HERE = pathlib.Path(__file__).parent
SESSION = os.environ.get("OUTBOARD_SESSION", "")
pytestmark = pytest.mark.skipif(not SESSION, reason="OUTBOARD_SESSION does not name the session")

COMPUTE = """
from tinygrad import Tensor
assert ((Tensor([1., 2.]) + 1).numpy() == [2., 3.]).all()
"""


def record(run):
    """The requests of three sessions: two with one card, the first of which finds it as after power-on; one with a card
    on which another driver was left running."""
    with card() as server, Proxy(server.address) as proxy:
        for _ in range(2):
            run(Server(None, proxy.address))
        server.check_clean()
    with card(faults=[{"what": "card.dirty"}]) as server, Proxy(server.address) as dirty:
        run(Server(None, dirty.address))
        server.check_clean()
    return [*proxy.sessions, *dirty.sessions]


def run_ours(server):
    done = subprocess.run([SESSION, f"remote:{server.address}"], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Traces:
    """What both did, decoded: sessions, cold, warm and with a reset."""

    def __init__(self, ours, theirs):
        self.requests = ours
        self.images = {}  # what tinygrad calls an image, ours is measured by
        self.theirs = self.decode(theirs)
        self.ours = self.decode(ours)

    def decode(self, sessions):
        state = CardState()
        return [card_trace.decode(session, state if i < 2 else CardState(), self.images) for i, session in enumerate(sessions)]


def record_both():
    return Traces(record(run_ours), record(lambda server: client(server, COMPUTE)))


def differences(ours, theirs):
    """Of sessions that both have. After a reset all is as in a cold boot, so only what comes before is compared."""
    out = conformance.compare("reset", *(until_reset(driver[2]) for driver in (ours, theirs))) if len(ours) > 2 else []
    for phase, mine, yours in zip(("cold", "warm"), ours, theirs):
        out += conformance.compare(phase, mine.boot, yours.boot)
        out += conformance.compare(f"{phase} rest", mine.rest, yours.rest)
        out += conformance.compare_entries(phase, mine.entries, yours.entries)
    return out


def until_reset(session):
    end = next(i for i, item in enumerate(session.boot) if item.label == "RCC_DEV0_EPF2_STRAP2")
    return session.boot[:end]


def the_list():
    return conformance.read_list((HERE / "conformance_differences.toml").read_text())


@pytest.fixture(scope="module")
def traces():
    return record_both()


def test_every_difference_is_listed(traces):
    unlisted, gone, twice = conformance.check(differences(traces.ours, traces.theirs), the_list())
    said = [*(f"not listed: {d}" for d in unlisted), *(f"listed twice: {d}" for d in twice),
            *(f"listed, but not there ({phase}): {entry.block}, {entry.what}.{entry.field}, {entry.kind}" for entry, phase in gone)]
    assert not said, "\n" + "\n".join(said) + f"\n(python {__file__} --print writes entries; each needs a reason and a source)"


def test_the_traces_are_whole(traces):
    """A comparison of nothing would find no difference."""
    for cold, warm, reset in (traces.ours, traces.theirs):
        assert any(item.label.startswith("debug message") for item in until_reset(reset))
        labels = [[item.label for item in session.boot] for session in (cold, warm)]
        assert sum(label.startswith("boot loader:") for label in labels[0]) >= 7
        assert sum(label.startswith("command: ") for label in labels[0]) >= 14
        assert not any(label.startswith(("boot loader:", "command: ")) for label in labels[1]), "the second boot is not warm"
        for session in (cold, warm):
            assert not [item for item in session.boot if item.block == "unknown"]
            blocks = {item.block for item in session.boot}
            assert blocks >= {"compute queue", "copy engine", "kernel launch", "power management", "graphics core"}
            assert len(session.entries) >= 6
            assert any(item.label == "SCRATCH_REG6" for item in session.rest)
        assert len(cold.boot) > 300
        assert {item.block for item in cold.boot} >= {"memory hub", "graphics hub", "interrupts", "PSP", "bus interface"}


def test_a_driver_is_like_itself(traces):
    for driver in (traces.ours, traces.theirs):
        assert differences(driver, driver) == []


def test_what_is_gone_is_reported(traces):
    entries = the_list()
    unlisted, gone, _ = conformance.check([], entries)
    assert unlisted == []
    assert len(gone) == sum(len(entry.phases) for entry in entries) > 0


# ---- mistakes put into our trace

def writes_to(requests, register):
    """Where a register is written, as (index of the request, offset in its payload)."""
    address = card_names.address_of(register) * 4
    return [(i, address - r.arg0) for i, r in enumerate(requests) if r.command == Command.MMIO_WRITE
            and r.bar == card_trace.REGISTER_BAR and r.arg0 <= address < r.arg0 + r.arg1]


def change_register(register, mask):
    def change(requests):
        index, at = writes_to(requests, register)[-1]
        change_bytes(requests, index, at, mask)
    return change


def change_bytes(requests, index, at, mask, size=4):
    payload = bytearray(requests[index].payload)
    value = int.from_bytes(payload[at:at + size], "little") ^ mask
    payload[at:at + size] = value.to_bytes(size, "little")
    requests[index] = requests[index]._replace(payload=bytes(payload))


def leave_out(register):
    def change(requests):
        del requests[writes_to(requests, register)[0][0]]
    return change


def enable_the_copy_queue_first(requests):
    ring, enable = writes_to(requests, "SDMA0_QUEUE0_RB_BASE")[0][0], writes_to(requests, "SDMA0_QUEUE0_RB_CNTL")[0][0]
    requests.insert(ring, requests.pop(enable))


def vram_write(requests, test):
    return next(i for i, r in enumerate(requests) if r.command == Command.MMIO_WRITE and r.bar == card_trace.VRAM_BAR and test(r))


def change_descriptor(requests):
    index = vram_write(requests, lambda r: r.arg1 == 2048 and r.payload.startswith(struct.pack("<I", 0xC0310800)))
    change_bytes(requests, index, next(offset for name, _, offset, *_ in am.struct_v11_compute_mqd._real_fields_
                                       if name == "cp_hqd_quantum"), 1)


def change_entry(requests):
    """A leaf of system memory loses SNOOPED."""
    is_leaf = lambda e: e & 0xFFFF000000000FFF == 3 << 48 | 0x77  # noqa: E731
    index = vram_write(requests, lambda r: r.arg1 % 8 == 0 and any(is_leaf(e) for (e,) in struct.iter_unpack("<Q", r.payload)))
    at = next(i for i, (e,) in enumerate(struct.iter_unpack("<Q", requests[index].payload)) if is_leaf(e))
    change_bytes(requests, index, at * 8, 4, 8)


def change_command(requests):
    """SETUP_TMR with other flags."""
    index = vram_write(requests, lambda r: r.arg1 == 1024 and r.payload[8:12] == struct.pack("<I", 5))
    change_bytes(requests, index, 28 + 12, 2)


def change_packet(requests):
    """RELEASE_MEM without its write-back of GL2."""
    head = struct.pack("<I", 0xC0064900)
    index = next(i for i, r in enumerate(requests) if r.command == Command.SYSMEM_WRITE and r.payload.startswith(head))
    change_bytes(requests, index, 4, 1 << 21)


def leave_out_a_flush(requests):
    """Page tables change, and the walkers are told before it has arrived."""
    request = writes_to(requests, "GCVM_INVALIDATE_ENG17_REQ")[0][0]
    vram = max(i for i in range(request) if requests[i].bar == card_trace.VRAM_BAR and requests[i].command == Command.MMIO_WRITE)
    del requests[vram + 1:request]


@pytest.mark.parametrize("change, said", [
    (change_register("GCVM_L2_CNTL3", 1 << 3), ("graphics hub", "GCVM_L2_CNTL3", "BANK_SELECT", "value")),
    (change_register("SH_MEM_BASES", 1 << 16), ("graphics core", "SH_MEM_BASES[vmid 15]", "SHARED_BASE", "value")),
    (change_register("CP_HQD_PQ_BASE", 1 << 30), ("compute queue", "CP_HQD_PQ_BASE[me 1 pipe 0 queue 0]", "", "value")),
    (leave_out("CP_MEC_DOORBELL_RANGE_UPPER"), ("compute engine", "CP_MEC_DOORBELL_RANGE_UPPER", "", "only tinygrad's")),
    (leave_out("MP1_SMN_C2PMSG_82"), ("power management", "handshake of a message", "", "value")),
    (enable_the_copy_queue_first, ("copy engine", "SDMA0_QUEUE0_RB_CNTL", "", "order")),
    (change_descriptor, ("compute queue", "descriptor (MQD)", "cp_hqd_quantum", "value")),
    (change_entry, ("page tables", "PTB leaf", "", "only ours")),
    (change_command, ("PSP", "command: GFX_CMD_ID_SETUP_TMR", "flags", "value")),
    (change_packet, ("kernel launch", "RELEASE_MEM 1", "GL2_WB", "value")),
    (leave_out_a_flush, ("graphics hub", "TLB flush", "", "value")),
], ids=lambda c: c[1].split()[0] if isinstance(c, tuple) else "in")
def test_a_mistake_is_reported(traces, change, said):
    cold = list(traces.requests[0])
    change(cold)
    unlisted, _, _ = conformance.check(differences(traces.decode([cold]), traces.theirs), the_list())
    assert said in [(d.block, d.what, d.field, d.kind) for d in unlisted], "\n".join(map(str, unlisted))


if __name__ == "__main__":
    assert sys.argv[1:] == ["--print"], __doc__
    both = record_both()
    missing, superfluous, _ = conformance.check(
        differences(both.ours, both.theirs), the_list())
    print(conformance.as_list(missing))
    for entry, phase in superfluous:
        print(f"# not there ({phase}): {entry}")
