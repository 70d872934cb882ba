"""FLAT, GLOBAL and SCRATCH: each case has a window of memory in which every lane has 64 bytes."""

import random
import re
from dataclasses import dataclass

import numpy as np

import isa
import memory_model
import operand_values
import outboard_sim
from memory_model import Memory
from valu_kernel import ASSEMBLERS, set_execute

LANE_BYTES = 64
MARGIN = 64                   # before and after the lanes' bytes
BELOW = 8192                  # saddr lies this far below the window
SCRATCH_BYTES = 256
SCRATCH_BASE = 64
IN_DWORDS = 16                # a lane: address, data (8 dwords in all), old result, scratch address
MASKS = [(1 << 64) - 1, 0, 0x0F0F00FF12345678, 1 << 45 | 1 << 3]

PROLOGUE = """
s_load_b256 s[4:11], s[0:1], 0x0
v_and_b32_e32 v0, 0x3ff, v0
v_lshlrev_b32_e32 v1, 6, v0
v_lshlrev_b32_e32 v2, 4, v0
v_lshlrev_b32_e32 v3, 6, v0
s_waitcnt lgkmcnt(0)
""".strip().splitlines()


@dataclass(frozen=True)
class Case:
    name: str
    text: str
    execute: int
    offset: int = 0
    mode: str = "vector"      # vector: 64-bit addresses; scalar: saddr and a 32-bit offset; thread: addtid
    scalar: int = 0           # SCRATCH: value of saddr
    own: bool = True          # SCRATCH: a VGPR takes part


def size_of(name):
    """Bytes of memory."""
    if name.endswith("addtid_b32"):
        return 4
    digits = int(re.search(r"(\d+)$", name)[1])
    return digits // 8


def result_dwords(name):
    return max(1, size_of(name) // 4)


def data_dwords(name):
    return result_dwords(name) * (2 if "cmpswap" in name else 1)


def registers(first, count):
    return f"v{first}" if count == 1 else f"v[{first}:{first + count - 1}]"


def kind_of(name):
    return "load" if "_load_" in name else "store" if "_store_" in name else "atomic"


def tail(offset):
    return f" offset:{offset}" if offset else ""


def global_cases(rng, name):
    is_flat = name.startswith("flat")
    data, result = registers(12, data_dwords(name)), registers(20, result_dwords(name))
    kind = kind_of(name)
    if "addtid" in name:
        for offset in (0, 4, -8 if not is_flat else 8):
            register = "v20" if kind == "load" else "v12"
            yield Case(name, f"{name} {register}, s[12:13]{tail(offset)}", rng.choice(MASKS), offset, "thread")
        yield Case(name, f"{name} {register}, s[12:13]", MASKS[0], 0, "thread")
        return
    for number, mask in enumerate((MASKS[0], MASKS[2], rng.choice(MASKS), MASKS[0])):
        scalar = number % 2 == 1 and not is_flat
        offset = rng.choice((0, 16, 4095) if is_flat else (0, 16, -32, -4096, 4095))
        where = ("v8", "s[12:13]") if scalar else ("v[8:9]", "off")
        where = where[:1] if is_flat else where
        address, rest = where[0], "".join(f", {w}" for w in where[1:])
        returns = kind == "atomic" and number != 0
        if kind == "load" or returns:
            operands = f"{result}, {address}" + (f", {data}" if returns else "") + rest
        else:
            operands = f"{address}, {data}{rest}"
        yield Case(name, f"{name} {operands}{tail(offset)}" + (" glc" if returns else ""), mask, offset,
                   "scalar" if scalar else "vector")


def scratch_cases(rng, name):
    data, result = registers(12, data_dwords(name)), registers(20, result_dwords(name))
    for own, scalar in ((True, 0), (True, 40), (False, 80), (False, 0), (True, 0)):
        offset = rng.choice((0, 16, -32) if own else (0, 16) if scalar else (64, 96))
        address = ("v8" if own else "off", "s14" if scalar else "off")
        operands = f"{result}, {address[0]}, {address[1]}" if kind_of(name) == "load" else \
            f"{address[0]}, {data}, {address[1]}"
        yield Case(name, f"{name} {operands}{tail(offset)}", rng.choice(MASKS[:3]), offset, scalar=scalar, own=own)


def image_of(rng, name, count):
    if "f32" in name:
        return b"".join(operand_values.value(rng, "f", 32).to_bytes(4, "little") for _ in range(count // 4))
    width = min(8, max(4, size_of(name)))
    return b"".join(operand_values.value(rng, "b", 8 * width).to_bytes(width, "little") for _ in range(count // width))


def data_of(rng, name, image, at):
    """Data of up to 16 bytes; for compares, often what lies there."""
    kind = "f" if "f32" in name else "b"
    size = size_of(name)
    bits = 32 if kind == "f" else 8 * min(8, max(4, size))
    value = sum(operand_values.value(rng, kind, bits) << bits * i for i in range(128 // bits))
    if rng.random() < 0.4 and kind_of(name) == "atomic":
        stored = int.from_bytes(image[at:at + size], "little")
        place = 8 * size if "cmpswap" in name else 0
        value = value & ~(((1 << 8 * size) - 1) << place) | stored << place
    return value & (1 << 128) - 1


def place_of(rng, name):
    """Where in its bytes a lane works."""
    size = size_of(name)
    at = rng.randrange(0, LANE_BYTES - 16, 8)
    if kind_of(name) == "atomic":
        return at
    return at + (rng.randrange(4) if size < 4 or rng.random() < 0.2 else 0)  # loads and stores need not be aligned


def window_bytes(size):
    return size * LANE_BYTES + 2 * MARGIN


def build(cases, size, wave64, body):
    lines = list(PROLOGUE)
    for case in cases:
        lines += [f"global_load_b128 v[{r}:{r + 3}], v1, s[4:5] offset:{o}"
                  for r, o in ((8, 0), (12, 16), (16, 32), (20, 48))]
        lines += ["s_waitcnt vmcnt(0)", *body(case), "s_waitcnt vmcnt(0) lgkmcnt(0)", "s_waitcnt_vscnt null, 0x0",
                  *set_execute((1 << 64) - 1, wave64), "global_store_b128 v2, v[20:23], s[6:7]",
                  f"s_add_u32 s4, s4, {size * 64:#x}", "s_addc_u32 s5, s5, 0",
                  f"s_add_u32 s6, s6, {size * 16:#x}", "s_addc_u32 s7, s7, 0",
                  f"s_add_u32 s8, s8, {window_bytes(size):#x}", "s_addc_u32 s9, s9, 0"]
    return ASSEMBLERS[wave64].program(lines + ["s_endpgm"])


def split(value, count):
    return [value >> 32 * i & 0xFFFFFFFF for i in range(count)]


def value_of(words):
    return sum(int(x) << 32 * i for i, x in enumerate(words))


def names(prefix):
    return [n for n, i in isa.instructions().items() if n.startswith(prefix) and "lds" not in n
            and i.forms & {"FLAT", "GLOBAL", "SCRATCH"} and not n.startswith("flat_atomic_csub")]


def check(wave64, report):
    check_global(wave64, report)
    check_scratch(wave64, report)
    check_apertures(wave64, report)


def check_global(wave64, report):
    size = 64 if wave64 else 32
    rng = random.Random(f"global {wave64}")
    cases = [c for prefix in ("global_", "flat_") for n in names(prefix) for c in global_cases(rng, n)]
    images = [image_of(rng, c.name, window_bytes(size)) for c in cases]
    window = np.frombuffer(b"".join(images), np.uint8).copy()
    base = window.ctypes.data
    lanes = []
    for n, case in enumerate(cases):
        start = n * window_bytes(size)
        rows = []
        for lane in range(size):
            at = MARGIN + lane * LANE_BYTES + place_of(rng, case.name)
            if case.mode == "thread":
                at = MARGIN + lane * 4 + case.offset
            address = base + start + at
            register = address - case.offset if case.mode == "vector" else at + BELOW - case.offset
            rows.append((at, register, data_of(rng, case.name, images[n], at), rng.getrandbits(128)))
        lanes.append(rows)
    inputs = np.array([[split(r, 4) + split(d, 4) + [0] * 4 + split(old, 4) for _, r, d, old in rows]
                       for rows in lanes], np.uint32)
    results = np.zeros((len(cases), size, 4), np.uint32)

    def body(case):
        below = 0 if case.mode == "thread" else BELOW
        lines = ["s_mov_b64 s[12:13], s[8:9]", f"s_sub_u32 s12, s8, {below:#x}", "s_subb_u32 s13, s9, 0"]
        if case.mode == "thread":
            lines = [f"s_add_u32 s12, s8, {MARGIN:#x}", "s_addc_u32 s13, s9, 0"]
        return [*lines, *set_execute(case.execute, wave64), case.text]
    program = build(cases, size, wave64, body)
    outcome = outboard_sim.run(program, [inputs, results, window, 0], block=(size, 1, 1), wave64=wave64, strict=False,
                               limit=0)
    assert outcome.status == outboard_sim.DONE, outcome.message
    for n, (case, rows, image) in enumerate(zip(cases, lanes, images)):
        start = n * window_bytes(size)
        memory = Memory(image)
        compare(case, rows, lambda lane, memory=memory: memory, results[n], size, report)
        got = bytes(window[start:start + window_bytes(size)])
        if got != bytes(memory.data):
            at = next(i for i in range(len(got)) if got[i] != memory.data[i]) & ~7
            report.failures.append(f"{case.text} (wave{size}, exec {case.execute:#x}): memory at {at:#x} "
                                   f"{got[at:at + 16].hex()}, expected {bytes(memory.data[at:at + 16]).hex()}")


def compare(case, rows, memory_of, got, size, report):
    instruction = isa.instructions()[case.name]
    report.cases += 1
    report.covered.add(case.name)
    loads = kind_of(case.name) == "load" or " glc" in case.text
    mask = (1 << 32 * result_dwords(case.name)) - 1
    for lane, (at, _, data, old) in enumerate(rows):
        right = old
        report.lanes += 1
        if case.execute >> lane & 1:
            result = memory_model.access(named(instruction), memory_of(lane), at, data, old=old)
            if loads:
                right = old & ~mask | result & mask
        value = value_of(got[lane])
        if value != right:
            report.failures.append(f"{case.text} (wave{size}, exec {case.execute:#x}): lane {lane} {value:#x}, "
                                   f"expected {right:#x} (data {data:#x})")


def named(instruction):
    """The guide writes the address of the addtid forms out; here it is given."""
    if "addtid" not in instruction.name:
        return instruction
    is_load = "_load_" in instruction.name
    return isa.Instruction(instruction.name, "VDATA.b32 = MEM[ADDR].b32" if is_load else "MEM[ADDR].b32 = VDATA.b32",
                           instruction.types, instruction.forms)


# --- Scratch: filled from the image, then read back ---

def check_scratch(wave64, report):
    size = 64 if wave64 else 32
    rng = random.Random(f"scratch {wave64}")
    cases = [c for n in names("scratch_") for c in scratch_cases(rng, n)]
    images = np.frombuffer(rng.randbytes(len(cases) * size * LANE_BYTES), np.uint8).reshape(len(cases), size, -1)
    after = np.zeros_like(images)
    lanes = []
    for n, case in enumerate(cases):
        rows = []
        for lane in range(size):
            at = SCRATCH_BASE + place_of(rng, case.name)
            if not case.own:
                at = case.scalar + case.offset
            rows.append((at, (at - case.scalar - case.offset) & 0xFFFFFFFF, rng.getrandbits(128), rng.getrandbits(128)))
        lanes.append(rows)
    inputs = np.array([[[r & 0xFFFFFFFF, 0, 0, 0] + split(d, 4) + [0] * 4 + split(old, 4) for _, r, d, old in rows]
                       for rows in lanes], np.uint32)
    results = np.zeros((len(cases), size, 4), np.uint32)

    def body(case):
        lines = []
        for i in range(0, LANE_BYTES, 16):
            lines += [f"global_load_b128 v[24:27], v3, s[8:9] offset:{i}", "s_waitcnt vmcnt(0)",
                      f"scratch_store_b128 off, v[24:27], off offset:{SCRATCH_BASE + i}"]
        lines += [f"s_mov_b32 s14, {case.scalar}", *set_execute(case.execute, wave64), case.text,
                  "s_waitcnt vmcnt(0)", *set_execute((1 << 64) - 1, wave64)]
        for i in range(0, LANE_BYTES, 16):
            lines += [f"scratch_load_b128 v[24:27], off, off offset:{SCRATCH_BASE + i}", "s_waitcnt vmcnt(0)",
                      f"global_store_b128 v3, v[24:27], s[10:11] offset:{i}"]
        step = size * LANE_BYTES - window_bytes(size)  # the rest of the window is of no use here
        return lines + [f"s_add_u32 s10, s10, {size * LANE_BYTES:#x}", "s_addc_u32 s11, s11, 0",
                        f"s_sub_u32 s8, s8, {-step:#x}", "s_subb_u32 s9, s9, 0"]
    program = build(cases, size, wave64, body)
    outcome = outboard_sim.run(program, [inputs, results, images, after], block=(size, 1, 1), wave64=wave64,
                               strict=False, limit=0, scratch=SCRATCH_BYTES)
    assert outcome.status == outboard_sim.DONE, outcome.message
    for n, (case, rows) in enumerate(zip(cases, lanes)):
        memories = [Memory(bytes(images[n, lane]), SCRATCH_BASE) for lane in range(size)]
        compare(case, rows, lambda lane, memories=memories: memories[lane], results[n], size, report)
        for lane in range(size):
            if bytes(after[n, lane]) != bytes(memories[lane].data):
                report.failures.append(f"{case.text} (wave{size}, exec {case.execute:#x}): scratch of lane {lane} is "
                                       f"{bytes(after[n, lane]).hex()}, expected {bytes(memories[lane].data).hex()}")


# --- FLAT in LDS and scratch ---

APERTURES = """
s_load_b64 s[4:5], s[0:1], 0x0
v_and_b32_e32 v0, 0x3ff, v0
v_lshlrev_b32_e32 v8, 3, v0
v_mul_u32_u24_e32 v12, 0x10001, v0
v_lshlrev_b32_e32 v1, 5, v0
s_mov_b64 s[16:17], {aperture}
v_mov_b32_e32 v9, s17
flat_store_b32 v[8:9], v12
flat_store_b16 v[8:9], v12 offset:4
s_waitcnt lgkmcnt(0)
s_waitcnt_vscnt null, 0x0
flat_load_b32 v20, v[8:9]
flat_load_u16 v21, v[8:9] offset:4
s_waitcnt vmcnt(0) lgkmcnt(0)
{again}
s_waitcnt vmcnt(0) lgkmcnt(0)
global_store_b128 v1, v[20:23], s[4:5]
s_endpgm
"""
AGAIN = {
    "src_shared_base": "ds_load_b32 v22, v8\nflat_atomic_add_u32 v23, v[8:9], v12 glc",
    "src_private_base": "scratch_load_b32 v22, v8, off\nscratch_load_u16 v23, v8, off offset:4",
}


def check_apertures(wave64, report):
    size = 64 if wave64 else 32
    for aperture, again in AGAIN.items():
        output = np.zeros((size, 8), np.uint32)
        code = outboard_sim.assemble(APERTURES.format(aperture=aperture, again=again), wave64)
        outcome = outboard_sim.run(code, [output], block=(size, 1, 1), wave64=wave64, lds=1024, scratch=1024)
        lane = np.arange(size, dtype=np.uint32)
        wide = lane * 0x10001
        right = np.stack([wide, lane, wide, wide if "shared" in aperture else lane], axis=1)
        report.cases += 1
        if outcome.status != outboard_sim.DONE or outcome.violations or (output[:, :4] != right).any():
            report.failures.append(f"flat in {aperture}: {outcome.message} {outcome.violation_text} {output[:3]}")
