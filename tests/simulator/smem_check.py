"""Scalar loads, by address and by buffer resource. Guide: section 8."""

import random
from dataclasses import dataclass

import numpy as np

import outboard_sim
from valu_kernel import ASSEMBLERS

BYTES = 4096
MIDDLE = 2048           # s[12:13] points here
SIZES = {"b32": 1, "b64": 2, "b128": 4, "b256": 8, "b512": 16}
OLD = 0x5A5A0000
STRIDE = 24


@dataclass(frozen=True)
class Case:
    name: str
    text: str
    address: int         # from the start of the memory
    limit: int = BYTES   # bytes before it that may be read
    m0: int = 0
    s14: int = 0
    records: int = 0
    stride: int = 0


def cases():
    rng = random.Random("smem")
    for size, count in SIZES.items():
        to = "s32" if count == 1 else f"s[32:{31 + count}]"
        name = f"s_load_{size}"
        for offset, register in ((0, ""), (0x40, ""), (-0x100, ""), (0, "s14"), (0x20, "s14"), (-0x20, "m0"), (6, ""),
                                 (0, "null")):
            s14, m0 = rng.randrange(0, 1024), 4 * rng.randrange(64)
            value = {"s14": s14, "m0": m0}.get(register, 0)
            second = (register or hex(offset)) if not register or not offset else f"{register} offset:{offset:#x}"
            yield Case(name, f"{name} {to}, s[12:13], {second}", MIDDLE + offset + value & ~3, m0=m0, s14=s14)
        name = f"s_buffer_load_{size}"
        for offset, register in ((0, ""), (0x40, ""), (0, "s14"), (0x20, "s14")):
            for records, stride in ((1024, 0), (4 * count, 0), (5, STRIDE), (0, 0)):
                s14 = 4 * rng.randrange(32)
                value = s14 if register else 0
                second = (register or hex(offset)) if not register or not offset else f"{register} offset:{offset:#x}"
                limit = MIDDLE + (records * stride if stride else records)
                yield Case(name, f"{name} {to}, s[16:19], {second}", MIDDLE + offset + value, limit, 0, s14, records,
                           stride)


def check(wave64, report):
    found = list(cases())
    lines = ["s_load_b128 s[4:7], s[0:1], 0x0", "v_mov_b32_e32 v1, 0", "s_mov_b64 exec, 1", "s_waitcnt lgkmcnt(0)",
             f"s_add_u32 s12, s4, {MIDDLE:#x}", "s_addc_u32 s13, s5, 0", "s_mov_b32 s16, s12"]
    for case in found:
        lines += [f"s_mov_b32 s{32 + i}, {OLD + i:#x}" for i in range(16)]
        lines += [f"s_mov_b32 m0, {case.m0:#x}", f"s_mov_b32 s14, {case.s14:#x}",
                  f"s_or_b32 s17, s13, {case.stride << 16:#x}", f"s_mov_b32 s18, {case.records:#x}",
                  "s_mov_b32 s19, 0x30000000", case.text, "s_waitcnt lgkmcnt(0)"]
        lines += [f"v_mov_b32_e32 v{16 + i}, s{32 + i}" for i in range(16)]
        lines += [f"global_store_b128 v1, v[{16 + i}:{19 + i}], s[6:7] offset:{4 * i}" for i in range(0, 16, 4)]
        lines += ["v_add_nc_u32_e32 v1, 64, v1"]
    program = ASSEMBLERS[wave64].program(lines + ["s_endpgm"])
    memory = np.frombuffer(random.Random("memory").randbytes(BYTES), np.uint32).copy()
    output = np.zeros((len(found), 16), np.uint32)
    outcome = outboard_sim.run(program, [memory, output], block=(64 if wave64 else 32, 1, 1), wave64=wave64, limit=0)
    assert outcome.status == outboard_sim.DONE, outcome.message
    if outcome.violations:
        report.failures.append(outcome.violation_text)
    for case, got in zip(found, output):
        report.cases += 1
        report.covered.add(case.name)
        count = SIZES[case.name.rsplit("_", 1)[1]]
        right = [OLD + i for i in range(16)]
        for i in range(count):
            at = case.address + 4 * i
            right[i] = int(memory[at // 4]) if at + 4 <= case.limit else 0
        if [int(x) for x in got] != right:
            report.failures.append(f"{case.text} ({case}): {[hex(x) for x in got]}, expected {[hex(x) for x in right]}")
