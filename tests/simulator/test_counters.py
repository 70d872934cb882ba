"""What the compute units count: right for kernels whose counts one can work out by hand, and the same on any
number of host threads."""

import numpy as np
import pytest

import outboard_sim as sim
from outboard_sim import assemble

LINE = 128
MIB = 1 << 20

# Every wave reads 512 bytes (16 a lane) at its own place: workgroup * 512 modulo the mask in s8.
READ = """
  s_load_b128 s[4:7], s[0:1], 0x0
  v_lshlrev_b32_e32 v1, 4, v0
  s_waitcnt lgkmcnt(0)
  s_lshl_b32 s8, s13, 9
  s_and_b32 s8, s8, s6
  v_add_nc_u32_e32 v1, s8, v1
  global_load_b128 v[4:7], v1, s[4:5]
  s_waitcnt vmcnt(0)
  v_add_f32_e32 v2, v4, v5
  s_endpgm
"""


def read(total, buffer_bytes, threads=1):
    """`total` bytes in waves of 512, from a buffer of a power of two."""
    memory = np.zeros(buffer_bytes, np.uint8)
    outcome = sim.run(assemble(READ), [memory, buffer_bytes - 1], grid=(total // 512,), caches=True, strict=False,
                      threads=threads)
    assert outcome.status == sim.DONE, outcome.message
    return outcome.counters


def lines(memory_bytes):  # the buffer may start inside a line
    return memory_bytes // LINE, memory_bytes // LINE + 1


def test_a_stream_is_read_once():
    counters = read(MIB, MIB)
    low, high = lines(MIB)
    assert low <= counters["gl2_read_misses"] - 1 <= high  # and a line of kernel arguments
    assert counters["gl2_miss_bytes"] == counters["vram_read_bytes"] == counters["gl2_read_misses"] * LINE
    assert counters["vmem_load"] == counters["waves"] == MIB // 512


def test_a_small_buffer_stays_in_gl2():
    counters = read(16 * MIB, 64 << 10)
    assert counters["gl2_reads"] >= 16 * MIB // LINE
    assert counters["vram_read_bytes"] <= (64 << 10) + 3 * LINE


def test_the_infinity_cache_holds_what_gl2_does_not():
    counters = read(32 * MIB, 16 * MIB)  # twice through 16 MiB: GL2 has 6, the Infinity Cache 96
    assert counters["gl2_miss_bytes"] >= 2 * 16 * MIB
    assert counters["vram_read_bytes"] <= 16 * MIB + 3 * LINE


LDS = """
  v_mul_u32_u24_e32 v1, {stride}, v0
  v_and_b32_e32 v1, 0x3ffc, v1
  ds_store_b32 v1, v0
  s_waitcnt lgkmcnt(0)
  s_endpgm
"""


@pytest.mark.parametrize("stride, conflicts", [(4, 0), (8, 1), (16, 3), (128, 31), (132, 0), (0, 0), (12, 0)])
def test_bank_conflicts(stride, conflicts):
    outcome = sim.run(assemble(LDS.format(stride=hex(stride))), lds=16384)
    assert outcome.counters["lds_bank_conflicts"] == conflicts
    assert outcome.counters["lds_bytes"] == 32 * 4
    assert outcome.counters["lds"] == 1


def test_instructions_by_class():
    text = """
  s_load_b64 s[4:5], s[0:1], 0x0
  s_mov_b32 s6, 10
loop:
  v_add_f32_e32 v1, v0, v0
  v_exp_f32_e32 v2, v1
  s_sub_u32 s6, s6, 1
  s_cmp_lg_u32 s6, 0
  s_cbranch_scc1 loop
  v_dot4_u32_u8 v3, v0, v0, v0
  s_barrier
  s_waitcnt lgkmcnt(0)
  global_store_b32 v0, v3, s[4:5]
  s_endpgm
"""
    outcome = sim.run(assemble(text), [np.zeros(4096, np.uint8)], block=(48, 1, 1), grid=(3,), strict=False)
    waves = 2 * 3
    expected = {"waves": waves, "workgroups": 3, "smem": waves, "salu": 21 * waves, "valu": 10 * waves,
                "transcendental": 10 * waves, "branch": 10 * waves, "dot": waves, "barrier": waves, "waitcnt": waves,
                "vmem_store": waves, "other": waves, "valu_lanes": 3 * 48 * 21}
    assert {name: outcome.counters[name] for name in expected} == expected
    assert outcome.counters["instructions"] == sum(
        outcome.counters[name] for name in "salu smem valu transcendental dot wmma lds vmem_load vmem_store vmem_atomic "
                                           "scratch branch barrier waitcnt other".split())


MIXED = """
  s_load_b128 s[4:7], s[0:1], 0x0
  v_lshlrev_b32_e32 v1, 2, v0
  s_waitcnt lgkmcnt(0)
  s_lshl_b32 s8, s13, 8
  s_mulk_i32 s13, 0x1357
  s_and_b32 s9, s13, 63
again:
  v_add_nc_u32_e32 v2, s8, v1
  v_mul_lo_u32 v3, v2, s9
  v_and_b32_e32 v3, 0xffffc, v3
  global_load_b32 v4, v3, s[4:5]
  ds_store_b32 v1, v0
  s_waitcnt vmcnt(0) lgkmcnt(0)
  s_barrier
  global_atomic_add_u32 v1, v4, s[6:7]
  scratch_store_b32 off, v4, off
  s_sub_u32 s9, s9, 1
  s_cbranch_scc0 again
  s_endpgm
"""


def test_the_same_on_any_number_of_threads():
    data, sums = np.zeros(MIB, np.uint8), np.zeros(4096, np.uint32)

    def counters(threads):
        outcome = sim.run(assemble(MIXED), [data, sums], grid=(300,), block=(64, 1, 1), lds=512, scratch=16, caches=True,
                          threads=threads, strict=True)
        assert outcome.status == sim.DONE, outcome.message
        return outcome.counters, outcome.violations

    one = counters(1)
    assert counters(2) == one
    assert counters(5) == one
