// Floating-point arithmetic, rounding, comparisons and conversions.
#include "corpus.h"

// Half precision: the host's library has none, and wider types are exact enough to round once.
#ifdef __AMDGCN__
#define HALF(f) __builtin_##f##f16
#define FMA16 __builtin_fmaf16
#else
#define HALF(f) half_##f
#define HALF_FROM_FLOAT(name) \
  static inline f16 half_##name(f16 x) { return (f16)__builtin_##name##f((f32)x); }
HALF_FROM_FLOAT(sqrt)
HALF_FROM_FLOAT(floor)
HALF_FROM_FLOAT(ceil)
HALF_FROM_FLOAT(trunc)
HALF_FROM_FLOAT(rint)
HALF_FROM_FLOAT(fabs)
static inline f16 half_copysign(f16 x, f16 y) { return (f16)__builtin_copysignf((f32)x, (f32)y); }
static inline f16 FMA16(f16 x, f16 y, f16 z) {
  return (f16)((__float128)x * (__float128)y + (__float128)z);
}
#endif

#define FLOAT(T, FMA, SQRT, FLOOR, CEIL, TRUNC, RINT, FABS, COPYSIGN)      \
  MAP2(add_##T, T, T, T, a + b)                                            \
  MAP2(sub_##T, T, T, T, a - b)                                            \
  MAP2(mul_##T, T, T, T, a* b)                                             \
  MAP2(div_##T, T, T, T, a / b)                                            \
  MAP1(rcp_##T, T, T, (T)1 / a)                                            \
  MAP3(fma_##T, T, T, FMA(a, b, c))                                        \
  MAP3(fms_##T, T, T, FMA(a, b, -c))                                       \
  MAP3(fnma_##T, T, T, FMA(-a, FABS(b), c))                                \
  MAP1(sqrt_##T, T, T, SQRT(a))                                            \
  MAP1(floor_##T, T, T, FLOOR(a))                                          \
  MAP1(ceil_##T, T, T, CEIL(a))                                            \
  MAP1(trunc_##T, T, T, TRUNC(a))                                          \
  MAP1(rint_##T, T, T, RINT(a))                                            \
  MAP1(abs_##T, T, T, FABS(a))                                             \
  MAP1(negabs_##T, T, T, -FABS(a))                                         \
  MAP2(copysign_##T, T, T, T, COPYSIGN(a, b))                              \
  MAP2(lt_##T, T, T, u8, a < b)                                            \
  MAP2(le_##T, T, T, u8, a <= b)                                           \
  MAP2(gt_##T, T, T, u8, a > b)                                            \
  MAP2(ge_##T, T, T, u8, a >= b)                                           \
  MAP2(eq_##T, T, T, u8, a == b)                                           \
  MAP2(ne_##T, T, T, u8, a != b)                                           \
  MAP2(nlt_##T, T, T, u8, !(a < b))                                        \
  MAP2(unordered_##T, T, T, u8, __builtin_isunordered(a, b))               \
  MAP1(class_##T, T, u8, (a != a) | (FABS(a) == (T)__builtin_inff()) << 1) \
  MAP3(select_##T, T, T, a < b ? c : a)                                    \
  MAP2(mulneg_##T, T, T, T, -a* b)                                         \
  MAP1(double_##T, T, T, a * 2)                                            \
  MAP1(half_##T, T, T, a*(T)0.5)                                           \
  MAP1(to_i32_##T, T, i32, IN_RANGE(a, (T) - 30000, (T)30000))             \
  MAP1(to_u32_##T, T, u32, IN_RANGE(a, (T) - 0.5, (T)60000))               \
  MAP1(to_i16_##T, T, i16, IN_RANGE(a, (T) - 30000, (T)30000))             \
  MAP1(to_u8_##T, T, u8, IN_RANGE(a, (T) - 0.5, (T)255))                   \
  MAP1(to_i64_##T, T, i64, IN_RANGE(a, (T) - 60000, (T)60000))             \
  MAP1(from_i32_##T, i32, T, a)                                            \
  MAP1(from_u32_##T, u32, T, a)                                            \
  MAP1(from_i64_##T, i64, T, a)                                            \
  MAP1(from_u64_##T, u64, T, a)                                            \
  MAP1(from_i16_##T, i16, T, a)                                            \
  MAP1(from_u16_##T, u16, T, a)                                            \
  MAP1(from_u8_##T, u8, T, a)                                              \
  MAP3(polynomial_##T, T, T, FMA(FMA(a, b, c), a, (T)1.5))

FLOAT(f16, FMA16, HALF(sqrt), HALF(floor), HALF(ceil), HALF(trunc), HALF(rint), HALF(fabs),
      HALF(copysign))
FLOAT(f32, __builtin_fmaf, __builtin_sqrtf, __builtin_floorf, __builtin_ceilf, __builtin_truncf,
      __builtin_rintf, __builtin_fabsf, __builtin_copysignf)
FLOAT(f64, __builtin_fma, __builtin_sqrt, __builtin_floor, __builtin_ceil, __builtin_trunc,
      __builtin_rint, __builtin_fabs, __builtin_copysign)

MAP1(f16_f32, f32, f16, a)
MAP1(f32_f16, f16, f32, a)
MAP1(f64_f32, f32, f64, a)
MAP1(f32_f64, f64, f32, a)
MAP1(f16_f64, f64, f16, a)
MAP1(f64_f16, f16, f64, a)
// Which zero wins is open in C; adding zero makes them one.
MAP2(min_f32, f32, f32, f32, __builtin_fminf(a, b) + 0.0f)
MAP2(max_f32, f32, f32, f32, __builtin_fmaxf(a, b) + 0.0f)
MAP2(min_f64, f64, f64, f64, __builtin_fmin(a, b) + 0.0)
MAP2(max_f64, f64, f64, f64, __builtin_fmax(a, b) + 0.0)
MAP3(clamp_f32, f32, f32, a<b ? b : a> c ? c : a)
MAP1(ldexp_f32, f32, f32, __builtin_ldexpf(a, 5))
MAP1(ldexp_f64, f64, f64, __builtin_ldexp(a, -7))
MAP2(ldexpv_f32, f32, i32, f32, __builtin_ldexpf(a, b & 15))
MAP3(mixfma_f16, f16, f32, __builtin_fmaf((f32)a, (f32)b, (f32)c))
MAP3(mixlo_f16, f16, f16, __builtin_fmaf((f32)a, (f32)b, (f32)c))

typedef f16 f16x2 __attribute__((ext_vector_type(2)));
typedef f32 f32x2 __attribute__((ext_vector_type(2)));
MAP2(padd_f16, f16x2, f16x2, f16x2, a + b)
MAP2(psub_f16, f16x2, f16x2, f16x2, a - b)
MAP2(pmul_f16, f16x2, f16x2, f16x2, a* b)
MAP3(pfma_f16, f16x2, f16x2, (f16x2){(f16)FMA16(a.x, b.x, c.x), (f16)FMA16(a.y, b.y, c.y)})
MAP2(pabs_f16, f16x2, f16x2, f16x2, (f16x2){(f16)HALF(fabs)(a.x), (f16)HALF(fabs)(a.y)} - b)
MAP2(pswap_f16, f16x2, f16x2, f16x2, (f16x2){a.y, b.x} + (f16x2){b.y, a.x})
MAP1(pwiden_f16, f16x2, f32, (f32)a.x + (f32)a.y)
MAP2(vadd_f32, f32x2, f32x2, f32x2, a + b)
MAP3(vfma_f32, f32x2, f32x2, __builtin_elementwise_fma(a, b, c))

// bfloat16, as shifts and rounds.
MAP1(bf16_to_f32, u16, f32, __builtin_bit_cast(f32, (u32)a << 16))
MAP1(f32_to_bf16, u32, u16, (a + 0x7fff + (a >> 16 & 1)) >> 16)
