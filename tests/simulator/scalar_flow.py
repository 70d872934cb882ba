"""Branches, jumps, moved registers, mode registers, waits and the like: snippets of assembly that
leave their answers in s[40:47].

Each snippet starts with s[40:47] and s[80:95] set to 0 and 100 to 115, EXEC full, SCC clear and VCC 0.
Source where no other is named: AMD's RDNA3 ISA guide, sections 4 and 16.1 to 16.5.
"""

from dataclasses import dataclass

import numpy as np

import outboard_sim

RESULTS = 8


@dataclass(frozen=True)
class Snippet:
    covers: str
    text: str
    want: tuple          # of s40, s41, ...; the rest stays 0
    only: int = 0        # 32 or 64: of this wave size alone


def condition(name, prepare, taken):
    """s40: 1 if not taken; s41: 1 in either case."""
    return Snippet(name, f"{prepare}\n{name} .Lto@\ns_mov_b32 s40, 1\n.Lto@:\ns_mov_b32 s41, 1",
                   (0 if taken else 1, 1))


SCC0, SCC1 = "s_cmp_eq_u32 s40, 1", "s_cmp_eq_u32 s40, 0"
NO_LANES, SOME_LANES = "s_mov_b64 exec, 0", "s_mov_b64 exec, 2"

SNIPPETS = [
    condition("s_branch", "", True),
    condition("s_cbranch_scc0", SCC0, True), condition("s_cbranch_scc0", SCC1, False),
    condition("s_cbranch_scc1", SCC0, False), condition("s_cbranch_scc1", SCC1, True),
    condition("s_cbranch_vccz", "", True), condition("s_cbranch_vccz", "s_mov_b32 vcc_lo, 4", False),
    condition("s_cbranch_vccnz", "", False), condition("s_cbranch_vccnz", "s_mov_b32 vcc_lo, 4", True),
    condition("s_cbranch_execz", NO_LANES, True), condition("s_cbranch_execz", SOME_LANES, False),
    condition("s_cbranch_execnz", NO_LANES, False), condition("s_cbranch_execnz", SOME_LANES, True),
    # No debugger is attached.
    condition("s_cbranch_cdbgsys", "", False), condition("s_cbranch_cdbguser", "", False),
    condition("s_cbranch_cdbgsys_or_user", "", False), condition("s_cbranch_cdbgsys_and_user", "", False),
    # The upper half of VCC and EXEC counts in wave64 alone.
    Snippet("s_cbranch_vccz", "s_mov_b32 vcc_hi, 1\ns_cbranch_vccz .Lto@\ns_mov_b32 s40, 1\n.Lto@:",
            (0,), 32),
    Snippet("s_cbranch_vccz", "s_mov_b32 vcc_hi, 1\ns_cbranch_vccz .Lto@\ns_mov_b32 s40, 1\n.Lto@:",
            (1,), 64),
    Snippet("s_cbranch_vccnz", "s_mov_b32 vcc_hi, 1\ns_cbranch_vccnz .Lto@\ns_mov_b32 s40, 1\n.Lto@:",
            (0,), 64),
    Snippet("s_cbranch_execnz", "s_mov_b32 exec_lo, 0\ns_cbranch_execnz .Lto@\ns_mov_b32 s40, 1\n.Lto@:",
            (0,), 64),
    Snippet("s_cbranch_execz", "s_mov_b32 exec_lo, 0\ns_cbranch_execz .Lto@\ns_mov_b32 s40, 1\n.Lto@:",
            (1,), 64),
    # Backwards, and further than a page.
    Snippet("s_cbranch_scc1", ".Lback@:\ns_add_u32 s40, s40, 1\ns_cmp_lt_u32 s40, 10\n"
            "s_cbranch_scc1 .Lback@", (10,)),
    Snippet("s_branch", "s_branch .Lfar@\n.rept 3000\ns_add_u32 s40, s40, 1\n.endr\n.Lfar@:\n"
            "s_add_u32 s41, s41, 5", (0, 5)),

    # Jumps
    Snippet("s_getpc_b64", "s_getpc_b64 s[48:49]\ns_getpc_b64 s[50:51]\ns_sub_u32 s40, s50, s48\n"
            "s_subb_u32 s41, s51, s49", (4, 0)),
    Snippet("s_setpc_b64", "s_getpc_b64 s[48:49]\n.Lhere@:\ns_add_u32 s48, s48, .Lto@-.Lhere@\n"
            "s_addc_u32 s49, s49, 0\ns_setpc_b64 s[48:49]\ns_mov_b32 s40, 1\n.Lto@:\ns_mov_b32 s41, 1",
            (0, 1)),
    Snippet("s_swappc_b64", "s_getpc_b64 s[48:49]\n.Lhere@:\ns_add_u32 s50, s48, .Lto@-.Lhere@\n"
            "s_addc_u32 s51, s49, 0\ns_swappc_b64 s[50:51], s[50:51]\n.Lreturn@:\ns_mov_b32 s40, 1\n"
            ".Lto@:\ns_sub_u32 s41, s50, s48\ns_sub_u32 s42, s41, .Lreturn@-.Lhere@\ns_mov_b32 s41, 0",
            (0, 0, 0)),
    Snippet("s_call_b64", "s_getpc_b64 s[48:49]\n.Lhere@:\ns_call_b64 s[50:51], .Lto@\n.Lreturn@:\n"
            "s_branch .Lend@\n.Lto@:\ns_sub_u32 s40, s50, s48\ns_sub_u32 s40, s40, .Lreturn@-.Lhere@\n"
            "s_add_u32 s41, s41, 1\ns_setpc_b64 s[50:51]\n.Lend@:\ns_add_u32 s42, s41, 1", (0, 1, 2)),

    # Registers moved by M0
    Snippet("s_movrels_b32", "s_mov_b32 m0, 3\ns_movrels_b32 s40, s80", (103,)),
    Snippet("s_movrels_b64", "s_mov_b32 m0, 6\ns_movrels_b64 s[40:41], s[82:83]", (108, 109)),
    Snippet("s_movreld_b32", "s_mov_b32 m0, 2\ns_movreld_b32 s40, s85", (0, 0, 105)),
    Snippet("s_movreld_b64", "s_mov_b32 m0, 4\ns_movreld_b64 s[40:41], s[86:87]", (0, 0, 0, 0, 106, 107)),
    Snippet("s_movrelsd_2_b32", "s_mov_b32 m0, 0x40005\ns_movrelsd_2_b32 s40, s81",
            (0, 0, 0, 0, 106)),

    # Hardware registers: MODE has round in bits 0 to 3, denormals in 4 to 7, DX10_CLAMP in 8, IEEE in 9.
    Snippet("s_getreg_b32", "s_getreg_b32 s40, hwreg(HW_REG_MODE, 0, 10)\n"
            "s_getreg_b32 s41, hwreg(HW_REG_MODE, 4, 4)\ns_getreg_b32 s42, hwreg(HW_REG_MODE, 8, 2)",
            (0x1F0, 0xF, 1)),
    Snippet("s_setreg_b32", "s_mov_b32 s48, 0xfffffff2\ns_setreg_b32 hwreg(HW_REG_MODE, 2, 2), s48\n"
            "s_getreg_b32 s40, hwreg(HW_REG_MODE, 0, 10)\ns_setreg_b32 hwreg(HW_REG_MODE, 0, 4), s47\n"
            "s_getreg_b32 s41, hwreg(HW_REG_MODE, 0, 4)", (0x1F8, 0)),
    Snippet("s_setreg_imm32_b32", "s_setreg_imm32_b32 hwreg(HW_REG_MODE, 0, 8), 0x1a5\n"
            "s_getreg_b32 s40, hwreg(HW_REG_MODE, 0, 10)\n"
            "s_setreg_imm32_b32 hwreg(HW_REG_MODE, 0, 8), 0xf0\n"
            "s_getreg_b32 s41, hwreg(HW_REG_MODE, 0, 32)\ns_and_b32 s41, s41, 0x3ff", (0x1A5, 0x1F0)),
    # 1 + 2**-24 lies between two floats: rounding up shows in the last bit (0x3f800001).
    Snippet("s_round_mode", "v_mov_b32_e32 v2, 0x33800000\nv_add_f32_e32 v3, 1.0, v2\n"
            "v_readfirstlane_b32 s40, v3\ns_round_mode 0x1\nv_add_f32_e32 v3, 1.0, v2\n"
            "v_readfirstlane_b32 s41, v3\ns_getreg_b32 s42, hwreg(HW_REG_MODE, 0, 8)\ns_round_mode 0x0",
            (0x3F800000, 0x3F800001, 0xF1)),
    # The denormal 1 doubled, with denormals flushed on the way in, out, or not.
    Snippet("s_denorm_mode", "v_mov_b32_e32 v2, 1\ns_denorm_mode 0x0\nv_add_f32_e32 v3, v2, v2\n"
            "v_readfirstlane_b32 s40, v3\ns_getreg_b32 s41, hwreg(HW_REG_MODE, 0, 8)\ns_denorm_mode 0xf\n"
            "v_add_f32_e32 v3, v2, v2\nv_readfirstlane_b32 s42, v3", (0, 0, 2)),
    # SCC and "EXEC is zero" in STATUS.
    Snippet("s_getreg_b32", f"{SCC1}\ns_getreg_b32 s40, hwreg(HW_REG_STATUS, 0, 1)\n"
            "s_mov_b64 exec, 0\ns_getreg_b32 s41, hwreg(HW_REG_STATUS, 9, 1)", (1, 1)),
    # The answers themselves are the machine's: time goes on, the doorbell's number is small.
    Snippet("s_sendmsg_rtn_b64", "s_mov_b32 s49, -1\ns_sendmsg_rtn_b64 s[48:49], sendmsg(MSG_RTN_GET_REALTIME)\n"
            "s_waitcnt lgkmcnt(0)\ns_nop 0\ns_sendmsg_rtn_b64 s[50:51], sendmsg(MSG_RTN_GET_REALTIME)\n"
            "s_waitcnt lgkmcnt(0)\ns_sub_u32 s52, s50, s48\ns_subb_u32 s53, s51, s49\n"
            "s_cmp_lg_u64 s[52:53], 0\ns_cselect_b32 s40, 1, 0\ns_lshr_b32 s41, s53, 31", (1, 0)),
    Snippet("s_sendmsg_rtn_b32", "s_mov_b32 s48, -1\ns_sendmsg_rtn_b32 s48, sendmsg(MSG_RTN_GET_DOORBELL)\n"
            "s_waitcnt lgkmcnt(0)\ns_cmp_lt_u32 s48, 0x400\ns_cselect_b32 s40, 1, 0", (1,)),
    Snippet("s_rfe_b64", "s_getpc_b64 s[48:49]\n.Lhere@:\ns_add_u32 s48, s48, .Lto@-.Lhere@\n"
            "s_addc_u32 s49, s49, 0\ns_rfe_b64 s[48:49]\ns_mov_b32 s40, 1\n.Lto@:\ns_mov_b32 s41, 1",
            (0, 1)),
]

# What changes nothing that a program sees: each between two looks at the registers.
NOTHING = [
    "s_nop 0", "s_nop 15", "s_sleep 0", "s_sleep 1", "s_setprio 3", "s_clause 0x1\ns_nop 0\ns_nop 0",
    "s_delay_alu instid0(VALU_DEP_1)", "s_waitcnt 0", "s_waitcnt vmcnt(3)",
    "s_waitcnt_vscnt null, 0x0", "s_waitcnt_vmcnt null, 0x0", "s_waitcnt_expcnt null, 0x0",
    "s_waitcnt_lgkmcnt null, 0x0", "s_waitcnt_depctr 0xfffe", "s_wait_idle", "s_wait_event 0x0",
    "s_icache_inv", "s_set_inst_prefetch_distance 0x3", "s_version 0x2006", "s_sethalt 0", "s_setkill 0",
    "s_incperflevel 1", "s_decperflevel 1", "s_ttracedata", "s_ttracedata_imm 0x5", "s_wakeup", "s_barrier",
    "s_gl1_inv", "s_dcache_inv", "buffer_gl0_inv", "buffer_gl1_inv", "v_nop", "v_pipeflush",
]
KEPT = ("s_cmp_eq_u32 s47, 0\ns_mov_b32 vcc_lo, 0x123\n{}\ns_cselect_b32 s40, 1, 0\ns_mov_b32 s41, vcc_lo\n"
        "s_mov_b32 s42, exec_lo\ns_mov_b32 s43, s90\nv_readfirstlane_b32 s44, v0")
for _line in NOTHING:
    SNIPPETS.append(Snippet(_line.split()[0], KEPT.format(_line), (1, 0x123, 0xFFFFFFFF, 110, 0)))

# Programs that end otherwise than by s_endpgm.
ENDS = [
    ("s_endpgm", "s_endpgm\ns_trap 1", outboard_sim.DONE),
    ("s_endpgm_saved", "s_endpgm_saved\ns_trap 1", outboard_sim.DONE),
    ("s_code_end", "s_code_end", outboard_sim.ILLEGAL_INSTRUCTION),
    ("s_trap", "s_trap 2\ns_endpgm", outboard_sim.TRAP),
    ("s_sethalt", "s_sethalt 1\ns_endpgm", outboard_sim.HANG),
    ("s_sendmsg", "s_sendmsg sendmsg(MSG_DEALLOC_VGPRS)\ns_endpgm", outboard_sim.DONE),
    ("s_branch", ".Lloop:\ns_branch .Lloop", outboard_sim.HANG),
]

# Four waves: each tells the next one something, across a barrier.
BARRIER = """
s_load_b64 s[4:5], s[0:1], 0x0
v_and_b32_e32 v0, 0x3ff, v0
v_lshlrev_b32_e32 v1, 2, v0
v_mul_u32_u24_e32 v2, 7, v0
ds_store_b32 v1, v2
s_waitcnt lgkmcnt(0)
s_barrier
v_xor_b32_e32 v3, 0x1fc, v1
ds_load_b32 v4, v3
s_waitcnt lgkmcnt(0)
global_store_b32 v1, v4, s[4:5]
s_endpgm
"""


def text_of(chosen):
    lines = ["s_load_b64 s[4:5], s[0:1], 0x0", "v_mov_b32_e32 v1, 0", "v_and_b32_e32 v0, 0x3ff, v0"]
    for number, snippet in enumerate(chosen):
        lines += [f"s_mov_b32 s{40 + i}, 0" for i in range(RESULTS)]
        lines += [f"s_mov_b32 s{80 + i}, {100 + i}" for i in range(16)]
        lines += ["s_mov_b64 exec, -1", "s_mov_b64 vcc, 0", "s_cmp_lg_u32 s40, s40"]
        lines += snippet.text.replace("@", str(number)).splitlines()
        lines += ["s_mov_b64 exec, 1", *(f"v_mov_b32_e32 v{10 + i}, s{40 + i}" for i in range(RESULTS)),
                  "s_waitcnt lgkmcnt(0)", "global_store_b128 v1, v[10:13], s[4:5]",
                  "global_store_b128 v1, v[14:17], s[4:5] offset:16",
                  f"v_add_nc_u32_e32 v1, {RESULTS * 4}, v1"]
    return "\n".join(lines + ["s_endpgm"]) + "\n"


def check(wave64, report):
    size = 64 if wave64 else 32
    chosen = [s for s in SNIPPETS if s.only in (0, size)]
    output = np.zeros((len(chosen), RESULTS), np.uint32)
    code = outboard_sim.assemble(text_of(chosen), wave64)
    outcome = outboard_sim.run(code, [output], block=(size, 1, 1), wave64=wave64, strict=False)
    if outcome.status != outboard_sim.DONE:
        report.failures.append(outcome.message)
    for snippet, got in zip(chosen, output):
        want = snippet.want + (0,) * (RESULTS - len(snippet.want))
        report.cases += 1
        report.covered.add(snippet.covers)
        if tuple(int(x) for x in got) != want:
            report.failures.append(f"{snippet.text!r} (wave{size}): {[hex(x) for x in got]}, expected "
                                   f"{[hex(x) for x in want]}")
    for name, text, status in ENDS:
        outcome = outboard_sim.run(outboard_sim.assemble(text + "\n", wave64), wave64=wave64, limit=1000)
        report.cases += 1
        report.covered.add(name)
        if outcome.status != status:
            report.failures.append(f"{text!r}: status {outcome.status} {outcome.message}, expected {status}")
    check_barrier(wave64, report)


def check_barrier(wave64, report):
    output = np.zeros(128, np.uint32)
    outcome = outboard_sim.run(outboard_sim.assemble(BARRIER, wave64), [output], block=(128, 1, 1),
                               wave64=wave64, lds=1024)
    if outcome.status != outboard_sim.DONE or outcome.violations or any(output != 7 * (127 - np.arange(128))):
        report.failures.append(f"barrier: {outcome.message} {outcome.violation_text} {output}")
