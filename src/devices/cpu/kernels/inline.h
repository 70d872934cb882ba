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
// Of loops over a block's groups. On arm64 shifts by numbers that are not known cost a second
// instruction, and arrays that are indexed leave the registers.
#if defined(__aarch64__)
#define OUTBOARD_UNROLL_GROUPS OUTBOARD_UNROLL
#else
#define OUTBOARD_UNROLL_GROUPS
#endif
