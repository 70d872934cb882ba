"""Runs the cases of one vector ALU instruction and compares them with the oracle."""

import random
from dataclasses import dataclass, field

import numpy as np

import corrections
import isa
import operand_values
import softfloat as sf
import valu_cases
import valu_kernel
import valu_oracle

ALL = (1 << 128) - 1
FORMATS = {16: sf.F16, 32: sf.F32, 64: sf.F64}


@dataclass
class Report:
    lanes: int = 0                 # results compared
    cases: int = 0
    failures: list = field(default_factory=list)
    covered: set = field(default_factory=set)


def register_value(rng, t, rest=True):
    """128 bits: a value of the type in the low ones, noise above, or all noise without a type."""
    if t is None or t.kind == "m":
        return rng.getrandbits(128)
    if t.bits == 16 or t.kind[0] == "p":
        kind = t.kind if t.bits == 16 else t.kind[1:] or "b"
        low = operand_values.value(rng, kind, 16) | operand_values.value(rng, kind, 16) << 16
        width = 32
    else:
        low, width = operand_values.value(rng, t.kind, t.bits), max(32, t.bits)
    return low | (rng.getrandbits(128) << width & ALL if rest else 0)


def make_inputs(rng, instruction):
    types = valu_cases.source_types(instruction)
    columns = [types[i] if i < len(types) else None for i in range(3)] + [instruction.type("vdst")]
    lanes = [{name: register_value(rng, t) for name, t in zip("ABCD", columns)}
             for _ in range(valu_kernel.LANES)]
    array = np.array([[lane[name] >> 32 * i & 0xFFFFFFFF for name in "ABCD" for i in range(4)]
                      for lane in lanes], np.uint32)
    return lanes, array


def same_float(case, expected, got, f, ieee):
    if expected == got:
        return True
    if sf.is_nan(expected, f):
        # IEEE leaves the payload open; with MODE.IEEE off, whether a signaling NaN becomes quiet.
        return sf.is_nan(got, f) and not (ieee and sf.is_signaling(got, f))
    return (corrections.approximate(case.name) is not None and not sf.is_nan(got, f)
            and sf.ulp_distance(expected, got, f) <= 1)


def matches(case, answers, got, ieee):
    if got in answers:
        return True
    t = case.instruction.type("vdst")
    if t is None or t.kind not in ("f", "pf", "bf"):
        return False
    f = FORMATS[t.bits] if t.kind == "f" else sf.F16 if t.kind == "pf" else sf.BF16
    mask = (1 << f.bits) - 1
    width = max(32, t.bits)
    for expected in answers:
        halves = range(0, width, f.bits)
        if expected >> width == got >> width and all(
                same_float(case, expected >> s & mask, got >> s & mask, f, ieee) for s in halves):
            return True
    return False


def scalars_for(rng, instruction):
    t = next((t for t in valu_cases.source_types(instruction) if t.kind != "m"), None)
    return valu_kernel.Scalars(register_value(rng, t) & (1 << 64) - 1, *(rng.getrandbits(64) for _ in "mvo"))


def pair(output, index):
    return int(output[index]) | int(output[index + 1]) << 32


def check(name, wave64, mode, effort, report):
    instruction = isa.instructions()[name]
    rng = random.Random(f"{name} {wave64} {mode}")
    cases = valu_cases.cases_of(rng, instruction, effort)
    codes = valu_kernel.assembled(wave64, [valu_cases.texts(c, wave64) for c in cases])
    found = [(case, code) for case, code in zip(cases, codes) if code is not None]
    if not found:
        return
    lanes, array = make_inputs(rng, instruction)
    scalars = scalars_for(rng, instruction)
    program = valu_kernel.build([code for _, code in found], [c.execute for c, _ in found], wave64)
    outputs = valu_kernel.run(program, len(found), array, scalars, wave64, mode)
    size = 64 if wave64 else 32
    for (case, _), output in zip(found, outputs):
        report.cases += 1
        for first in range(0, valu_kernel.LANES, size):
            wave = valu_oracle.Wave(lanes[first:first + size], scalars, wave64, mode)
            compare(case, wave, output[first:first + size], report)
    report.covered.add(name)


def compare(case, wave, output, report):
    results, mask, vcc, execute = valu_oracle.expected(case, wave)
    where = f"{valu_cases.texts(case, wave.wave64)[0]} (wave{wave.size}, {wave.mode})"
    report.lanes += wave.size
    for what, expected, at in (("mask", mask, 4), ("vcc", vcc, 6), ("exec", execute, 8)):
        got = pair(output[0], at)
        if got != expected:
            lane = ((got ^ expected) & -(got ^ expected)).bit_length() - 1
            report.failures.append(f"{where}: {what} {got:#x}, expected {expected:#x}; "
                                   f"{inputs_text(wave.lanes[lane % wave.size])}")
    for lane in range(wave.size):
        got = pair(output[lane], 0) | pair(output[lane], 2) << 64
        if not matches(case, results[lane], got, wave.mode.ieee):
            report.failures.append(f"{where}: lane {lane} {got:#x}, expected {results[lane][0]:#x}; "
                                   f"{inputs_text(wave.lanes[lane])}")


def inputs_text(lane):
    return ", ".join(f"{name} {value & (1 << 64) - 1:#x}" for name, value in lane.items())


def want_all(names, effort, modes, sizes=(False, True)):
    """Has every case assembled in one run of LLVM for each wave size."""
    for wave64 in sizes:
        lines = [*valu_kernel.PROLOGUE, *valu_kernel.BEFORE, *valu_kernel.AFTER, *valu_kernel.NEXT]
        for name in names:
            for mode in modes:
                rng = random.Random(f"{name} {wave64} {mode}")
                for case in valu_cases.cases_of(rng, isa.instructions()[name], effort):
                    lines += valu_cases.texts(case, wave64)
        assembler = valu_kernel.ASSEMBLERS[wave64]
        assembler.want(lines)
        assembler.code("s_endpgm")
