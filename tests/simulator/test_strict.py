"""Mistakes in kernels, one each: strict mode names the mistake, and passes its right twin."""

import numpy as np
import pytest

import outboard_sim as sim
from outboard_sim import assemble

# s[4:5]: first argument, v1: four times the thread's number. s13: workgroup.
START = """
  s_load_b64 s[4:5], s[0:1], 0x0
  v_lshlrev_b32_e32 v1, 2, v0
  s_waitcnt lgkmcnt(0)
"""
END = "\n  s_endpgm\n"


def both(**options):
    """A program with `{mistake|right}` choices, as two programs."""
    def make(text, right):
        out = ""
        for part in text.split("{"):
            choice, brace, rest = part.partition("}")
            out += choice.split("|")[1 if right else 0] + rest if brace else part
        return out
    return lambda name, rule, text, **more: pytest.param(rule, make(text, False), make(text, True),
                                                         {**options, **more}, id=name)


case = both()

CASES = [
    case("load_not_waited_for", "missing-waitcnt", START + """
  global_load_b32 v2, v1, s[4:5]
  {s_nop 0|s_waitcnt vmcnt(0)}
  v_add_nc_u32_e32 v2, 1, v2
  global_store_b32 v1, v2, s[4:5]"""),
    case("scalar_load_not_waited_for", "missing-waitcnt", """
  s_load_b64 s[4:5], s[0:1], 0x0
  v_lshlrev_b32_e32 v1, 2, v0
  {s_nop 0|s_waitcnt lgkmcnt(0)}
  global_store_b32 v1, v0, s[4:5]"""),
    case("lds_load_not_waited_for", "missing-waitcnt", START + """
  ds_store_b32 v1, v0
  ds_load_b32 v2, v1
  {s_nop 0|s_waitcnt lgkmcnt(0)}
  global_store_b32 v1, v2, s[4:5]""", lds=512),
    case("one_load_too_few_waited_for", "missing-waitcnt", START + """
  global_load_b32 v2, v1, s[4:5]
  global_load_b32 v3, v1, s[4:5] offset:128
  {s_waitcnt vmcnt(1)|s_waitcnt vmcnt(0)}
  v_add_nc_u32_e32 v3, 1, v3
  s_waitcnt vmcnt(0)
  global_store_b32 v1, v3, s[4:5]"""),
    case("scalar_loads_return_in_any_order", "missing-waitcnt", """
  s_load_b64 s[4:5], s[0:1], 0x0
  s_load_b64 s[6:7], s[0:1], 0x0
  v_lshlrev_b32_e32 v1, 2, v0
  {s_waitcnt lgkmcnt(1)|s_waitcnt lgkmcnt(0)}
  global_store_b32 v1, v0, s[4:5]"""),
    case("register_overwritten_while_loading", "missing-waitcnt", START + """
  global_load_b32 v2, v1, s[4:5]
  {s_nop 0|s_waitcnt vmcnt(0)}
  v_mov_b32_e32 v2, 7
  s_waitcnt vmcnt(0)
  global_store_b32 v1, v2, s[4:5]"""),
    case("flat_load_waits_for_both_counters", "missing-waitcnt", START + """
  v_add_co_u32 v2, vcc_lo, s4, v1
  v_mov_b32_e32 v3, s5
  v_add_co_ci_u32_e32 v3, vcc_lo, 0, v3, vcc_lo
  flat_load_b32 v4, v[2:3]
  {s_waitcnt vmcnt(0)|s_waitcnt vmcnt(0) lgkmcnt(0)}
  v_add_nc_u32_e32 v4, 1, v4
  global_store_b32 v1, v4, s[4:5]"""),
    case("atomic_result_not_waited_for", "missing-waitcnt", START + """
  v_mov_b32_e32 v2, 1
  global_atomic_add_u32 v3, v1, v2, s[4:5] glc
  {s_nop 0|s_waitcnt vmcnt(0)}
  v_add_nc_u32_e32 v3, 1, v3
  s_waitcnt vmcnt(0)
  global_store_b32 v1, v3, s[4:5]"""),
    case("stored_register_never_written", "uninitialized-vgpr", START + """
  {s_nop 0|v_mov_b32_e32 v9, 5}
  v_add_nc_u32_e32 v2, 1, v9
  global_store_b32 v1, v2, s[4:5]"""),
    case("address_register_never_written", "uninitialized-vgpr", START + """
  v_mov_b32_e32 v3, 0
  {v_and_b32_e32 v2, 0x7c, v9|v_and_b32_e32 v2, 0x7c, v1}
  global_store_b32 v2, v0, s[4:5]""", block=(1, 1, 1)),
    case("written_in_some_lanes_only", "uninitialized-vgpr", START + """
  s_mov_b32 s8, exec_lo
  v_cmp_gt_u32_e32 vcc_lo, 16, v0
  s_and_b32 exec_lo, exec_lo, {vcc_lo|s8}
  v_mov_b32_e32 v2, 5
  s_mov_b32 exec_lo, s8
  global_store_b32 v1, v2, s[4:5]"""),
    case("scalar_address_never_written", "uninitialized-sgpr", START + """
  {s_nop 0|s_mov_b64 s[20:21], s[4:5]}
  s_cmp_eq_u32 s13, 0
  s_cbranch_scc0 done
  s_mov_b64 s[22:23], s[20:21]
  global_store_b32 v1, v0, s[22:23]
done:"""),
    case("jump_decided_by_unwritten_vcc", "uninitialized-sgpr", START + """
  {s_nop 0|v_cmp_gt_u32_e32 vcc_lo, 16, v0}
  s_cbranch_vccz done
  global_store_b32 v1, v0, s[4:5]
done:"""),
    case("lds_value_never_written", "uninitialized-vgpr", START + """
  {s_nop 0|ds_store_b32 v1, v0}
  ds_load_b32 v2, v1
  s_waitcnt lgkmcnt(0)
  global_store_b32 v1, v2, s[4:5]""", lds=512),
    case("lds_read_before_the_barrier", "race-in-lds", START + """
  v_xor_b32_e32 v2, 0x80, v1
  ds_store_b32 v1, v0
  s_waitcnt lgkmcnt(0)
  {s_nop 0|s_barrier}
  ds_load_b32 v3, v2
  s_waitcnt lgkmcnt(0)
  global_store_b32 v1, v3, s[4:5]""", lds=512, block=(64, 1, 1)),
    case("lds_written_by_two_waves", "race-in-lds", START + """
  v_and_b32_e32 v2, {0x7c|0xfc}, v1
  ds_store_b32 v2, v0
  s_waitcnt lgkmcnt(0)
  s_barrier
  ds_load_b32 v3, v2
  s_waitcnt lgkmcnt(0)
  global_store_b32 v1, v3, s[4:5]""", lds=512, block=(64, 1, 1)),
    case("lds_overwritten_while_others_read", "race-in-lds", START + """
  ds_store_b32 v1, v0
  s_waitcnt lgkmcnt(0)
  s_barrier
  v_xor_b32_e32 v2, 0x80, v1
  ds_load_b32 v3, v2
  s_waitcnt lgkmcnt(0)
  {s_nop 0|s_barrier}
  ds_store_b32 v1, v3
  s_waitcnt lgkmcnt(0)
  global_store_b32 v1, v3, s[4:5]""", lds=512, block=(64, 1, 1)),
    case("lds_store_not_waited_for_at_the_barrier", "missing-waitcnt", START + """
  v_xor_b32_e32 v2, 0x80, v1
  ds_store_b32 v1, v0
  {s_nop 0|s_waitcnt lgkmcnt(0)}
  s_barrier
  ds_load_b32 v3, v2
  s_waitcnt lgkmcnt(0)
  global_store_b32 v1, v3, s[4:5]""", lds=512, block=(64, 1, 1)),
    case("lds_out_of_range", "lds-out-of-range", START + """
  ds_store_b32 v1, v0 {offset:512|offset:256}
  s_waitcnt lgkmcnt(0)
  global_store_b32 v1, v0, s[4:5]""", lds=512),
    case("workgroups_write_the_same_word", "race-between-workgroups", START + """
  s_lshl_b32 s6, s13, 7
  v_add_nc_u32_e32 v2, {0|s6}, v1
  v_mov_b32_e32 v3, s13
  global_store_b32 v2, v3, s[4:5]""", grid=(2,)),
    case("workgroup_reads_what_another_writes", "race-between-workgroups", START + """
  s_lshl_b32 s6, s13, 7
  v_add_nc_u32_e32 v2, s6, v1
  v_add_nc_u32_e32 v4, {128|0x400}, v2
  global_store_b32 v2, v1, s[4:5]
  global_load_b32 v3, v4, s[4:5]
  s_waitcnt vmcnt(0)
  v_add_nc_u32_e32 v3, v3, v3""", grid=(3,)),
    case("counter_without_atomic", "race-between-workgroups", START + """
  v_mov_b32_e32 v2, 0
  v_mov_b32_e32 v3, 1
  {global_load_b32 v4, v2, s[4:5]|global_atomic_add_u32 v2, v3, s[4:5]}
  s_waitcnt vmcnt(0)
  {global_store_b32 v2, v3, s[4:5]|s_nop 0}""", grid=(4,), block=(1, 1, 1)),
    case("flag_raised_before_the_data_arrived", "race-between-workgroups", START + """
  v_mov_b32_e32 v2, 0
  v_mov_b32_e32 v3, 1
  s_cmp_eq_u32 s13, 0
  s_cbranch_scc0 reader
  global_store_b32 v2, v3, s[4:5] offset:256
  {s_nop 0|s_waitcnt_vscnt null, 0x0}
  global_atomic_add_u32 v2, v3, s[4:5]
  s_endpgm
reader:
  global_load_b32 v4, v2, s[4:5] glc
  s_waitcnt vmcnt(0)
  v_readfirstlane_b32 s8, v4
  s_sleep 1
  s_cmp_eq_u32 s8, 0
  s_cbranch_scc1 reader
  buffer_gl0_inv
  global_load_b32 v5, v2, s[4:5] offset:256
  s_waitcnt vmcnt(0)
  global_store_b32 v2, v5, s[4:5] offset:512""", grid=(2,), block=(1, 1, 1)),
    case("caches_not_invalidated_after_the_flag", "race-between-workgroups", START + """
  v_mov_b32_e32 v2, 0
  v_mov_b32_e32 v3, 1
  s_cmp_eq_u32 s13, 0
  s_cbranch_scc0 reader
  global_store_b32 v2, v3, s[4:5] offset:256
  s_waitcnt_vscnt null, 0x0
  global_atomic_add_u32 v2, v3, s[4:5]
  s_endpgm
reader:
  global_load_b32 v4, v2, s[4:5] glc
  s_waitcnt vmcnt(0)
  v_readfirstlane_b32 s8, v4
  s_sleep 1
  s_cmp_eq_u32 s8, 0
  s_cbranch_scc1 reader
  {s_nop 0|buffer_gl0_inv}
  global_load_b32 v5, v2, s[4:5] offset:256
  s_waitcnt vmcnt(0)
  global_store_b32 v2, v5, s[4:5] offset:512""", grid=(2,), block=(1, 1, 1)),
    case("register_past_the_allocation", "vgpr-out-of-range", START + """
  v_mov_b32_e32 {v40|v15}, 5
  global_store_b32 v1, {v40|v15}, s[4:5]""", vgprs=16),
]



def altered(line, bit, value, width=9):
    """The words of an instruction with one field changed: what llvm-mc refuses to write."""
    code = int.from_bytes(assemble(line), "little")
    code = code & ~((1 << width) - 1 << bit) | value << bit
    return ".long " + ", ".join(hex(code >> 32 * i & 0xFFFFFFFF) for i in range(2))


def fill(first, last):
    return "\n".join(f"  v_mov_b32_e32 v{n}, 0" for n in range(first, last + 1))


WAVE64 = {"wave64": True, "block": (64, 1, 1)}

# Sequences and operands that the chip gets wrong; LLVM keeps its own code from them.
CASES += [
    case("transcendental_used_at_once", "transcendental-use", START + """
  v_rcp_f32_e32 v2, v1
  {s_nop 0|s_waitcnt_depctr 0xfff}
  v_add_f32_e32 v2, 1.0, v2
  global_store_b32 v1, v2, s[4:5]"""),
    case("transcendental_used_by_the_next_one", "transcendental-use", START + """
  v_rcp_f32_e32 v2, v1
  {v_nop|s_waitcnt_depctr 0xfff}
  v_exp_f32_e32 v2, v2
  global_store_b32 v1, v2, s[4:5]"""),
    case("five_instructions_are_too_few", "transcendental-use", START + """
  v_rcp_f32_e32 v2, v1
  v_nop
  v_sqrt_f32_e32 v3, v1
  v_nop
  v_nop
  v_nop
  {s_nop 0|v_nop}
  v_add_f32_e32 v2, 1.0, v2
  global_store_b32 v1, v2, s[4:5]"""),
    case("a_memory_instruction_settles_it", "transcendental-use", START + """
  v_rcp_f32_e32 v2, v1
  {s_nop 0|global_store_b32 v1, v2, s[4:5] offset:512}
  v_add_f32_e32 v2, 1.0, v2
  global_store_b32 v1, v2, s[4:5]"""),
    case("matrix_product_of_a_product", "wmma-operand", START + fill(8, 39) + """
  v_wmma_f32_16x16x16_f16 v[8:15], v[16:23], v[24:31], v[8:15]
  {s_nop 0|v_nop}
  v_wmma_f32_16x16x16_f16 v[32:39], v[24:31], v[8:15], v[32:39]
  global_store_b32 v1, v32, s[4:5]"""),
    case("permlane_after_a_compare", "cmpx-permlane", START + """
  v_cmpx_gt_u32_e32 16, v0
  {v_nop|v_mov_b32_e32 v1, v1}
  v_permlane16_b32 v2, v1, s4, s5
  global_store_b32 v1, v2, s[4:5]"""),
    case("operands_of_before_and_after", "partial-forwarding", START + """
  v_mov_b32_e32 v2, 1
  v_nop
  s_mov_b64 exec, -1
  v_mov_b32_e32 v3, 2
  {s_nop 0|s_waitcnt_depctr 0xfff}
  v_add_nc_u32_e32 v2, v2, v3
  global_store_b32 v1, v2, s[4:5]""", **WAVE64),
    case("operands_written_far_apart", "partial-forwarding", START + """
  v_mov_b32_e32 v2, 1
  v_nop
  s_mov_b64 exec, -1
  v_nop
  {s_nop 0|v_nop}
  v_mov_b32_e32 v3, 2
  v_add_nc_u32_e32 v2, v2, v3
  global_store_b32 v1, v2, s[4:5]""", **WAVE64),
    case("mask_overwritten_and_read", "mask-write", START + """
  v_cmp_gt_u32_e64 s[6:7], 16, v0
  v_cndmask_b32_e64 v2, 0, 1, s[6:7]
  s_mov_b64 s[6:7], 0
  {s_nop 0|s_waitcnt_depctr 0xfffe}
  s_or_b64 s[8:9], s[6:7], exec
  global_store_b32 v1, v2, s[4:5]""", **WAVE64),
    case("vcc_is_a_mask_too", "mask-write", START + """
  v_cmp_gt_u32_e32 vcc, 16, v0
  v_cndmask_b32_e32 v2, 0, v1, vcc
  {v_mov_b32_e32 v3, 5|v_mov_b32_e32 v3, s4}
  s_mov_b32 vcc_hi, 0
  s_or_b32 s8, vcc_hi, 1
  global_store_b32 v1, v2, s[4:5]""", **WAVE64),
    case("wide_product_over_its_factor", "mad-overlap", START + """
  v_mov_b32_e32 v4, 5
  v_mad_u64_u32 {v[4:5]|v[6:7]}, null, v0, v4, 0
  global_store_b32 v1, {v4|v6}, s[4:5]"""),
    case("wide_product_over_its_summand", "mad-overlap", START + """
  v_mov_b32_e32 v4, 5
  v_mov_b32_e32 v5, 0
  v_mad_u64_u32 {v[4:5]|v[6:7]}, null, v0, 3, v[4:5]
  global_store_b32 v1, {v4|v6}, s[4:5]"""),
    case("both_halves_read_a_bank", "vopd-banks", START + fill(4, 8) + """
  {""" + altered("v_dual_add_f32 v2, v4, v6 :: v_dual_add_f32 v3, v5, v7", 32, 256 + 8) +
         """|v_dual_add_f32 v2, v4, v6 :: v_dual_add_f32 v3, v5, v7}
  global_store_b32 v1, v2, s[4:5]"""),
    case("three_scalar_operands", "constant-bus", START + """
  {""" + altered("v_add3_u32 v2, s4, s5, v0", 50, 1) + """|v_add3_u32 v2, s4, s5, v0}
  global_store_b32 v1, v2, s[4:5]"""),
    case("two_scalar_operands_of_a_wide_shift", "constant-bus", START + """
  {""" + altered("v_lshlrev_b64 v[2:3], s4, v[0:1]", 41, 0) + """|v_lshlrev_b64 v[2:3], 2, s[0:1]}
  global_store_b32 v1, v2, s[4:5]"""),
    case("clause_of_two_kinds", "clause", START + """
  s_clause 0x1
  global_load_b32 v2, v1, s[4:5]
  {global_store_b32 v1, v0, s[4:5] offset:512|global_load_b32 v3, v1, s[4:5] offset:512}"""),
    case("clause_with_a_wait", "clause", START + """
  s_clause 0x2
  global_load_b32 v2, v1, s[4:5]
  {s_waitcnt vmcnt(0)|s_nop 0}
  global_load_b32 v3, v1, s[4:5] offset:512
  s_waitcnt vmcnt(0)"""),
    case("clause_longer_than_the_chip_takes", "clause", START + """
  s_clause {0x20|0x1f}""" + "\n  global_load_b32 v2, v1, s[4:5]" * 33),
    case("registers_given_back_without_a_nop", "vgpr-dealloc", START + """
  global_store_b32 v1, v0, s[4:5]
  {s_mov_b32 s6, 0|s_nop 0}
  s_sendmsg sendmsg(MSG_DEALLOC_VGPRS)"""),
    case("registers_given_back_with_scratch_stores", "vgpr-dealloc", START + """
  scratch_store_b32 off, v0, off
  {s_waitcnt vmcnt(0)|s_waitcnt_vscnt null, 0x0}
  s_nop 0
  s_sendmsg sendmsg(MSG_DEALLOC_VGPRS)""", scratch=64),
    case("registers_used_after_they_were_given_back", "vgpr-dealloc", START + """
  s_nop 0
  {s_sendmsg sendmsg(MSG_DEALLOC_VGPRS)|s_nop 0}
  global_store_b32 v1, v0, s[4:5]"""),
]

# Mistakes that stop the kernel: (status, part of the message).
FATAL = [
    case("read_outside_every_buffer", (sim.MEMORY_VIOLATION, "read at"), START + """
  {s_add_u32 s5, s5, 0x100|s_nop 0}
  global_load_b32 v2, v1, s[4:5]
  s_waitcnt vmcnt(0)"""),
    case("one_past_the_end", (sim.MEMORY_VIOLATION, "write at"), START + """
  global_store_b32 v1, v0, s[4:5] offset:{4000|3968}""", block=(32, 1, 1)),
    case("write_to_read_only_memory", (sim.MEMORY_VIOLATION, "write at"), START + """
  {global_store_b32 v1, v0, s[0:1]|global_store_b32 v1, v0, s[4:5]}""", block=(2, 1, 1)),
    case("misaligned_atomic", (sim.MEMORY_VIOLATION, "misaligned"), START + """
  v_mov_b32_e32 v2, 1
  global_atomic_add_u32 v1, v2, s[4:5] offset:{2|4}"""),
    case("scratch_past_the_lane", (sim.MEMORY_VIOLATION, "scratch"), START + """
  scratch_store_b32 off, v0, off offset:{64|60}""", scratch=64),
    case("no_instruction", (sim.ILLEGAL_INSTRUCTION, "illegal instruction"), START + """
  {.long 0xbfff0000|s_nop 0}"""),
    case("no_end", (sim.ILLEGAL_INSTRUCTION, "past the end"), START + """
  s_branch {over|end}
end:
  s_endpgm
over:
  s_code_end"""),
    case("loop_without_end", (sim.HANG, "still running"), START + """
again:
  s_cmp_eq_u32 s13, {1|0}
  s_cbranch_scc0 again"""),
    case("wave_left_at_a_halt", (sim.HANG, "s_sethalt"), START + """
  s_sethalt {1|0}"""),
    case("trap", (sim.TRAP, "s_trap"), START + """
  {s_trap 2|s_nop 0}"""),
    case("jump_to_nowhere", (sim.MEMORY_VIOLATION, "instruction fetch"), START + """
  s_getpc_b64 s[8:9]
  s_add_u32 s9, s9, {0x100|0}
  s_add_u32 s8, s8, 12
  s_setpc_b64 s[8:9]"""),
]


def execute(text, options):
    memory = np.zeros(1024, np.uint32)
    code = assemble(text + END, options.get("wave64", False))
    return sim.run(code, [memory], limit=1_000_000, **options)


@pytest.mark.parametrize("rule, mistake, right, options", CASES)
def test_rule(rule, mistake, right, options):
    wrong = execute(mistake, options)
    # A wrong address may also end the kernel; the rule is named all the same.
    assert wrong.status in (sim.DONE, sim.MEMORY_VIOLATION), wrong.message
    assert rule in wrong.rules(), wrong.violation_text
    fine = execute(right, options)
    assert fine.status == sim.DONE, fine.message
    assert fine.violations == 0, fine.violation_text


@pytest.mark.parametrize("expected, mistake, right, options", FATAL)
def test_stop(expected, mistake, right, options):
    status, words = expected
    wrong = execute(mistake, options)
    assert (wrong.status, words in wrong.message) == (status, True), wrong.message
    fine = execute(right, options)
    assert fine.status == sim.DONE, fine.message
    assert fine.violations == 0, fine.violation_text


def test_sixteen_initial_sgprs():
    """A launch of wave32 loads 16 user and system SGPRs or more; of wave64 any number."""
    def rules(**options):
        return sim.run(assemble("s_endpgm", options.get("wave64", False)), [], **options).rules()
    assert rules(initial_sgprs=15) == ["few-initial-sgprs"]
    assert rules(initial_sgprs=15, group_ids="x") == ["few-initial-sgprs"]
    assert rules(initial_sgprs=16) == rules(initial_sgprs=2, group_ids="", wave64=True) == []


def test_privileged_waves_pass_a_trap():
    """As the hardware does: a trap with number 2 is a no-op when PGM_RSRC1.PRIV is set."""
    for number, status in ((2, sim.DONE), (3, sim.TRAP)):
        assert sim.run(assemble(f"s_trap {number}\n s_endpgm"), [], privileged=True).status == status


def test_report_names_everything():
    text = START + """
  global_load_b32 v2, v1, s[4:5]
  v_add_nc_u32_e32 v2, 1, v2""" + END
    outcome = sim.run(assemble(text), [np.zeros(1024, np.uint32)], name="adder", grid=(2,))
    first = outcome.violation_text.splitlines()[0]
    for part in ("missing-waitcnt: adder at 0x", "`v_add_nc_u32_e32 v2, 1, v2`", "workgroup 0, wave 0",
                 "v2 is still being loaded by the instruction at 0x", "no s_waitcnt vmcnt"):
        assert part in first, first


def test_not_strict_is_silent():
    text = START + """
  global_load_b32 v2, v1, s[4:5]
  v_add_nc_u32_e32 v2, 1, v2
  global_store_b32 v1, v2, s[4:5]""" + END
    memory = np.arange(1024, dtype=np.uint32)
    outcome = sim.run(assemble(text), [memory], strict=False)
    assert outcome.violations == 0
    assert (memory[:32] == np.arange(1, 33)).all()
