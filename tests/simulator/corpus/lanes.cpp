// What has no host twin: lanes that exchange data, workgroups that share memory, atomics, dot
// products and matrix instructions. test_corpus.py computes the answers with numpy.
#include "corpus.h"

#define LANE __builtin_amdgcn_workitem_id_x()
#define A ((const u32*)pa)
#define B ((const u32*)pb)
#define OUT ((u32*)po)

KERNEL(ballot) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_ballot_w32((A[THREAD] & 1) != 0);
}
KERNEL(read_first) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_readfirstlane(A[THREAD]);
}
KERNEL(read_lane) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_readlane(A[THREAD], 5);
}
KERNEL(bpermute) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_ds_bpermute(B[THREAD] << 2, A[THREAD]);
}
KERNEL(permute) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_ds_permute((LANE * 7 % 32) << 2, A[THREAD]);
}
KERNEL(swizzle_xor) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_ds_swizzle(A[THREAD], 0x7c1f);
}
KERNEL(swizzle_quad) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_ds_swizzle(A[THREAD], 0x801b);
}
KERNEL(permlanex) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_permlanex16(0, A[THREAD], 0x76543210, 0xfedcba98, false, false);
}
KERNEL(permlane) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_permlane16(0, A[THREAD], 0x89abcdef, 0x01234567, false, false);
}
KERNEL(dpp_quad) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_update_dpp(0, A[THREAD], 0x1b, 0xf, 0xf, true);
}
KERNEL(dpp_shift) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_update_dpp(5, A[THREAD], 0x111, 0xf, 0xf, false);
}
KERNEL(dpp_rotate) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_update_dpp(0, A[THREAD], 0x123, 0xf, 0xf, false);
}
KERNEL(dpp_mirror) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_update_dpp(0, A[THREAD], 0x140, 0xf, 0xf, false);
}
KERNEL(dpp_xmask) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_update_dpp(0, A[THREAD], 0x165, 0xf, 0xf, false);
}
KERNEL(dpp8_reverse) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_mov_dpp8(A[THREAD], 0x53977);
}
KERNEL(mbcnt) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_mbcnt_lo(A[0], 3);
}

// A sum over 256 threads in LDS.
KERNEL(block_sum) {
  USE();
  static LDS u32 part[256];
  part[LANE] = A[THREAD];
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
  for (u32 step = 128; step > 0; step >>= 1) {
    if (LANE < step) part[LANE] += part[LANE + step];
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
  }
  OUT[THREAD] = part[0] + LANE;
}

KERNEL(transpose) {
  USE();
  static LDS u32 tile[16][17];
  const u32 x = LANE % 16, y = LANE / 16, first = THREAD - LANE;
  tile[y][x] = A[THREAD];
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
  OUT[first + y * 16 + x] = tile[x][y];
}

KERNEL(lds_histogram) {
  USE();
  static LDS u32 count[32];
  if (LANE < 32) count[LANE] = 0;
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
  __hip_atomic_fetch_add(&count[A[THREAD] & 31], 1u, __ATOMIC_RELAXED,
                         __HIP_MEMORY_SCOPE_WORKGROUP);
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
  OUT[THREAD] = count[LANE & 31];
}

// Atomics on few words, so that lanes and workgroups meet. The sums are exact whatever the order.
#define GLOBAL_ATOMIC(name, T, call)  \
  KERNEL(atomic_##name) {             \
    USE();                            \
    T* p = (T*)po + (A[THREAD] & 15); \
    const T v = (T)B[THREAD];         \
    call;                             \
  }
#define AGENT __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT
GLOBAL_ATOMIC(add_u32, u32, __hip_atomic_fetch_add(p, v, AGENT))
GLOBAL_ATOMIC(add_u64, u64, __hip_atomic_fetch_add(p, v * 0x100000001ull, AGENT))
GLOBAL_ATOMIC(and_u32, u32, __hip_atomic_fetch_and(p, v | 0xff, AGENT))
GLOBAL_ATOMIC(or_u32, u32, __hip_atomic_fetch_or(p, v & 0xff0ff, AGENT))
GLOBAL_ATOMIC(xor_u32, u32, __hip_atomic_fetch_xor(p, v, AGENT))
GLOBAL_ATOMIC(min_u32, u32, __hip_atomic_fetch_min(p, v, AGENT))
GLOBAL_ATOMIC(max_i32, i32, __hip_atomic_fetch_max(p, v, AGENT))
GLOBAL_ATOMIC(min_i64, i64, __hip_atomic_fetch_min(p, (i64)v - 0x40000000, AGENT))
GLOBAL_ATOMIC(max_u64, u64, __hip_atomic_fetch_max(p, v, AGENT))
GLOBAL_ATOMIC(add_f32, f32, __hip_atomic_fetch_add(p, (f32)(i32)(B[THREAD] & 1023), AGENT))
KERNEL(atomic_cas_max) {  // a compare-and-swap loop
  USE();
  u32* p = (u32*)po + (A[THREAD] & 15);
  const u32 v = B[THREAD];
  u32 old = __hip_atomic_load(p, AGENT);
  while (old < v && !__hip_atomic_compare_exchange_strong(
                        p, &old, v, __ATOMIC_RELAXED, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT)) {
  }
}
KERNEL(atomic_ticket) {  // every thread gets another number
  USE();
  OUT[64 + __hip_atomic_fetch_add(OUT, 1u, AGENT)] = 1;
}

typedef f16 f16x2 __attribute__((ext_vector_type(2)));
typedef i16 i16x2 __attribute__((ext_vector_type(2)));
typedef short bf16x2 __attribute__((ext_vector_type(2)));
KERNEL(udot4) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_udot4(A[THREAD], B[THREAD], ((const u32*)pc)[THREAD], false);
}
KERNEL(sudot4) {
  USE();
  OUT[THREAD] =
      __builtin_amdgcn_sudot4(true, A[THREAD], true, B[THREAD], ((const u32*)pc)[THREAD], false);
}
KERNEL(mixed_dot4) {
  USE();
  OUT[THREAD] =
      __builtin_amdgcn_sudot4(true, A[THREAD], false, B[THREAD], ((const u32*)pc)[THREAD], false);
}
KERNEL(dot4_clamp) {
  USE();
  OUT[THREAD] =
      __builtin_amdgcn_sudot4(true, A[THREAD], true, B[THREAD], ((const u32*)pc)[THREAD], true);
}
KERNEL(udot8) {
  USE();
  OUT[THREAD] = __builtin_amdgcn_udot8(A[THREAD], B[THREAD], ((const u32*)pc)[THREAD], false);
}
KERNEL(sudot8) {
  USE();
  OUT[THREAD] =
      __builtin_amdgcn_sudot8(true, A[THREAD], true, B[THREAD], ((const u32*)pc)[THREAD], false);
}
KERNEL(fdot2) {
  USE();
  ((f32*)po)[THREAD] = __builtin_amdgcn_fdot2(
      ((const f16x2*)pa)[THREAD], ((const f16x2*)pb)[THREAD], ((const f32*)pc)[THREAD], false);
}

typedef f16 f16x16 __attribute__((ext_vector_type(16)));
typedef short i16x16 __attribute__((ext_vector_type(16)));
typedef f32 f32x8 __attribute__((ext_vector_type(8)));
typedef i32 i32x8 __attribute__((ext_vector_type(8)));
typedef i32 i32x4 __attribute__((ext_vector_type(4)));
typedef i32 i32x2 __attribute__((ext_vector_type(2)));

// One 16x16 product by one wave: A row-major, B given as its transpose, C and D row-major. Rows of
// A (columns of B) lie in lanes 0..15 and again in 16..31.
KERNEL(wmma_f32_f16) {
  USE();
  const u32 row = LANE % 16, half = LANE / 16;
  const f16x16 a = ((const f16x16*)pa)[row], b = ((const f16x16*)pb)[row];
  f32x8 c;
  for (u32 k = 0; k < 8; ++k) c[k] = ((const f32*)pc)[(2 * k + half) * 16 + row];
  c = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(a, b, c);
  for (u32 k = 0; k < 8; ++k) ((f32*)po)[(2 * k + half) * 16 + row] = c[k];
}
KERNEL(wmma_f32_bf16) {
  USE();
  const u32 row = LANE % 16, half = LANE / 16;
  const i16x16 a = ((const i16x16*)pa)[row], b = ((const i16x16*)pb)[row];
  f32x8 c;
  for (u32 k = 0; k < 8; ++k) c[k] = ((const f32*)pc)[(2 * k + half) * 16 + row];
  c = __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32(a, b, c);
  for (u32 k = 0; k < 8; ++k) ((f32*)po)[(2 * k + half) * 16 + row] = c[k];
}
KERNEL(wmma_f16_f16) {
  USE();
  const u32 row = LANE % 16, half = LANE / 16;
  const f16x16 a = ((const f16x16*)pa)[row], b = ((const f16x16*)pb)[row];
  f16x16 c;
  for (u32 k = 0; k < 16; ++k) c[k] = 0;
  for (u32 k = 0; k < 8; ++k) c[2 * k] = ((const f16*)pc)[(2 * k + half) * 16 + row];
  c = __builtin_amdgcn_wmma_f16_16x16x16_f16_w32(a, b, c, false);
  for (u32 k = 0; k < 8; ++k) ((f16*)po)[(2 * k + half) * 16 + row] = c[2 * k];
}
KERNEL(wmma_i32_iu8) {
  USE();
  const u32 row = LANE % 16, half = LANE / 16;
  const i32x4 a = ((const i32x4*)pa)[row], b = ((const i32x4*)pb)[row];
  i32x8 c;
  for (u32 k = 0; k < 8; ++k) c[k] = ((const i32*)pc)[(2 * k + half) * 16 + row];
  c = __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32(true, a, false, b, c, false);
  for (u32 k = 0; k < 8; ++k) ((i32*)po)[(2 * k + half) * 16 + row] = c[k];
}
KERNEL(wmma_i32_iu4) {
  USE();
  const u32 row = LANE % 16, half = LANE / 16;
  const i32x2 a = ((const i32x2*)pa)[row], b = ((const i32x2*)pb)[row];
  i32x8 c;
  for (u32 k = 0; k < 8; ++k) c[k] = ((const i32*)pc)[(2 * k + half) * 16 + row];
  c = __builtin_amdgcn_wmma_i32_16x16x16_iu4_w32(true, a, true, b, c, false);
  for (u32 k = 0; k < 8; ++k) ((i32*)po)[(2 * k + half) * 16 + row] = c[k];
}

// The hardware's approximate functions: within 1 ulp (test_corpus.py compares with float64).
#define NATIVE(name, call)                  \
  KERNEL(native_##name) {                   \
    USE();                                  \
    const f32 a = ((const f32*)pa)[THREAD]; \
    ((f32*)po)[THREAD] = call;              \
  }
NATIVE(rcp, __builtin_amdgcn_rcpf(a))
NATIVE(rsq, __builtin_amdgcn_rsqf(a))
NATIVE(sqrt, __builtin_amdgcn_sqrtf(a))
NATIVE(exp2, __builtin_amdgcn_exp2f(a))
NATIVE(log2, __builtin_amdgcn_logf(a))
NATIVE(sin, __builtin_amdgcn_sinf(a))
NATIVE(cos, __builtin_amdgcn_cosf(a))
NATIVE(fract, __builtin_amdgcn_fractf(a))
NATIVE(med3, __builtin_amdgcn_fmed3f(a, -1.0f, 1.0f))
