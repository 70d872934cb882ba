// Loops, branches, calls, local arrays, narrow and wide memory.
#include "corpus.h"

KERNEL(collatz) {
  USE();
  const u32 i = THREAD;
  u32 n = ((const u32*)pa)[i] % 1000 + 1, steps = 0;
  while (n != 1 && steps < 500) {
    n = n % 2 == 0 ? n / 2 : 3 * n + 1;
    ++steps;
  }
  ((u32*)po)[i] = steps;
}

KERNEL(gcd) {
  USE();
  const u32 i = THREAD;
  u32 x = ((const u32*)pa)[i] & 0xffff, y = ((const u32*)pb)[i] & 0xffff;
  while (y != 0) {
    const u32 t = x % y;
    x = y;
    y = t;
  }
  ((u32*)po)[i] = x;
}

KERNEL(newton) {
  USE();
  const u32 i = THREAD;
  const f32 v = __builtin_fabsf(((const f32*)pa)[i]);
  f32 x = v;
  for (int k = 0; k < 8; ++k) x = 0.5f * (x + v / x);
  ((f32*)po)[i] = x;
}

KERNEL(cases) {
  USE();
  const u32 i = THREAD;
  const u32 a = ((const u32*)pa)[i], b = ((const u32*)pb)[i];
  u32 r = 0;
  switch (a % 7) {
    case 0:
      r = a + b;
      break;
    case 1:
      r = a * b;
      break;
    case 2:
      r = a ^ b;
      break;
    case 3:
      r = a >> (b & 31);
      break;
    case 4:
      r = b != 0 ? a / b : 7;
      break;
    case 5:
      r = __builtin_popcount(a & b);
      break;
    default:
      r = ~a;
      break;
  }
  ((u32*)po)[i] = r;
}

// A local array with indices that the compiler cannot know: scratch memory.
KERNEL(local_array) {
  USE();
  const u32 i = THREAD;
  u32 table[16];
  for (u32 k = 0; k < 16; ++k) table[k] = ((const u32*)pa)[i] * (k + 1);
  for (u32 k = 0; k < 16; ++k) table[(table[k] >> 3) & 15] += ((const u32*)pb)[i] >> k;
  u32 sum = 0;
  for (u32 k = 0; k < 16; ++k) sum = sum * 31 + table[(k * 7 + ((const u32*)pc)[i]) & 15];
  ((u32*)po)[i] = sum;
}

KERNEL(local_bytes) {
  USE();
  const u32 i = THREAD;
  u8 table[64];
  for (u32 k = 0; k < 64; ++k) table[k] = (u8)(((const u32*)pa)[i] >> (k & 31));
  u64 sum = 0;
  for (u32 k = 0; k < 64; ++k) sum = sum * 33 + table[(table[k] + k) & 63];
  ((u64*)po)[i] = sum;
}

DEVICE __attribute__((noinline)) u32 mix(u32 a, u32 b) {
  a ^= b * 0x9e3779b9u;
  a = a << 13 | a >> 19;
  return a * 5 + 0xe6546b64u;
}
DEVICE __attribute__((noinline)) u32 mix_twice(u32 a, u32 b) {
  return mix(mix(a, b), b ^ 0x55555555u);
}
KERNEL(calls) {
  USE();
  const u32 i = THREAD;
  u32 h = ((const u32*)pa)[i];
  for (u32 k = 0; k < 4; ++k) h = mix_twice(h, ((const u32*)pb)[i] + k);
  ((u32*)po)[i] = h;
}

KERNEL(narrow_memory) {
  USE();
  const u32 i = THREAD;
  u32 sum = 0;
  for (u32 k = 0; k < 8; ++k) {
    sum = sum * 3 + ((const u8*)pa)[i * 8 + k];
    sum += (u32)((const i8*)pb)[i * 8 + k];
  }
  for (u32 k = 0; k < 4; ++k)
    sum += (u32)((const i16*)pa)[i * 4 + k] * 5 + ((const u16*)pb)[i * 4 + k];
  for (u32 k = 0; k < 4; ++k) ((u8*)po)[i * 8 + k] = (u8)(sum >> (8 * k));
  ((u16*)po)[i * 4 + 2] = (u16)(sum * 7);
  ((u16*)po)[i * 4 + 3] = (u16)(sum >> 16);
}

typedef u32 u32x4 __attribute__((ext_vector_type(4)));
typedef u32 u32x2 __attribute__((ext_vector_type(2)));
KERNEL(wide_memory) {
  USE();
  const u32 i = THREAD;
  if (i >= 64) return;
  const u32x4 a = ((const u32x4*)pa)[i];
  const u32x2 b = ((const u32x2*)pb)[i];
  ((u32x4*)po)[i] = (u32x4){a.w ^ b.x, a.z + b.y, a.y * 3, a.x - b.x};
}

KERNEL(dequantize) {  // sixteen 4-bit weights of a block
  USE();
  const u32 i = THREAD;
  const u64 q = ((const u64*)pa)[i];
  const f32 scale = (f32)(((const u32*)pb)[i] & 1023) * 0.001f;
  f32 sum = 0;
  for (u32 k = 0; k < 16; ++k) {
    const f16 w = (f16)(((f32)((q >> (4 * k)) & 15) - 8.0f) * scale);
    sum = __builtin_fmaf((f32)w, (f32)(k + 1), sum);
  }
  ((f32*)po)[i] = sum;
}

static const u32 kConstants[16] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
KERNEL(constant_table) {
  USE();
  const u32 i = THREAD;
  ((u32*)po)[i] = kConstants[((const u32*)pa)[i] & 15] * ((const u32*)pb)[i];
}

KERNEL(wide_integers) {
  USE();
  const u32 i = THREAD;
  unsigned __int128 x = ((unsigned __int128)((const u64*)pa)[i] << 64) | ((const u64*)pb)[i];
  x = x * 0x123456789abcdefull + ((const u64*)pc)[i];
  x ^= x >> 37;
  ((u64*)po)[i] = (u64)(x >> 64) ^ (u64)x;
}

KERNEL(xorshift) {
  USE();
  const u32 i = THREAD;
  u64 s = ((const u64*)pa)[i] | 1;
  for (u32 k = 0; k < 20; ++k) {
    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
  }
  ((u64*)po)[i] = s;
}
