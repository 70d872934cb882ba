"""VOPD: all pairs of the two halves' operations, each half against its single-issue twin."""

import dataclasses
import random
import struct

import numpy as np

import corrections
import isa
import operand_values
import softfloat as sf
import valu_cases as vc
import valu_check
import valu_kernel as kernel
import valu_oracle
from valu_cases import Source

# In the order of their numbers, which both halves share; the last three are Y's alone.
OPERATIONS = ("fmac_f32 fmaak_f32 fmamk_f32 mul_f32 add_f32 sub_f32 subrev_f32 mul_dx9_zero_f32 mov_b32 "
              "cndmask_b32 max_f32 min_f32 dot2acc_f32_f16 dot2acc_f32_bf16 add_nc_u32 lshlrev_b32 "
              "and_b32").split()
NUMBER = {name: i if i < 14 else i + 2 for i, name in enumerate(OPERATIONS)}
X_OPERATIONS = OPERATIONS[:14]
# LLVM 19 does not know this one; its twin's machine code gets the other number.
BF16, F16 = "dot2acc_f32_bf16", "dot2acc_f32_f16"

LITERALS = [0x3FC00001, 0x12345678, 0x80000000, 0x7F800000, 0x00000041]


def instruction_of(name):
    if name != BF16:
        return isa.instructions()["v_" + name]
    twin = isa.instructions()["v_" + F16]
    types = tuple((f, isa.Type("pbf", 32) if f.startswith(("src", "vsrc")) else t) for f, t in twin.types)
    return dataclasses.replace(twin, name="v_" + BF16, types=types)


corrections.LANE["v_" + BF16] = corrections.dot2(sf.BF16, sf.F32, "D0")


def half_case(rng, name, source, literal, execute):
    """One half: source is v, s, a constant's text or the literal."""
    instruction = instruction_of(name)
    t = vc.source_types(instruction)[0]
    if source == "v" or source == "s":
        first = Source(source)
    elif source == "literal":
        first = Source("c", hex(literal), literal)
    else:
        first = Source("c", source, vc.inline_value(source, t))
    count = len(vc.source_types(instruction))
    fmak = name.startswith(("fmaa", "fmam"))
    return vc.Case(instruction, "e32", (first,) + (Source("v"),) * (count - 1), execute=execute,
                   literal=literal if fmak else None)


def half_text(name, case, half):
    source = case.sources[0]
    first = source.text if source.kind == "c" else "s40" if source.kind == "s" else f"v{8 + half}"
    operands = [f"v{20 + half}", first]
    if name != "mov_b32":
        operands.append(f"v{12 + half}")
    if case.literal is not None:
        operands.insert(2 if "fmamk" in name else 3, hex(case.literal))
    return f"v_dual_{name} {', '.join(operands)}"


def pair_cases(rng, x, y):
    choices = ["v", "v", "s", "1.0", "-3", "0.15915494", "literal"]
    for variant in range(3):
        literal = rng.choice(LITERALS)
        execute = (1 << 64) - 1 if variant == 0 else rng.choice(vc.EXECUTE)
        sources = ("v", "v") if variant == 0 else (rng.choice(choices), rng.choice(choices))
        yield tuple(half_case(rng, name, s, literal, execute) for name, s in zip((x, y), sources))


def machine_code(assembler, names, halves):
    """(text, code): the text has dot2acc of bf16 by its right name."""
    texts = [half_text(name.replace(BF16, F16), case, i) for i, (name, case) in enumerate(zip(names, halves))]
    code = assembler.code(" :: ".join(texts))
    if code is not None and BF16 in names:
        word = struct.unpack_from("<I", code)[0]
        x, y = (NUMBER[name] for name in names)
        word = word & ~(15 << 22 | 31 << 17) | x << 22 | y << 17
        code = struct.pack("<I", word) + code[4:]
    return code


def inputs_of(rng):
    def dword():
        if rng.random() < 0.5:
            return operand_values.value(rng, "f", 32)
        if rng.random() < 0.5:
            return operand_values.value(rng, "pf", 16)
        return operand_values.value(rng, "u", 32)
    lanes = [{c: dword() | dword() << 32 | rng.getrandbits(64) << 64 for c in "ABCD"}
             for _ in range(kernel.LANES)]
    array = np.array([[lane[c] >> 32 * i & 0xFFFFFFFF for c in "ABCD" for i in range(4)] for lane in lanes],
                     np.uint32)
    return lanes, array


def shifted(lanes):
    return [{c: x >> 32 for c, x in lane.items()} for lane in lanes]


def check(wave64, report):
    if wave64:
        return  # guide, 7.6: VOPD is for wave32
    assembler = kernel.ASSEMBLERS[wave64]
    rng = random.Random(f"dual {wave64}")
    pairs = [((x, y), halves) for x in X_OPERATIONS for y in OPERATIONS for halves in pair_cases(rng, x, y)]
    for names, halves in pairs:
        assembler.want([" :: ".join(half_text(n.replace(BF16, F16), c, i)
                                    for i, (n, c) in enumerate(zip(names, halves)))])
    found = [(names, halves, machine_code(assembler, names, halves)) for names, halves in pairs]
    found = [entry for entry in found if entry[2] is not None]
    assert len({names for names, _, _ in found}) == len(X_OPERATIONS) * len(OPERATIONS)
    lanes, array = inputs_of(rng)
    scalars = kernel.Scalars(0x40490FDB, rng.getrandbits(64), rng.getrandbits(64), rng.getrandbits(64))
    mode = kernel.Mode()
    program = kernel.build([code for _, _, code in found], [h[0].execute for _, h, _ in found], wave64)
    outputs = kernel.run(program, len(found), array, scalars, wave64, mode)
    size = 64 if wave64 else 32
    first = kernel.LANES - size  # of one wave
    waves = [valu_oracle.Wave(x[first:], scalars, wave64, mode) for x in (lanes, shifted(lanes))]
    for (names, halves, _), output in zip(found, outputs):
        report.cases += 1
        report.covered |= {"v_dual_" + name for name in names}
        if BF16 in names:
            report.covered.add("v_" + BF16)  # which has no other form
        for half, (case, wave) in enumerate(zip(halves, waves)):
            results = valu_oracle.expected(case, wave)[0]
            for lane in range(size):
                got = int(output[first + lane][half])
                answers = [r & 0xFFFFFFFF for r in results[lane]]
                report.lanes += 1
                if not valu_check.matches(case, answers, got, mode.ieee):
                    report.failures.append(f"{half_text(names[half], case, half)} in {names} (wave{size}): lane "
                                           f"{lane} {got:#x}, expected {answers[0]:#x}")
    check_exchange(wave64, array, scalars, report)


def check_exchange(wave64, array, scalars, report):
    """Both halves read before either writes."""
    code = kernel.ASSEMBLERS[wave64].code("v_dual_mov_b32 v20, v21 :: v_dual_mov_b32 v21, v20")
    output = kernel.run(kernel.build([code], [(1 << 64) - 1], wave64), 1, array, scalars, wave64, kernel.Mode())
    if (output[0][:, :2] != array[:, [13, 12]]).any():
        report.failures.append("v_dual_mov_b32 does not exchange two registers")
