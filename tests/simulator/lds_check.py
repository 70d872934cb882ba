"""LDS instructions: each case fills LDS, runs one instruction and brings LDS and the results back."""

import random
import re
from dataclasses import dataclass

import numpy as np

import isa
import memory_model
import operand_values
import outboard_sim
import pcode
from memory_model import Memory
from pcode import Value
from valu_kernel import ASSEMBLERS, set_execute

LDS_BYTES = 4096
IN_DWORDS = 16               # a lane: address, data, second data, old result (four each)
NO_ORACLE = {"ds_nop", "ds_swizzle_b32", "ds_permute_b32", "ds_bpermute_b32", "ds_append", "ds_consume"}
REFUSED = re.compile(r"ds_gws|gs_reg|ds_ordered|ds_bvh")

PROLOGUE = """
s_load_b256 s[4:11], s[0:1], 0x0
v_and_b32_e32 v0, 0x3ff, v0
v_lshlrev_b32_e32 v1, 6, v0
v_lshlrev_b32_e32 v2, 4, v0
v_lshlrev_b32_e32 v3, 4, v0
s_waitcnt lgkmcnt(0)
""".strip().splitlines()


@dataclass(frozen=True)
class Case:
    name: str
    text: str
    execute: int
    offset: int = 0
    offset0: int = 0
    offset1: int = 0
    m0: int = 0
    step: int = 64           # bytes between lanes' addresses


MASKS = [(1 << 64) - 1, 0, 0x0F0F00FF12345678, 1 << 45 | 1 << 3]


def dwords(t):
    return t.dwords if t is not None else 0


def registers(first, count):
    return f"v{first}" if count == 1 else f"v[{first}:{first + count - 1}]"


def operands_of(instruction):
    """Text of the operands: result, address, data."""
    parts = []
    for field, first in (("vdst", 20), ("addr", 8), ("data0", 12), ("data1", 16)):
        t = instruction.type(field)
        if t is not None:
            parts.append(registers(first, dwords(t)))
    return ", ".join(parts)


def cases_of(rng, instruction):
    name = instruction.name
    base = f"{name} {operands_of(instruction)}"
    for mask in (MASKS[0], rng.choice(MASKS), MASKS[2]):
        if "addtid" in name:
            offset, m0 = rng.choice(((0, 0), (16, 256), (0x400, 0x120)))
            yield Case(name, base + (f" offset:{offset}" if offset else ""), mask, offset, m0=0xABC00000 | m0)
        elif "2addr" in name:
            size = 8 if "b64" in name else 4
            # Lanes stay apart: in a window of their own, or in a column of their own.
            far = "stride64" in name
            a, b = rng.sample(range(4 if far and size == 8 else 8), 2)
            text = base + (f" offset0:{a}" if a else "") + (f" offset1:{b}" if b else "")
            yield Case(name, text, mask, offset0=a, offset1=b, step=size if far else 64)
        else:
            offset = rng.choice((0, 16, 48))
            yield Case(name, base + (f" offset:{offset}" if offset else ""), mask, offset)


def names():
    return [n for n, i in isa.instructions().items() if "DS" in i.forms and n not in NO_ORACLE and not REFUSED.search(n)]


def value_types(instruction):
    """(type of memory and data)."""
    t = instruction.type("data0") or instruction.type("vdst")
    if "f32" in instruction.name or "f64" in instruction.name:
        return "f", 64 if "f64" in instruction.name else 32
    return "b", min(64, max(32, t.bits))


def image_of(rng, kind, bits):
    count = LDS_BYTES * 8 // bits
    pool = [operand_values.value(rng, kind, bits) for _ in range(200)]
    return b"".join(rng.choice(pool).to_bytes(bits // 8, "little") for _ in range(count))


def lane_inputs(rng, case, instruction, size, image):
    """For each lane (address, data, data2, old)."""
    kind, bits = value_types(instruction)
    out = []
    for lane in range(size):
        address = lane * case.step % LDS_BYTES
        if case.name.endswith(("b8", "u8", "i8")) or "_u8_" in case.name or "_i8_" in case.name:
            address += rng.randrange(4)
        values = []
        for _ in range(2):
            low = operand_values.value(rng, kind, bits)
            values.append(low | rng.getrandbits(128) << bits & (1 << 128) - 1)
        at = address + case.offset
        stored = int.from_bytes(image[at:at + bits // 8], "little")
        if rng.random() < 0.3:  # equal to what lies there
            values[rng.randrange(2)] = stored
        out.append((address, values[0], values[1], rng.getrandbits(128)))
    return out


def build(cases, size, wave64, preamble=()):
    copies = LDS_BYTES // (16 * size)
    step = 16 * size
    lines = list(PROLOGUE)
    for case in cases:
        lines += ["s_barrier"]
        for i in range(copies):
            lines += [f"v_add_nc_u32_e32 v4, {i * step:#x}, v3", "global_load_b128 v[24:27], v4, s[8:9]",
                      "s_waitcnt vmcnt(0)", "ds_store_b128 v4, v[24:27]"]
        lines += [f"global_load_b128 v[{r}:{r + 3}], v1, s[4:5] offset:{o}"
                  for r, o in ((8, 0), (12, 16), (16, 32), (20, 48))]
        lines += ["s_waitcnt vmcnt(0) lgkmcnt(0)", f"s_mov_b32 m0, {case.m0:#x}",
                  *set_execute(case.execute, wave64), case.text, "s_waitcnt lgkmcnt(0)",
                  *set_execute((1 << 64) - 1, wave64)]
        lines += ["global_store_b128 v2, v[20:23], s[6:7]"]
        for i in range(copies):
            lines += [f"v_add_nc_u32_e32 v4, {i * step:#x}, v3", "ds_load_b128 v[24:27], v4",
                      "s_waitcnt lgkmcnt(0)", "global_store_b128 v4, v[24:27], s[10:11]"]
        lines += [f"s_add_u32 s4, s4, {size * 64:#x}", "s_addc_u32 s5, s5, 0",
                  f"s_add_u32 s6, s6, {size * 16:#x}", "s_addc_u32 s7, s7, 0",
                  f"s_add_u32 s8, s8, {LDS_BYTES:#x}", "s_addc_u32 s9, s9, 0",
                  f"s_add_u32 s10, s10, {LDS_BYTES:#x}", "s_addc_u32 s11, s11, 0"]
    return ASSEMBLERS[wave64].program(lines + ["s_endpgm"])


def run(cases, lanes, images, wave64):
    """(results: case, lane, 4 dwords; LDS afterwards: case, bytes)."""
    size = 64 if wave64 else 32
    inputs = np.array([[[x >> 32 * i & 0xFFFFFFFF for x in lane for i in range(4)] for lane in case]
                       for case in lanes], np.uint32)
    image = np.frombuffer(b"".join(images), np.uint8).copy()
    results = np.zeros((len(cases), size, 4), np.uint32)
    after = np.zeros((len(cases), LDS_BYTES), np.uint8)
    program = build(cases, size, wave64)
    outcome = outboard_sim.run(program, [inputs, results, image, after], block=(size, 1, 1), wave64=wave64,
                               strict=False, lds=LDS_BYTES, limit=0)
    assert outcome.status == outboard_sim.DONE, outcome.message
    return results, after


def check(wave64, report):
    size = 64 if wave64 else 32
    rng = random.Random(f"lds {wave64}")
    pools = {}
    cases, lanes, images = [], [], []
    for name in names():
        instruction = isa.instructions()[name]
        for case in cases_of(rng, instruction):
            types = value_types(instruction)
            image = pools.setdefault(types, image_of(rng, *types))
            cases.append(case)
            images.append(image)
            lanes.append(lane_inputs(rng, case, instruction, size, image))
    results, after = run(cases, lanes, images, wave64)
    for case, inputs, image, got, lds in zip(cases, lanes, images, results, after):
        compare(case, inputs, Memory(image), got, lds, size, report)
    check_exchanges(wave64, report)


def compare(case, inputs, memory, got, lds, size, report):
    instruction = isa.instructions()[case.name]
    report.cases += 1
    report.covered.add(case.name)
    where = f"{case.text} (wave{size}, exec {case.execute:#x})"
    count = dwords(instruction.type("vdst"))
    for lane, (address, data, data2, old) in enumerate(inputs):
        right = old
        report.lanes += 1
        if case.execute >> lane & 1:
            result = memory_model.access(instruction, memory, address, data, data2, old, case.offset, case.offset0,
                                         case.offset1, lane, case.m0)
            if count:
                mask = (1 << 32 * count) - 1
                right = old & ~mask | result & mask
        value = sum(int(x) << 32 * i for i, x in enumerate(got[lane]))
        if value != right:
            report.failures.append(f"{where}: lane {lane} {value:#x}, expected {right:#x} (data {data:#x} {data2:#x})")
    if bytes(lds) != bytes(memory.data):
        at = next(i for i in range(LDS_BYTES) if lds[i] != memory.data[i]) & ~7
        report.failures.append(f"{where}: LDS at {at:#x} {bytes(lds[at:at + 8]).hex()}, expected "
                               f"{bytes(memory.data[at:at + 8]).hex()}")


# --- Between lanes ---

def swizzle_source(lane, pattern):
    """Guide, DS_SWIZZLE_B32: the four ways to read the offset."""
    within = lane & 31
    if pattern >= 0xE000:
        mask = pattern & 31
        turned = int(f"{within:05b}"[::-1], 2) >> bin(mask).count("1")
        return lane & 32 | turned | within & mask
    if pattern >= 0xC000:
        mask, by = pattern & 31, pattern >> 5 & 31
        turned = within - by if pattern >> 10 & 1 else within + by
        return lane & 32 | within & mask | turned & ~mask & 31
    if pattern & 0x8000:
        return lane & ~3 | pattern >> 2 * (lane & 3) & 3
    return lane & 32 | (within & (pattern & 31) | pattern >> 5 & 31) ^ (pattern >> 10 & 31)


PATTERNS = [0x801B, 0x8000, 0x80E4, 0x80B1, 0x041F, 0x401F, 0x7C1F, 0x0000, 0x03E0, 0x5A17, 0xC020, 0xC4A3, 0xC3E0,
            0xC5E7, 0xE000, 0xE01F, 0xE003, 0xE010]


def exchange_cases(rng):
    for mask in MASKS:
        for pattern in PATTERNS:
            yield Case("ds_swizzle_b32", f"ds_swizzle_b32 v20, v12 offset:{pattern:#x}", mask, pattern)
        for offset in (0, 4, 60):
            for name in ("ds_permute_b32", "ds_bpermute_b32"):
                yield Case(name, f"{name} v20, v8, v12" + (f" offset:{offset}" if offset else ""), mask, offset)
        for name in ("ds_append", "ds_consume"):
            for offset in (0, 64):
                yield Case(name, f"{name} v20" + (f" offset:{offset}" if offset else ""), mask, offset,
                           m0=0x00800000)
        yield Case("ds_nop", "ds_nop", mask)


def exchanged(case, inputs, memory, size):
    """The result registers (low 32 bits) of all lanes."""
    old = [lane[3] & 0xFFFFFFFF for lane in inputs]
    execute = case.execute & (1 << size) - 1
    if case.name == "ds_nop":
        return old
    if case.name == "ds_swizzle_b32":
        return [(inputs[s][1] & 0xFFFFFFFF if execute >> s & 1 else 0) if execute >> lane & 1 else old[lane]
                for lane in range(size) for s in [swizzle_source(lane, case.offset)]]
    if case.name in ("ds_append", "ds_consume"):
        if execute == 0:
            return old
        at, lanes = (case.m0 >> 16) + case.offset, bin(execute).count("1")
        before = memory[at].bits & 0xFFFFFFFF
        memory[at] = Value("u", 32, (before + (lanes if case.name == "ds_append" else -lanes)) & 0xFFFFFFFF)
        return [before if execute >> lane & 1 else old[lane] for lane in range(size)]
    return permuted(case, inputs, execute, size, old)


def permuted(case, inputs, execute, size, old):
    """By the pseudo-code, 32 lanes at a time: it takes lanes modulo 32 for the whole of wave64, but LLVM
    (AMDGPUUsage, wave64 of gfx10 and later) has both halves on their own. Its signed division of an address
    with bit 31 set gives a negative lane, where "high-order bits are ignored" stands beside it."""
    out = list(old)
    text = isa.instructions()[case.name].pcode.replace("32'I(VGPR", "32'U(VGPR")
    program = pcode.compile_program(re.sub(r"declare (DATA0|VDST|OFFSET) : \d+'U;", "", text))
    for first in range(0, size, 32):
        vgpr = [[Value("u", 32, x & 0xFFFFFFFF) for x in (lane[0], lane[1], old[first + i])]
                for i, lane in enumerate(inputs[first:first + 32])]
        variables = {"VGPR": vgpr, "EXEC": Value("u", 64, execute >> first & 0xFFFFFFFF), "WAVE64": pcode.boolean(False),
                     "ADDR": Value("u", 32, 0), "DATA0": Value("u", 32, 1), "VDST": Value("u", 32, 2),
                     "OFFSET": Value("u", 16, case.offset)}
        program(pcode.Environment(variables))
        out[first:first + 32] = [lane[2].raw() for lane in vgpr]
    return out


def check_exchanges(wave64, report):
    size = 64 if wave64 else 32
    rng = random.Random(f"exchange {wave64}")
    cases = list(exchange_cases(rng))
    image = image_of(rng, "b", 32)
    lanes = [[(rng.getrandbits(32) if rng.random() < 0.2 else 4 * rng.randrange(64), rng.getrandbits(128), 0,
               rng.getrandbits(128)) for _ in range(size)] for _ in cases]
    results, after = run(cases, lanes, [image] * len(cases), wave64)
    for case, inputs, got, lds in zip(cases, lanes, results, after):
        memory = Memory(image)
        right = exchanged(case, inputs, memory, size)
        report.cases += 1
        report.lanes += size
        report.covered.add(case.name)
        wrong = [lane for lane in range(size) if int(got[lane][0]) != right[lane]]
        if wrong or bytes(lds) != bytes(memory.data):
            report.failures.append(f"{case.text} (wave{size}, exec {case.execute:#x}): lanes {wrong[:8]}, "
                                   f"{[hex(int(got[w][0])) for w in wrong[:3]]}, expected "
                                   f"{[hex(right[w]) for w in wrong[:3]]}")
