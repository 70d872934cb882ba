// What the memory instructions have in common, whatever path they take: how many bytes a lane
// moves, how they fill a register, and what an atomic does.
#pragma once

#include <cstdint>
#include <string_view>

namespace outboard::simulator::compute {

enum class Atomic : uint8_t {
  kNone,
  kSwap,
  kCompareSwap,
  kCompareSwapF,
  kAdd,
  kSub,
  kReverseSub,
  kSubClamp,
  kMinI,
  kMinU,
  kMaxI,
  kMaxU,
  kAnd,
  kOr,
  kXor,
  kInc,
  kDec,
  kWrap,
  kMaskOr,
  kMinF,
  kMaxF,
  kAddF,
};

struct MemoryOp {
  enum class Kind : uint8_t { kLoad, kStore, kAtomic };
  std::string_view name;  // after the prefix: "load_d16_hi_u8", "atomic_add_u32"
  Kind kind;
  uint8_t bytes;      // a lane moves this much
  bool sign = false;  // loads of 8 and 16 bits: sign-extended
  bool half = false;  // fills or takes 16 bits of a register (d16) ...
  bool high = false;  // ... the upper ones
  Atomic atomic = Atomic::kNone;
};

// Operations of FLAT, GLOBAL, SCRATCH and MUBUF by the name behind their prefix; null: none.
const MemoryOp* find_memory_op(std::string_view name);

// The value that an atomic leaves in memory, as the guide's section 16 defines it. 32-bit
// operations use the low halves.
uint64_t apply_atomic(Atomic atomic, bool wide, uint64_t memory, uint64_t data, uint64_t compare);

}  // namespace outboard::simulator::compute
