"""Vector instructions that look across lanes or choose registers as they run.

Lanes load v40 to v55; a case runs one instruction; all of v40 to v55 and s[36:37] come back.
"""

import random
from dataclasses import dataclass

import numpy as np

import isa
import operand_values
import outboard_sim
import pcode
import softfloat as sf
from pcode import Value
from valu_kernel import ASSEMBLERS, set_execute

FIRST, COUNT = 40, 16
OUT = COUNT + 2
SGPR = {"s36": 0x11111111, "s37": 0x22222222, "s38": 0x76543210, "s39": 0xE1C2A3F4}

PROLOGUE = f"""
s_load_b128 s[4:7], s[0:1], 0x0
v_and_b32_e32 v0, 0x3ff, v0
v_lshlrev_b32_e32 v1, 6, v0
v_mul_u32_u24_e32 v2, {OUT * 4}, v0
s_waitcnt lgkmcnt(0)
""".strip().splitlines()
LOADS = [f"global_load_b128 v[{FIRST + i}:{FIRST + i + 3}], v1, s[4:5] offset:{4 * i}"
         for i in range(0, COUNT, 4)] + ["s_waitcnt vmcnt(0)"]
BEFORE = LOADS + [f"s_mov_b32 {name}, {value:#x}" for name, value in SGPR.items()]
AFTER = ["s_mov_b32 exec_lo, -1", "s_mov_b32 exec_hi, -1",
         *(f"global_store_b128 v2, v[{FIRST + i}:{FIRST + i + 3}], s[6:7] offset:{4 * i}"
           for i in range(0, COUNT, 4)),
         "v_mov_b32_e32 v3, s36", "v_mov_b32_e32 v4, s37",
         f"global_store_b64 v2, v[3:4], s[6:7] offset:{COUNT * 4}"]


@dataclass(frozen=True)
class Case:
    name: str
    text: str
    execute: int
    m0: int = 0
    source: int = 0             # number of the source VGPR
    destination: int = 0
    values: tuple = ()          # of the other sources
    fetch_inactive: bool = False
    bound_ctrl: bool = False
    negate: int = 0             # VINTERP
    op_sel: int = 0


MASKS = [(1 << 64) - 1, 0, 1 << 40 | 1 << 9, 0x123456789ABCDEF0, 0xFFFFFFFF, 0xFFFFFFFF << 32]


def scalar_cases(rng):
    for mask in MASKS:
        yield Case("v_readfirstlane_b32", "v_readfirstlane_b32 s36, v45", mask, source=45)
    for lane, value in (("5", 5), ("s38", SGPR["s38"]), ("m0", 0x1F5), ("-1", 0xFFFFFFFF), ("63", 63)):
        mask = rng.choice(MASKS)
        yield Case("v_readlane_b32", f"v_readlane_b32 s36, v45, {lane}", mask, 0x1F5, 45, values=(0, value))
        for text, data in (("s39", SGPR["s39"]), ("17", 17), ("m0", 0x1F5)):
            yield Case("v_writelane_b32", f"v_writelane_b32 v47, {text}, {lane}", mask, 0x1F5,
                       destination=47, values=(data, value))


def permute_cases(rng):
    for name in ("v_permlane16_b32", "v_permlanex16_b32"):
        for mask in MASKS:
            for fi in (0, 1):
                for bc in (0, 1):
                    tail = f" op_sel:[{fi},{bc}]" if fi or bc else ""
                    yield Case(name, f"{name} v47, v45, s38, s39{tail}", mask, 0, 45, 47,
                               (0, SGPR["s38"], SGPR["s39"]), bool(fi), bool(bc))
        yield Case(name, f"{name} v45, v45, 3, s39", MASKS[0], 0, 45, 45, (0, 3, SGPR["s39"]))
    for mask in MASKS:
        yield Case("v_permlane64_b32", "v_permlane64_b32 v47, v45", mask, 0, 45, 47)
        yield Case("v_permlane64_b32", "v_permlane64_b32 v45, v45", mask, 0, 45, 45)


def relative_cases(rng):
    for m0 in (0, 1, 5):
        for mask in (MASKS[0], MASKS[3], 0):
            for e in ("_e32", "_e64"):
                yield Case("v_movreld_b32", f"v_movreld_b32{e} v41, v50", mask, m0, 50, 41)
                yield Case("v_movrels_b32", f"v_movrels_b32{e} v41, v50", mask, m0, 50, 41)
                yield Case("v_movrelsd_b32", f"v_movrelsd_b32{e} v41, v50", mask, m0, 50, 41)
            yield Case("v_movreld_b32", "v_movreld_b32_e32 v41, s38", mask, m0, -1, 41, (SGPR["s38"],))
            yield Case("v_movreld_b32", "v_movreld_b32_e32 v41, -3", mask, m0, -1, 41, (0xFFFFFFFD,))
    for m0 in (0, 0x30001, 0x00040000, 0xFC01FC02):  # bits 9:0 and 25:16 alone count
        for mask in (MASKS[0], MASKS[3], 0):
            for e in ("_e32", "_e64"):
                yield Case("v_movrelsd_2_b32", f"v_movrelsd_2_b32{e} v41, v50", mask, m0 & 0xFC0FFC0F, 50, 41)
            yield Case("v_swaprel_b32", "v_swaprel_b32 v41, v50", mask, m0 & 0xFC0FFC0F, 50, 41)
    for mask in MASKS:
        yield Case("v_swap_b32", "v_swap_b32 v41, v50", mask, 0, 50, 41)


def interpolation_cases(rng):
    for name in ("v_interp_p10_f32", "v_interp_p2_f32", "v_interp_p10_f16_f32", "v_interp_p2_f16_f32",
                 "v_interp_p10_rtz_f16_f32", "v_interp_p2_rtz_f16_f32"):
        for negate in (0, 1, 2, 4, 7):
            signs = ["-" if negate >> i & 1 else "" for i in range(3)]
            tail = " wait_exp:0"
            op_sel = 0
            if "f16" in name:
                op_sel = rng.choice((0, 1, 4, 5, 8, 13)) & (0b0101 if "p10" in name else 0b1001)
                tail = " op_sel:[" + ",".join(str(op_sel >> i & 1) for i in range(4)) + "]" + tail
            yield Case(name, f"{name} v41, {signs[0]}v48, {signs[1]}v49, {signs[2]}v50{tail}",
                       rng.choice((MASKS[0], MASKS[3])), 0, 48, 41, negate=negate, op_sel=op_sel)


def all_cases():
    rng = random.Random("lanes")
    return [*scalar_cases(rng), *permute_cases(rng), *relative_cases(rng), *interpolation_cases(rng)]


def permute(case, lanes, size):
    """The pseudo-code leaves out what inactive lanes give. Guide, V_PERMLANE16_B32: OPSEL[0] is
    fetch-inactive; OPSEL[1] is bound control, which writes zero where nothing may be fetched."""
    selects = case.values[2] << 32 | case.values[1]
    old = [lane[:] for lane in lanes]
    for lane in range(size):
        if not case.execute >> lane & 1:
            continue
        row = lane // 16 ^ ("x16" in case.name)
        source = row * 16 + (selects >> 4 * (lane % 16) & 15)
        if case.fetch_inactive or case.execute >> source & 1:
            lanes[lane][case.destination] = old[source][case.source]
        elif case.bound_ctrl:
            lanes[lane][case.destination] = Value("b", 32, 0)


def interpolate(case, lanes, size):
    """Results for each lane: several where the guide does not say which of two roundings rtz means."""
    old = [lane[:] for lane in lanes]
    half = "f16" in case.name
    to_half = half and "p2" in case.name

    def operand(lane, i, is_half):
        x = old[lane][48 + i].bits
        f = sf.F16 if is_half else sf.F32
        x = x >> (16 if case.op_sel >> i & 1 else 0) & 0xFFFF if is_half else x
        x ^= (case.negate >> i & 1) << f.bits - 1
        return sf.convert(x, sf.F16, sf.F32) if is_half else x

    out = {}
    for lane in range(size):
        if not case.execute >> lane & 1:
            continue
        quad = lane & ~3
        first = "p10" in case.name
        p = operand(quad + (1 if first else 2), 0, half)
        add = operand(quad if first else lane, 2, half and first)
        answers = set()
        for rounding in {sf.NEAREST, sf.ZERO if "rtz" in case.name else sf.NEAREST}:
            x = sf.fma(p, operand(lane, 1, False), add, sf.F32, sf.Mode(rounding))
            if to_half:
                to = sf.ZERO if "rtz" in case.name else sf.NEAREST
                x = sf.convert(x, sf.F32, sf.F16, sf.Mode(to))
                high = case.op_sel >> 3 & 1
                keep = old[lane][41].bits & (0xFFFF if high else 0xFFFF0000)
                x = keep | x << (16 if high else 0)
            answers.add(x)
        out[lane] = answers
    return out


def run_pcode(case, lanes, sgpr, size):
    program = pcode.compile_program(isa.instructions()[case.name].pcode)
    wave64 = size == 64
    execute = case.execute & (1 << size) - 1
    shared = {"VGPR": lanes, "EXEC": Value("u", 64, execute), "EXEC_LO": Value("u", 32, execute & 0xFFFFFFFF),
              "WAVE32": pcode.boolean(not wave64), "WAVE64": pcode.boolean(wave64),
              "M0": Value("u", 32, case.m0), "SRC0": Value("u", 32, max(0, case.source)),
              "DST": Value("u", 32, case.destination), "VDST": Value("u", 32, case.destination)}
    shared |= {f"S{i}": Value("b", 32, x) for i, x in enumerate(case.values)}
    if case.name.startswith(("v_read", "v_writelane", "v_permlane")):
        shared["D0"] = Value("b", 32, sgpr)
        program(pcode.Environment(shared))
        return shared["D0"].bits if case.name.startswith("v_read") else sgpr
    for lane in range(size):
        if execute >> lane & 1:
            variables = dict(shared, laneId=Value("u", 32, lane), D0=lanes[lane][case.destination])
            if case.source >= 0:
                variables["S0"] = lanes[lane][case.source]
            program(pcode.Environment(variables))
            if case.name == "v_swap_b32":
                lanes[lane][case.source] = variables["S0"]
            if case.name in ("v_swap_b32", "v_movrels_b32"):
                lanes[lane][case.destination] = variables["D0"]
    return sgpr


def expected(case, inputs, wave64):
    """(for each lane and register the values that are right, s36)."""
    size = 64 if wave64 else 32
    lanes = [[Value("b", 32, 0)] * FIRST + [Value("b", 32, int(x)) for x in lane] for lane in inputs]
    sgpr, extra = SGPR["s36"], {}
    if "permlane" in case.name and "64" not in case.name:
        permute(case, lanes, size)
    elif "interp" in case.name:
        extra = interpolate(case, lanes, size)
    else:
        sgpr = run_pcode(case, lanes, sgpr, size)
    answers = [[{v.raw()} for v in lane[FIRST:]] for lane in lanes]
    for lane, values in extra.items():
        answers[lane][1] = values
    return answers, sgpr


def agrees(case, right, got):
    if got in right:
        return True
    if "interp" not in case.name:
        return False
    is_half = "p2" in case.name and "f16" in case.name  # a NaN's payload is open
    f, shift = (sf.F16, 16 * (case.op_sel >> 3 & 1)) if is_half else (sf.F32, 0)
    mask = (1 << f.bits) - 1
    return all(sf.is_nan(x >> shift & mask, f) for x in (got, *right))


def check(wave64, report):
    size = 64 if wave64 else 32
    cases = all_cases()
    assembler = ASSEMBLERS[wave64]
    assembler.want([c.text for c in cases] + PROLOGUE + BEFORE + AFTER)
    lines = list(PROLOGUE)
    after = [x for x in AFTER if wave64 or "exec_hi" not in x]
    for case in cases:
        lines += [*BEFORE, f"s_mov_b32 m0, {case.m0:#x}", *set_execute(case.execute, wave64), case.text, *after,
                  f"v_add_nc_u32_e32 v2, {size * OUT * 4:#x}, v2"]
    program = assembler.program(lines + ["s_endpgm"])
    rng = random.Random(f"lanes {wave64}")
    inputs = np.array([[operand_values.value(rng, "f", 32) if i % 2 else
                        operand_values.value(rng, "f", 16) | operand_values.value(rng, "f", 16) << 16
                        for i in range(COUNT)] for _ in range(size)], np.uint32)
    output = np.zeros((len(cases), size, OUT), np.uint32)
    outcome = outboard_sim.run(program, [inputs, output], block=(size, 1, 1), wave64=wave64, strict=False,
                               limit=0)
    assert outcome.status == outboard_sim.DONE, outcome.message
    for case, got in zip(cases, output):
        right, sgpr = expected(case, inputs, wave64)
        report.cases += 1
        report.lanes += size
        report.covered.add(case.name)
        where = f"{case.text} (wave{size}, exec {case.execute:#x}, m0 {case.m0:#x})"
        if int(got[0][COUNT]) != sgpr or int(got[0][COUNT + 1]) != SGPR["s37"]:
            report.failures.append(f"{where}: s36 {got[0][COUNT]:#x}, expected {sgpr:#x}")
        for lane in range(size):
            for i in range(COUNT):
                if not agrees(case, right[lane][i], int(got[lane][i])):
                    report.failures.append(f"{where}: lane {lane} v{FIRST + i} {got[lane][i]:#x}, expected "
                                           f"{[hex(x) for x in right[lane][i]]}")
