"""WMMA against plain sums.

Inputs are whole numbers small enough that every order of additions gives the same float; a second
set of any numbers is compared within what float32 sums of 16 products can differ. Where elements
lie: RDNA3 ISA guide, 7.9, and "How to accelerate AI applications on RDNA 3 using WMMA" (AMD GPUOpen).
"""

import itertools
import random
import struct
from dataclasses import dataclass

import numpy as np

import outboard_sim
from valu_kernel import ASSEMBLERS

A, B, C, D = 16, 24, 8, 40     # first registers
LANE_DWORDS = 32               # A, B, C and the old D, eight each

PROLOGUE = """
s_load_b128 s[4:7], s[0:1], 0x0
v_and_b32_e32 v0, 0x3ff, v0
v_lshlrev_b32_e32 v1, 7, v0
v_lshlrev_b32_e32 v2, 5, v0
s_waitcnt lgkmcnt(0)
""".strip().splitlines()


@dataclass(frozen=True)
class Case:
    name: str
    kind: str              # f16, bf16, iu8, iu4: of A and B
    result: str            # f32, f16, bf16, i32
    neg_lo: tuple = (0, 0, 0)
    neg_hi: tuple = (0, 0, 0)
    op_sel: bool = False
    clamp: bool = False
    constant: str = ""     # for C
    exact: bool = True

    def text(self, wave64):
        count = 4 if wave64 else 8
        factor = {"iu8": 4, "iu4": 2}.get(self.kind, 8)
        c = self.constant or f"v[{C}:{C + count - 1}]"
        out = (f"{self.name} v[{D}:{D + count - 1}], v[{A}:{A + factor - 1}], v[{B}:{B + factor - 1}], {c}")
        if self.op_sel:
            out += " op_sel:[0,0,1]"
        for what, bits in (("neg_lo", self.neg_lo), ("neg_hi", self.neg_hi)):
            if any(bits):
                out += f" {what}:[{','.join(map(str, bits))}]"
        return out + " clamp" * self.clamp


CONSTANTS = {"1.0": 1, "-2.0": -2, "0": 0, "5": 5, "-3": -3}


def all_cases():
    signs = list(itertools.product((0, 1), repeat=3))
    for name, kind, result in (("v_wmma_f32_16x16x16_f16", "f16", "f32"), ("v_wmma_f32_16x16x16_bf16", "bf16", "f32"),
                               ("v_wmma_f16_16x16x16_f16", "f16", "f16"), ("v_wmma_bf16_16x16x16_bf16", "bf16", "bf16")):
        halves = (False, True) if result != "f32" else (False,)
        for op_sel in halves:
            yield Case(name, kind, result, op_sel=op_sel)
            for i in range(6):
                yield Case(name, kind, result, signs[i + 1], signs[(3 * i + 2) % 8], op_sel)
        for constant in ("1.0", "-2.0", "0"):
            yield Case(name, kind, result, constant=constant)
        for _ in range(2):
            yield Case(name, kind, result, exact=False)
    for kind in ("iu8", "iu4"):
        for sign in itertools.product((0, 1), repeat=2):
            for clamp in (False, True):
                yield Case(f"v_wmma_i32_16x16x16_{kind}", kind, "i32", (*sign, 0), clamp=clamp)
        yield Case(f"v_wmma_i32_16x16x16_{kind}", kind, "i32", (1, 0, 0), constant="-3")
        yield Case(f"v_wmma_i32_16x16x16_{kind}", kind, "i32", (0, 1, 0), constant="5")


def to_bits(x, kind):
    """A float as bits; bf16 inputs are exact."""
    if kind == "f32":
        return struct.unpack("<I", struct.pack("<f", x))[0]
    if kind == "f16":
        return struct.unpack("<H", struct.pack("<e", x))[0]
    return struct.unpack("<I", struct.pack("<f", x))[0] >> 16


def to_float(bits, kind):
    if kind == "f16":
        return struct.unpack("<e", struct.pack("<H", bits))[0]
    return struct.unpack("<f", struct.pack("<I", bits << 16 if kind == "bf16" else bits))[0]


def factor_bits(rng, case):
    """16 x 16 elements of A or B as bits."""
    if case.kind == "iu8":
        return [[rng.choice((0, 1, 127, 128, 255, rng.randrange(256))) for _ in range(16)] for _ in range(16)]
    if case.kind == "iu4":
        return [[rng.randrange(16) for _ in range(16)] for _ in range(16)]
    if case.exact:  # so that sums stay below 256, which bf16 holds exactly
        return [[to_bits(rng.randrange(-3, 4), case.kind) for _ in range(16)] for _ in range(16)]
    return [[to_bits(struct.unpack("<f", struct.pack("<I", struct.unpack("<I", struct.pack(
        "<f", rng.uniform(-2, 2)))[0] & 0xFFFF0000))[0], case.kind) for _ in range(16)] for _ in range(16)]


def addend_bits(rng, case):
    if case.result == "i32":
        edges = (0x7FFFFFFF, 0x80000000, 0x7FFFFF00, 0x80000100, 0, rng.getrandbits(32))
        return [[rng.choice(edges) for _ in range(16)] for _ in range(16)]
    return [[to_bits(rng.randrange(-100, 101), case.result) for _ in range(16)] for _ in range(16)]


def value_of(bits, case, which, k):
    """An element of A (0) or B (1), its sign changed as asked; k odd: a high half."""
    if case.kind in ("iu8", "iu4"):
        width = 8 if case.kind == "iu8" else 4
        return bits - (1 << width) if case.neg_lo[which] and bits >> width - 1 else bits
    x = to_float(bits, case.kind)
    return -x if (case.neg_hi if k % 2 else case.neg_lo)[which] else x


def expected(case, a, b, c):
    """16 x 16 bits, or floats to come close to."""
    out = [[0] * 16 for _ in range(16)]
    for row in range(16):
        for column in range(16):
            total = sum(value_of(a[row][k], case, 0, k) * value_of(b[column][k], case, 1, k) for k in range(16))
            if case.result == "i32":
                start = CONSTANTS[case.constant] if case.constant else c[row][column]
                start -= (start >> 31 & 1) << 32 if start >= 0 else 0
                total += start
                if case.clamp:
                    total = max(-(1 << 31), min((1 << 31) - 1, total))
                out[row][column] = total & 0xFFFFFFFF
                continue
            start = CONSTANTS[case.constant] if case.constant else to_float(c[row][column], case.result)
            start = abs(start) if case.neg_hi[2] else start
            start = -start if case.neg_lo[2] else start
            total += start
            out[row][column] = to_bits(total, case.result) if case.exact else total
    return out


def pack(rows, bits):
    """Elements of a row in registers, low bits first."""
    per = 32 // bits
    return [[sum(row[r * per + i] << bits * i for i in range(per)) for r in range(16 // per)] for row in rows]


def place(lane, i, wave64):
    """(row, column) of C's and D's register i in a lane."""
    return ((4 if wave64 else 2) * i + lane // 16, lane % 16)


def check(wave64, report):
    size, count = (64, 4) if wave64 else (32, 8)
    rng = random.Random(f"matrix {wave64}")
    cases = list(all_cases())
    lines = list(PROLOGUE)
    data = np.zeros((len(cases), size, LANE_DWORDS), np.uint32)
    right = []
    for n, case in enumerate(cases):
        a, b, c = factor_bits(rng, case), factor_bits(rng, case), addend_bits(rng, case)
        right.append(expected(case, a, b, c))
        bits = {"iu8": 8, "iu4": 4}.get(case.kind, 16)
        left, top = pack(a, bits), pack(b, bits)
        half = case.result in ("f16", "bf16")
        for lane in range(size):
            data[n, lane, :len(left[0])] = left[lane % 16]
            data[n, lane, 8:8 + len(top[0])] = top[lane % 16]
            for i in range(count):
                row, column = place(lane, i, wave64)
                x = c[row][column]
                data[n, lane, 16 + i] = (x << 16 | 0xABCD if case.op_sel else 0xABCD0000 | x) if half else x
                data[n, lane, 24 + i] = 0x12345678
        lines += [f"global_load_b128 v[{r}:{r + 3}], v1, s[4:5] offset:{o}"
                  for r, o in ((A, 0), (A + 4, 16), (B, 32), (B + 4, 48), (C, 64), (C + 4, 80), (D, 96), (D + 4, 112))]
        lines += ["s_waitcnt vmcnt(0)", case.text(wave64), "s_nop 0",
                  f"global_store_b128 v2, v[{D}:{D + 3}], s[6:7]",
                  f"global_store_b128 v2, v[{D + 4}:{D + 7}], s[6:7] offset:16",
                  f"v_add_nc_u32_e32 v1, {size * LANE_DWORDS * 4:#x}, v1",
                  f"v_add_nc_u32_e32 v2, {size * 32:#x}, v2"]
    program = ASSEMBLERS[wave64].program(lines + ["s_endpgm"])
    output = np.zeros((len(cases), size, 8), np.uint32)
    outcome = outboard_sim.run(program, [data, output], block=(size, 1, 1), wave64=wave64, limit=0)
    assert outcome.status == outboard_sim.DONE, outcome.message
    if outcome.violations:
        report.failures.append(outcome.violation_text)
    for case, want, got in zip(cases, right, output):
        report.cases += 1
        report.covered.add(case.name)
        for lane in range(size):
            for i in range(count):
                row, column = place(lane, i, wave64)
                compare(case, want[row][column], int(got[lane][i]), f"row {row} column {column} (wave{size})", report)


def compare(case, want, got, where, report):
    report.lanes += 1
    if case.result in ("f16", "bf16"):
        kept = got & 0xFFFF if case.op_sel else got >> 16
        if kept != (0x5678 if case.op_sel else 0x1234):
            report.failures.append(f"{case.text(False)}: {where}: the other half became {kept:#x}")
        got = got >> 16 if case.op_sel else got & 0xFFFF
    if case.exact:
        good = got == want or case.result != "i32" and to_float(got, case.result) == to_float(want, case.result) == 0
    else:  # 16 roundings of sums below 256, then one to the result's format
        step = {"f32": 2.0 ** -24, "f16": 2.0 ** -11, "bf16": 2.0 ** -8}[case.result]
        good = abs(to_float(got, case.result) - want) <= 16 * 256 * 2.0 ** -24 + abs(want) * step
    if not good:
        report.failures.append(f"{case.text(False)}: {where}: {got:#x}, expected {want}")
