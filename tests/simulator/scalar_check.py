"""Scalar ALU instructions: one kernel of many cases, a workgroup for each row of inputs.

A row holds S0, S1, the old destination, VCC and EXEC (64 bits each), SCC and M0. Each case sets the
registers from it, runs the instruction and stores destination, SCC, M0, EXEC and VCC.
"""

import random
from dataclasses import dataclass

import numpy as np

import isa
import operand_values
import outboard_sim
import pcode
import valu_cases as vc
from pcode import Value
from valu_kernel import ASSEMBLERS

ROWS = 40
ROW_DWORDS = 16
OUT_DWORDS = 8

# Moved by M0, jumps and the hardware's registers: scalar_flow.py.
ELSEWHERE = {"s_movrels_b32", "s_movrels_b64", "s_movreld_b32", "s_movreld_b64", "s_movrelsd_2_b32",
             "s_getpc_b64", "s_setpc_b64", "s_swappc_b64", "s_rfe_b64", "s_sendmsg_rtn_b32",
             "s_sendmsg_rtn_b64", "s_version", "s_getreg_b32", "s_setreg_b32", "s_setreg_imm32_b32",
             "s_call_b64", "s_waitcnt_vscnt", "s_waitcnt_vmcnt", "s_waitcnt_expcnt",
             "s_waitcnt_lgkmcnt", "s_subvector_loop_begin", "s_subvector_loop_end"}

PROLOGUE = """
s_load_b128 s[4:7], s[0:1], 0x0
s_lshl_b32 s8, s15, 6
s_load_b32 s9, s[0:1], 0x10
s_waitcnt lgkmcnt(0)
s_load_b512 s[64:79], s[4:5], s8
s_mul_i32 s9, s9, s15
s_add_u32 s6, s6, s9
s_addc_u32 s7, s7, 0
v_mov_b32_e32 v1, 0
s_waitcnt lgkmcnt(0)
""".strip().splitlines()

BEFORE = """
s_mov_b64 s[16:17], s[64:65]
s_mov_b64 s[18:19], s[66:67]
s_mov_b64 s[20:21], s[68:69]
s_mov_b64 vcc, s[70:71]
s_mov_b32 m0, s75
s_cmp_lg_u32 s74, 0
s_mov_b64 exec, s[72:73]
""".strip().splitlines()

AFTER = """
s_cselect_b32 s30, 1, 0
s_mov_b64 s[22:23], exec
s_mov_b64 exec, 1
v_mov_b32_e32 v2, s20
v_mov_b32_e32 v3, s21
v_mov_b32_e32 v4, s30
v_mov_b32_e32 v5, m0
v_mov_b32_e32 v6, s22
v_mov_b32_e32 v7, s23
v_mov_b32_e32 v8, vcc_lo
v_mov_b32_e32 v9, vcc_hi
global_store_b128 v1, v[2:5], s[6:7]
global_store_b128 v1, v[6:9], s[6:7] offset:16
s_add_u32 s6, s6, 32
s_addc_u32 s7, s7, 0
""".strip().splitlines()


@dataclass(frozen=True)
class Case:
    instruction: isa.Instruction
    destination: str     # s20, vcc_lo, ... or ""
    sources: tuple       # (text, function of the row)
    simm16: int | None = None

    def text(self):
        name = self.instruction.name
        operands = [self.destination] * bool(self.destination) + [text for text, _ in self.sources]
        if self.simm16 is not None:
            operands.append(hex(self.simm16))
        return f"{name} {', '.join(operands)}"


@dataclass
class Row:
    s0: int
    s1: int
    old: int
    vcc: int
    execute: int
    scc: int
    m0: int

    def dwords(self):
        wide = [self.s0, self.s1, self.old, self.vcc, self.execute]
        return [x >> s & 0xFFFFFFFF for x in wide for s in (0, 32)] + [self.scc, self.m0] + [0] * 4


def word(bits):
    """How the source is read: scalar registers have no halves."""
    return (1 << max(32, bits)) - 1


def sources_of(rng, t, i):
    """(text, value of row) of the sources to try."""
    wide = t.bits == 64
    mask = word(t.bits)
    number = 16 + 2 * i
    plain = (vc.registers("s", number, t.dwords), lambda row: (row.s1 if i else row.s0) & mask)
    others = [("vcc" if wide else "vcc_hi", lambda row: row.vcc if wide else row.vcc >> 32),
              ("exec" if wide else "exec_lo", lambda row: row.execute & mask),
              ("null", lambda row: 0)]
    if not wide:
        others += [("m0", lambda row: row.m0), ("src_scc", lambda row: row.scc)]
    full = isa.Type(t.kind, max(32, t.bits))
    for text, value in vc.constants_of(rng, full):
        others.append((text, lambda row, value=value: value & mask))
    return plain, others


def cases_of(rng, instruction):
    name, types = instruction.name, dict(instruction.types)
    destination = types.get("sdst")
    if "SOPK" in instruction.forms:
        text = "s20"
        for k in (0, 1, 0x7FFF, 0x8000, 0xFFFF, rng.getrandbits(16), rng.getrandbits(16)):
            yield Case(instruction, text, (), k)
        return
    destinations = [""]
    if destination is not None:
        plain = vc.registers("s", 20, destination.dwords)
        destinations = [plain] * 4 + ["vcc", "exec"] if destination.dwords == 2 else \
            [plain] * 4 + ["vcc_lo", "vcc_hi", "exec_lo", "m0"]
        destinations.append("null")
    kinds = [t for f, t in instruction.types if f.startswith("ssrc")]
    choices = [sources_of(rng, t, i) for i, t in enumerate(kinds)]
    plain = tuple(c[0] for c in choices)
    yield Case(instruction, destinations[0], plain)
    for d in dict.fromkeys(destinations[1:]):
        yield Case(instruction, d, plain)
    for i, (_, others) in enumerate(choices):
        for other in others:
            yield Case(instruction, rng.choice(destinations), plain[:i] + (other,) + plain[i + 1:])


def rows_of(rng, instruction):
    kinds = [t for f, t in instruction.types if f.startswith("ssrc")]

    def value(i):
        t = kinds[i] if i < len(kinds) else isa.Type("b", 64)
        low = operand_values.value(rng, t.kind if t.kind in "uib" else "b", t.bits)
        return low | rng.getrandbits(64) << t.bits & (1 << 64) - 1
    masks = [0, 1, (1 << 64) - 1, 1 << 63, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFF << 32]
    for _ in range(ROWS):
        s0, s1 = value(0), value(1)
        if len(kinds) == 2 and rng.random() < 0.1:
            s1 = s0  # equal
        if "_bfe_" in instruction.name:  # offset and width at the ends of the field
            s1 = rng.choice((0, 1, 31, 32, 63, s1)) | rng.choice((0, 1, 31, 32, 33, 63, 64, 65, 127)) << 16
        yield Row(s0, s1, operand_values.value(rng, "b", 64),
                  rng.choice(masks + [rng.getrandbits(64)] * 4), rng.choice(masks + [rng.getrandbits(64)] * 4),
                  rng.getrandbits(1), operand_values.value(rng, "b", 32))


class Registers:
    """What destination names mean: a row's state as the program changes it."""

    def __init__(self, row):
        self.old, self.vcc, self.m0 = row.old, row.vcc, row.m0

    def read(self, name, execute):
        low = {"s20": self.old, "s[20:21]": self.old, "vcc": self.vcc, "vcc_lo": self.vcc,
               "vcc_hi": self.vcc >> 32, "exec": execute, "exec_lo": execute, "m0": self.m0}
        return low.get(name, 0)

    def write(self, name, x, execute):
        """The new EXEC."""
        low, high = 0xFFFFFFFF, 0xFFFFFFFF << 32
        if name == "s20":
            self.old = self.old & high | x & low
        elif name == "s[20:21]":
            self.old = x
        elif name == "vcc":
            self.vcc = x
        elif name == "vcc_lo":
            self.vcc = self.vcc & high | x & low
        elif name == "vcc_hi":
            self.vcc = self.vcc & low | (x & low) << 32
        elif name == "exec":
            return x
        elif name == "exec_lo":
            return execute & high | x & low
        elif name == "m0":
            self.m0 = x & low
        return execute


def expected(case, row, wave64):
    """(destination, SCC, M0, EXEC, VCC)."""
    kinds = [t for f, t in case.instruction.types if f.startswith("ssrc")]
    full = (1 << 64) - 1 if wave64 else 0xFFFFFFFF
    row = Row(row.s0, row.s1, row.old, row.vcc, row.execute & full, row.scc, row.m0)
    registers = Registers(row)
    destination = case.instruction.type("sdst")
    variables = {"SCC": Value("u", 1, row.scc), "EXEC": Value("b", 64, row.execute),
                 "VCC": Value("b", 64, row.vcc)}
    for i, (t, (_, value)) in enumerate(zip(kinds, case.sources)):
        variables[f"S{i}"] = Value("b", max(32, t.bits), value(row))
    compares = case.instruction.name.startswith("s_cmpk")
    if destination is not None:
        bits = max(32, destination.bits)
        old = registers.read(case.destination, row.execute) & (1 << bits) - 1
        variables["S0" if compares else "D0"] = Value("b", bits, old)
    if case.simm16 is not None:
        variables["SIMM16"] = Value("b", 16, case.simm16)
    before = variables.get("D0")
    pcode.compile_program(case.instruction.pcode)(pcode.Environment(variables))
    execute = variables["EXEC"].bits & full
    if "D0" in variables and (variables["D0"] is not before):
        execute = registers.write(case.destination, variables["D0"].raw(), execute) & full
    return registers.old, variables["SCC"].bits & 1, registers.m0, execute, registers.vcc


def names():
    return [n for n, i in isa.instructions().items() if i.forms & {"SOP1", "SOP2", "SOPC", "SOPK"}
            and n not in ELSEWHERE]


def check(chosen, wave64, report):
    """All the chosen mnemonics in one kernel for each."""
    assembler = ASSEMBLERS[wave64]
    work = {}
    for name in chosen:
        rng = random.Random(f"{name} {wave64}")
        if "exec_b" in name and not name.endswith("64" if wave64 else "32"):
            continue  # the other wave size's
        cases = list(cases_of(rng, isa.instructions()[name]))
        work[name] = cases, list(rows_of(rng, isa.instructions()[name]))
        assembler.want([case.text() for case in cases])
    assembler.want([*PROLOGUE, *BEFORE, *AFTER])
    for name, (cases, rows) in work.items():
        found = [(case, assembler.code(case.text())) for case in cases]
        found = [(case, code) for case, code in found if code is not None]
        if not found:
            continue
        lines = list(PROLOGUE)
        for _, code in found:
            lines += [*BEFORE, code, *AFTER]
        program = assembler.program(lines + ["s_endpgm"])
        inputs = np.array([row.dwords() for row in rows], np.uint32)
        output = np.zeros((ROWS, len(found), OUT_DWORDS), np.uint32)
        outcome = outboard_sim.run(program, [inputs, output, len(found) * OUT_DWORDS * 4],
                                   grid=(ROWS, 1, 1), block=(64 if wave64 else 32, 1, 1), wave64=wave64,
                                   strict=False, group_ids="x")
        if outcome.status != outboard_sim.DONE:
            report.failures.append(f"{name}: {outcome.message}")
            continue
        report.covered.add(name)
        for r, row in enumerate(rows):
            for c, (case, _) in enumerate(found):
                report.cases += 1
                out = [int(x) for x in output[r, c]]
                got = (out[0] | out[1] << 32, out[2], out[3], out[4] | out[5] << 32, out[6] | out[7] << 32)
                want = expected(case, row, wave64)
                if got != want:
                    report.failures.append(
                        f"{case.text()} (wave{64 if wave64 else 32}): {[hex(x) for x in got]}, expected "
                        f"{[hex(x) for x in want]} (destination, SCC, M0, EXEC, VCC); {row}")
