// Marks of the kernels' inner functions: they must vanish into their callers for the vectors to
// stay in registers.
#pragma once

#define OUTBOARD_INLINE inline __attribute__((always_inline))
#define OUTBOARD_INLINE_LAMBDA __attribute__((always_inline))
#if defined(__clang__)
#define OUTBOARD_UNROLL _Pragma("clang loop unroll(full)")
#else
#define OUTBOARD_UNROLL _Pragma("GCC unroll 16")
#endif
