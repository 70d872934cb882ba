"""The kernel that vector ALU cases run in, and what it leaves behind.

Each lane loads three sources and an old destination of 128 bits each. Per case: the destination is
set, masks and EXEC are set, the instruction runs, and destination, masks and EXEC are stored.
"""

from dataclasses import dataclass

import numpy as np

import outboard_sim
from machine_code import Assembler

LANES = 128               # a workgroup: four waves of 32, two of 64
INPUT_BYTES = 64          # a lane
OUTPUT_DWORDS = 10        # a lane and case: destination, mask destination, VCC, EXEC
OUTPUT_BYTES = 64

ASSEMBLERS = {wave64: Assembler(wave64) for wave64 in (False, True)}

PROLOGUE = """
s_load_b128 s[4:7], s[0:1], 0x0
s_load_b128 s[8:11], s[0:1], 0x10
s_waitcnt lgkmcnt(0)
s_load_b256 s[40:47], s[8:9], 0x0
v_and_b32_e32 v0, 0x3ff, v0
v_lshlrev_b32_e32 v1, 6, v0
global_load_b128 v[8:11], v1, s[4:5]
global_load_b128 v[12:15], v1, s[4:5] offset:16
global_load_b128 v[16:19], v1, s[4:5] offset:32
global_load_b128 v[24:27], v1, s[4:5] offset:48
s_waitcnt lgkmcnt(0) vmcnt(0)
""".strip().splitlines()

BEFORE = """
v_mov_b32_e32 v20, v24
v_mov_b32_e32 v21, v25
v_mov_b32_e32 v22, v26
v_mov_b32_e32 v23, v27
s_mov_b64 s[36:37], s[46:47]
s_mov_b32 vcc_lo, s44
s_mov_b32 vcc_hi, s45
""".strip().splitlines()

AFTER = """
s_mov_b32 s38, exec_lo
s_mov_b32 s39, exec_hi
s_mov_b32 exec_lo, -1
s_mov_b32 exec_hi, -1
v_mov_b32_e32 v28, s36
v_mov_b32_e32 v29, s37
v_mov_b32_e32 v30, vcc_lo
v_mov_b32_e32 v31, vcc_hi
v_mov_b32_e32 v32, s38
v_mov_b32_e32 v33, s39
global_store_b128 v1, v[20:23], s[6:7]
global_store_b128 v1, v[28:31], s[6:7] offset:16
global_store_b64 v1, v[32:33], s[6:7] offset:32
""".strip().splitlines()
NEXT = [f"s_add_u32 s6, s6, {LANES * OUTPUT_BYTES:#x}", "s_addc_u32 s7, s7, 0"]


@dataclass
class Scalars:
    """Values of s[40:47] when a case starts."""
    source: int = 0        # s[40:41]
    mask: int = 0          # s[42:43]
    vcc: int = 0
    old_mask: int = 0      # in the mask destination

    def words(self):
        return np.array([self.source, self.mask, self.vcc, self.old_mask], np.uint64)


@dataclass
class Mode:
    """FLOAT_MODE of pgm_rsrc1, IEEE, DX10_CLAMP."""
    float_mode: int = 0xF0
    ieee: bool = True
    dx10_clamp: bool = True


def set_execute(mask, wave64):
    lines = [f"s_mov_b32 exec_lo, {mask & 0xFFFFFFFF:#x}"]
    return lines + [f"s_mov_b32 exec_hi, {mask >> 32:#x}"] if wave64 else lines


def assembled(wave64, case_texts):
    """For each case's texts, the machine code of the first that assembles, or None."""
    assembler = ASSEMBLERS[wave64]
    assembler.want([t for texts in case_texts for t in texts])
    out = []
    for texts in case_texts:
        codes = [assembler.code(t) for t in texts]
        out.append(next((c for c in codes if c is not None), None))
    return out


def build(codes, executes, wave64, prepare=()):
    """The program: codes[i] runs with EXEC executes[i]."""
    after = [line for line in AFTER if wave64 or "exec_hi" not in line]
    if not wave64:
        after.insert(0, "s_mov_b32 s39, 0")
    lines = list(PROLOGUE) + list(prepare)
    for code, execute in zip(codes, executes):
        lines += [*BEFORE, *set_execute(execute, wave64), code, *after, *NEXT]
    return ASSEMBLERS[wave64].program(lines + ["s_endpgm"])


def run(program, count, inputs, scalars, wave64, mode):
    """inputs: (LANES, 16) dwords. Returns (count, LANES, OUTPUT_DWORDS) dwords."""
    output = np.full((count, LANES, OUTPUT_BYTES // 4), 0xDDDDDDDD, np.uint32)
    words = scalars.words()
    outcome = outboard_sim.run(program, [inputs, output, words, 0], block=(LANES, 1, 1),
                               wave64=wave64, strict=False, float_mode=mode.float_mode,
                               ieee=mode.ieee, dx10_clamp=mode.dx10_clamp, limit=0)
    assert outcome.status == outboard_sim.DONE, outcome.message
    return output[:, :, :OUTPUT_DWORDS]
