// Device code of simulator_bench: what decoding a model spends its time in. For gfx1100, compiled
// with clang-19 (see CMakeLists.txt).

#define DEVICE __attribute__((device))
#define KERNEL extern "C" __attribute__((global, amdgpu_flat_work_group_size(32, 256))) void

typedef unsigned int u32;
typedef unsigned short u16;
typedef _Float16 f16;
typedef f16 f16x2 __attribute__((ext_vector_type(2)));

namespace {

DEVICE u32 thread() { return __builtin_amdgcn_workitem_id_x(); }
DEVICE u32 group() { return __builtin_amdgcn_workgroup_id_x(); }

// Sum over the 32 lanes of a wave.
template <typename T>
DEVICE T wave_sum(T x) {
  static_assert(sizeof(T) == 4);
  for (int distance = 16; distance > 0; distance /= 2) {
    const int from = static_cast<int>(__builtin_amdgcn_mbcnt_lo(~0U, 0) ^ distance) * 4;
    x += __builtin_bit_cast(T, __builtin_amdgcn_ds_bpermute(from, __builtin_bit_cast(int, x)));
  }
  return x;
}

}  // namespace

// y = W x with W in blocks of 32 4-bit weights: a plane of float16 scales and a plane of 16-byte
// groups of weights, `blocks` a row. Weights become float16 in registers and are summed in float32.
// One wave a row, 8 rows a workgroup; each lane takes every 32nd block.
KERNEL matvec_f16(const u32* weights, const f16* scales, const f16* x, float* y, u32 blocks) {
  const u32 row = group() * 8 + thread() / 32, lane = thread() % 32;
  const u32* w = weights + row * blocks * 4;
  const f16* s = scales + row * blocks;
  float sum = 0;
  for (u32 block = lane; block < blocks; block += 32) {
    const f16x2* v = reinterpret_cast<const f16x2*>(x + block * 32);
    f16x2 d;
    d = s[block];
    for (int i = 0; i < 4; ++i) {
      const u32 word = w[block * 4 + i];
      for (int k = 0; k < 4; ++k) {
        // 1024 + n has n in its lowest bits.
        const u32 bits = (word >> (4 * k) & 0x000f000f) | 0x64006400;
        f16x2 offset;
        offset = static_cast<f16>(1032);
        const f16x2 weight = (__builtin_bit_cast(f16x2, bits) - offset) * d;
        sum = __builtin_amdgcn_fdot2(weight, v[i * 4 + k], sum, false);
      }
    }
  }
  sum = wave_sum(sum);
  if (lane == 0) y[row] = sum;
}

// The same with the scalar operations that plain code compiles to: a conversion and a fused
// multiply-add in float32 for each weight.
KERNEL matvec_mix(const u32* weights, const f16* scales, const f16* x, float* y, u32 blocks) {
  const u32 row = group() * 8 + thread() / 32, lane = thread() % 32;
  const u32* w = weights + row * blocks * 4;
  const f16* s = scales + row * blocks;
  float sum = 0;
  for (u32 block = lane; block < blocks; block += 32) {
    const f16* v = x + block * 32;
    const f16 d = s[block];
    float part = 0;
    for (int i = 0; i < 4; ++i) {
      const u32 word = w[block * 4 + i];
      for (int k = 0; k < 8; ++k) {
        const f16 weight = static_cast<f16>(static_cast<int>(word >> (4 * k) & 15) - 8);
        part = __builtin_fmaf(static_cast<float>(weight), static_cast<float>(v[i * 8 + k]), part);
      }
    }
    sum = __builtin_fmaf(part, static_cast<float>(d), sum);
  }
  sum = wave_sum(sum);
  if (lane == 0) y[row] = sum;
}

// Weights and activations of 8 bits, 32 a block with a float32 scale of both.
KERNEL matvec_dot4(const int* weights, const float* scales, const int* x, float* y, u32 blocks) {
  const u32 row = group() * 8 + thread() / 32, lane = thread() % 32;
  const int* w = weights + row * blocks * 8;
  float sum = 0;
  for (u32 block = lane; block < blocks; block += 32) {
    int dot = 0;
    for (int i = 0; i < 8; ++i) {
      dot = __builtin_amdgcn_sudot4(true, w[block * 8 + i], true, x[block * 8 + i], dot, false);
    }
    sum = __builtin_fmaf(static_cast<float>(dot), scales[row * blocks + block], sum);
  }
  sum = wave_sum(sum);
  if (lane == 0) y[row] = sum;
}
