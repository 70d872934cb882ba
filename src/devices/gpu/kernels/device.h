// The few built-ins of the device that the kernels use, by the names that the field knows.
#pragma once

#ifndef __AMDGCN__
#error "device code only"
#endif

#include "devices/gpu/kernels/arguments.h"

#define DEVICE __attribute__((device, always_inline)) inline
#define LDS __attribute__((shared))
// extern "C", so that the host finds kernels by name.
#define KERNEL extern "C" __attribute__((global, amdgpu_flat_work_group_size(256, 256)))
// Of each SIMD: two workgroups a compute unit, so at most 192 registers.
#define EIGHT_WAVES __attribute__((amdgpu_waves_per_eu(8, 8)))
// Four workgroups a compute unit, so at most 96.
#define SIXTEEN_WAVES __attribute__((amdgpu_waves_per_eu(16, 16)))

namespace outboard::devices::gpu::kernels {

typedef _Float16 half;
typedef half half2 __attribute__((ext_vector_type(2)));
typedef half half8 __attribute__((ext_vector_type(8)));
typedef half half16 __attribute__((ext_vector_type(16)));
typedef float float2 __attribute__((ext_vector_type(2)));
typedef float float4 __attribute__((ext_vector_type(4)));
typedef float float8 __attribute__((ext_vector_type(8)));
typedef uint32_t uint2 __attribute__((ext_vector_type(2)));
typedef uint32_t uint4 __attribute__((ext_vector_type(4)));

DEVICE int thread() { return static_cast<int>(__builtin_amdgcn_workitem_id_x()); }
DEVICE int lane() { return thread() & 31; }
// Word 3 of a buffer's resource: FORMAT 32_FLOAT, OOB_SELECT 3 (bytes), the rest 0.
constexpr int kRawBuffer = 0x31016000;

// The same in all lanes, which the compiler can't know by itself.
DEVICE int wave() { return __builtin_amdgcn_readfirstlane(thread() >> 5); }
DEVICE int workgroup_x() { return static_cast<int>(__builtin_amdgcn_workgroup_id_x()); }
DEVICE int workgroup_y() { return static_cast<int>(__builtin_amdgcn_workgroup_id_y()); }
DEVICE int workgroup_z() { return static_cast<int>(__builtin_amdgcn_workgroup_id_z()); }

// The kernel's arguments. The compiler is kept from seeing that they are the same each time: else
// it would hold all of them in registers throughout, of which there are not enough.
template <typename Args>
DEVICE const Args& arguments() {
  const auto* p = __builtin_amdgcn_kernarg_segment_ptr();
  asm volatile("" : "+s"(p));
  return *(const Args*)p;
}

// Has all of the kernel's arguments on their way at once: they are new to every cache, and else
// each line of them would be waited for alone.
template <typename Args>
DEVICE void fetch_arguments() {
  constexpr int kLine = 128;
  constexpr int kLines = (sizeof(Args) + kLine - 1) / kLine;
  const auto& a = arguments<Args>();
  int v[kLines];
#pragma unroll
  for (int i = 0; i < kLines; ++i) v[i] = reinterpret_cast<const int*>(&a)[i * kLine / 4];
  __builtin_amdgcn_sched_barrier(0);
#pragma unroll
  for (int i = 0; i < kLines; ++i) asm volatile("" ::"s"(v[i]));
}

// All waves of the workgroup; what was written to LDS before is seen after.
DEVICE void barrier() {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}

// Whether all other workgroups that count with `counter` are done, `all` with this one; what they
// wrote is seen then. The counter is 0 before the first and behind the last. `told` is in LDS.
DEVICE bool is_last(Ptr<uint32_t> counter, int all, uint32_t& told) {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "agent");
  barrier();
  const auto most = static_cast<uint32_t>(all - 1);
  if (thread() == 0) told = __builtin_amdgcn_atomic_inc32(counter, most, __ATOMIC_RELAXED, "agent");
  barrier();
  if (told != most) return false;
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "agent");
  return true;
}

// a . b + c, products and sum in float32.
DEVICE float dot2(half2 a, half2 b, float c) { return __builtin_amdgcn_fdot2(a, b, c, false); }

template <typename To, typename From>
DEVICE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  return __builtin_bit_cast(To, from);
}

// Floats in memory from an address on that is the same in all lanes, without a branch for lanes
// that have none: what is at kNone reads as 0 and is not written.
class FloatBuffer {
 public:
  static constexpr uint32_t kNone = 0x1fffffff;  // below 2 GiB, so that no sum of it overflows

  DEVICE explicit FloatBuffer(Ptr<const float> first)
      : resource_(__builtin_amdgcn_make_buffer_rsrc(const_cast<float*>((const float*)first), 0,
                                                    4 * kNone, kRawBuffer)) {}
  DEVICE float load(uint32_t index) const {
    return bits_as<float>(__builtin_amdgcn_raw_buffer_load_b32(resource_, 4 * index, 0, 0));
  }
  DEVICE void store(uint32_t index, float v) const {
    __builtin_amdgcn_raw_buffer_store_b32(bits_as<uint32_t>(v), resource_, 4 * index, 0, 0);
  }

 private:
  __amdgpu_buffer_rsrc_t resource_;
};

}  // namespace outboard::devices::gpu::kernels
