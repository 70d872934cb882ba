// Kernels that are compiled twice: for gfx1100, and for the host, where a loop stands for the
// threads. Each reads a[i], b[i], c[i] and writes out[i].
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef _Float16 f16;
typedef float f32;
typedef double f64;

#ifdef __AMDGCN__
#define DEVICE __attribute__((device))
#define KERNEL(name)                                                                 \
  extern "C" __attribute__((global, amdgpu_flat_work_group_size(1, 256))) void name( \
      const void* pa, const void* pb, const void* pc, void* po)
#define LDS __attribute__((shared))
#define THREAD                                                               \
  (__builtin_amdgcn_workgroup_id_x() * __builtin_amdgcn_workgroup_size_x() + \
   __builtin_amdgcn_workitem_id_x())
#else
#define DEVICE
#define KERNEL(name) extern "C" void name(const void* pa, const void* pb, const void* pc, void* po)
extern "C" u32 host_thread;
#define THREAD host_thread
#endif

#define USE(...) (void)pa, (void)pb, (void)pc, (void)po
#define MAP1(name, A, R, ...)       \
  KERNEL(name) {                    \
    USE();                          \
    const u32 i = THREAD;           \
    const A a = ((const A*)pa)[i];  \
    ((R*)po)[i] = (R)(__VA_ARGS__); \
  }
#define MAP2(name, A, B, R, ...)    \
  KERNEL(name) {                    \
    USE();                          \
    const u32 i = THREAD;           \
    const A a = ((const A*)pa)[i];  \
    const B b = ((const B*)pb)[i];  \
    ((R*)po)[i] = (R)(__VA_ARGS__); \
  }
#define MAP3(name, T, R, ...)       \
  KERNEL(name) {                    \
    USE();                          \
    const u32 i = THREAD;           \
    const T a = ((const T*)pa)[i];  \
    const T b = ((const T*)pb)[i];  \
    const T c = ((const T*)pc)[i];  \
    ((R*)po)[i] = (R)(__VA_ARGS__); \
  }

// A float that an integer of `bits` bits can hold, else zero: conversions outside are undefined.
#define IN_RANGE(x, low, high) ((x) > (low) && (x) < (high) ? (x) : 0)
