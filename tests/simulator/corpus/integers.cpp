// Integer arithmetic, logic, comparisons and bit counting in every width.
#include "corpus.h"

#define BITS(T) (sizeof(T) * 8)

#define INTEGER(T)                                                                             \
  MAP2(add_##T, T, T, T, a + b)                                                                \
  MAP2(sub_##T, T, T, T, a - b)                                                                \
  MAP2(mul_##T, T, T, T, a* b)                                                                 \
  MAP2(and_##T, T, T, T, a& b)                                                                 \
  MAP2(or_##T, T, T, T, a | b)                                                                 \
  MAP2(xor_##T, T, T, T, a ^ b)                                                                \
  MAP1(not_##T, T, T, ~a)                                                                      \
  MAP1(neg_##T, T, T, 0 - a)                                                                   \
  MAP2(shl_##T, T, T, T, a << (b & (BITS(T) - 1)))                                             \
  MAP2(shr_##T, T, T, T, a >> (b & (BITS(T) - 1)))                                             \
  MAP2(min_##T, T, T, T, a < b ? a : b)                                                        \
  MAP2(max_##T, T, T, T, a > b ? a : b)                                                        \
  MAP2(eq_##T, T, T, u8, a == b)                                                               \
  MAP2(lt_##T, T, T, u8, a < b)                                                                \
  MAP2(le_##T, T, T, u8, a <= b)                                                               \
  MAP3(mad_##T, T, T, a* b + c)                                                                \
  MAP3(add3_##T, T, T, a + b + c)                                                              \
  MAP3(select_##T, T, T, a < b ? c : b)                                                        \
  MAP3(bitselect_##T, T, T, (a & b) | (~a & c))                                                \
  MAP3(med_##T, T, T, (a < b ? (b < c ? b : (a < c ? c : a)) : (a < c ? a : (b < c ? c : b)))) \
  MAP3(shladd_##T, T, T, (a << (b & 7)) + c)                                                   \
  MAP3(xad_##T, T, T, (a ^ b) + c)                                                             \
  MAP3(andor_##T, T, T, (a & b) | c)                                                           \
  MAP3(or3_##T, T, T, a | b | c)                                                               \
  MAP3(absdiff_##T, T, T, (a > b ? a - b : b - a) + c)                                         \
  MAP1(extract_##T, T, T, (a >> 3) & 15)                                                       \
  MAP1(divide7_##T, T, T, a / 7)                                                               \
  MAP1(modulo10_##T, T, T, a % 10)

INTEGER(u8)
INTEGER(i8)
INTEGER(u16)
INTEGER(i16)
INTEGER(u32)
INTEGER(i32)
INTEGER(u64)
INTEGER(i64)

#define UNSIGNED_DIVISION(T)                    \
  MAP2(div_##T, T, T, T, b == 0 ? (T)1 : a / b) \
  MAP2(mod_##T, T, T, T, b == 0 ? (T)1 : a % b)
#define SIGNED_DIVISION(T)                                 \
  MAP2(div_##T, T, T, T, b == 0 || b == -1 ? (T)1 : a / b) \
  MAP2(mod_##T, T, T, T, b == 0 || b == -1 ? (T)1 : a % b)
UNSIGNED_DIVISION(u16)
UNSIGNED_DIVISION(u32)
UNSIGNED_DIVISION(u64)
SIGNED_DIVISION(i16)
SIGNED_DIVISION(i32)
SIGNED_DIVISION(i64)

MAP1(popcount_u32, u32, u32, __builtin_popcount(a))
MAP1(popcount_u64, u64, u32, __builtin_popcountll(a))
MAP1(clz_u32, u32, u32, a == 0 ? 32 : __builtin_clz(a))
MAP1(clz_u64, u64, u32, a == 0 ? 64 : __builtin_clzll(a))
MAP1(ctz_u32, u32, u32, a == 0 ? 32 : __builtin_ctz(a))
MAP1(ctz_u64, u64, u32, a == 0 ? 64 : __builtin_ctzll(a))
MAP1(brev_u32, u32, u32, __builtin_bitreverse32(a))
MAP1(brev_u64, u64, u64, __builtin_bitreverse64(a))
MAP1(bswap_u16, u16, u16, __builtin_bswap16(a))
MAP1(bswap_u32, u32, u32, __builtin_bswap32(a))
MAP1(bswap_u64, u64, u64, __builtin_bswap64(a))
MAP2(rotl_u32, u32, u32, u32, __builtin_rotateleft32(a, b))
MAP2(rotl_u64, u64, u64, u64, __builtin_rotateleft64(a, b))
MAP3(funnel_u32, u32, u32, (u32)((((u64)a << 32) | b) >> (c & 31)))
MAP2(mulhi_u32, u32, u32, u32, ((u64)a * b) >> 32)
MAP2(mulhi_i32, i32, i32, i32, ((i64)a * b) >> 32)
MAP2(mulhi_u64, u64, u64, u64, ((unsigned __int128)a * b) >> 64)
MAP2(mul24_u32, u32, u32, u32, (a & 0xffffff) * (b & 0xffffff))
MAP2(mul24_i32, i32, i32, i32, ((a << 8) >> 8) * ((b << 8) >> 8))
MAP3(mad24_u32, u32, u32, (a & 0xffffff) * (b & 0xffffff) + c)
MAP3(mad64_u32, u32, u64, (u64)a* b + c)
MAP3(mad64_i32, i32, i64, (i64)a* b + c)
MAP2(widemul_u32, u32, u32, u64, (u64)a* b)
MAP2(addsat_u32, u32, u32, u32, a + b < a ? ~0u : a + b)
MAP2(subsat_u32, u32, u32, u32, a < b ? 0u : a - b)
MAP2(addcarry_u64, u64, u64, u8, a + b < a)
MAP1(sext8_i32, i32, i32, (i8)a)
MAP1(sext16_i32, i32, i32, (i16)a)
MAP1(abs_i32, u32, u32, (i32)a < 0 ? 0u - a : a)
MAP2(perm_u32, u32, u32, u32, (a & 0xff00ff00) | ((b >> 8) & 0x00ff00ff))
MAP2(pack16_u32, u32, u32, u32, (a << 16) | (b & 0xffff))
MAP1(bytes_u32, u32, u32, (a & 0xff) + (a >> 8 & 0xff) + (a >> 16 & 0xff) + (a >> 24))

typedef i16 i16x2 __attribute__((ext_vector_type(2)));
typedef u16 u16x2 __attribute__((ext_vector_type(2)));
#define PACKED(T, E)                                       \
  MAP2(padd_##T, T, T, T, a + b)                           \
  MAP2(psub_##T, T, T, T, a - b)                           \
  MAP2(pmul_##T, T, T, T, a* b)                            \
  MAP2(pshl_##T, T, T, T, a << (b & (T)(E)15))             \
  MAP2(pshr_##T, T, T, T, a >> (b & (T)(E)15))             \
  MAP2(pmin_##T, T, T, T, __builtin_elementwise_min(a, b)) \
  MAP2(pmax_##T, T, T, T, __builtin_elementwise_max(a, b)) \
  MAP3(pmad_##T, T, T, a* b + c)
PACKED(i16x2, i16)
PACKED(u16x2, u16)
