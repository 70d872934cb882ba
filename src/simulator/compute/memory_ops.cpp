#include "simulator/compute/memory_ops.h"

#include <array>
#include <bit>
#include <unordered_map>

namespace outboard::simulator::compute {
namespace {

using Kind = MemoryOp::Kind;

constexpr MemoryOp load(std::string_view name, uint8_t bytes, bool sign = false, bool half = false,
                        bool high = false) {
  return {name, Kind::kLoad, bytes, sign, half, high};
}
constexpr MemoryOp store(std::string_view name, uint8_t bytes, bool high = false) {
  return {name, Kind::kStore, bytes, false, high, high};
}
constexpr MemoryOp atomic(std::string_view name, uint8_t bytes, Atomic what) {
  return {name, Kind::kAtomic, bytes, false, false, false, what};
}

constexpr std::array kOps = {
    load("load_u8", 1),
    load("load_i8", 1, true),
    load("load_u16", 2),
    load("load_i16", 2, true),
    load("load_b32", 4),
    load("load_b64", 8),
    load("load_b96", 12),
    load("load_b128", 16),
    load("load_d16_u8", 1, false, true),
    load("load_d16_i8", 1, true, true),
    load("load_d16_b16", 2, false, true),
    load("load_d16_hi_u8", 1, false, true, true),
    load("load_d16_hi_i8", 1, true, true, true),
    load("load_d16_hi_b16", 2, false, true, true),
    store("store_b8", 1),
    store("store_b16", 2),
    store("store_b32", 4),
    store("store_b64", 8),
    store("store_b96", 12),
    store("store_b128", 16),
    store("store_d16_hi_b8", 1, true),
    store("store_d16_hi_b16", 2, true),
    atomic("atomic_swap_b32", 4, Atomic::kSwap),
    atomic("atomic_swap_b64", 8, Atomic::kSwap),
    atomic("atomic_cmpswap_b32", 4, Atomic::kCompareSwap),
    atomic("atomic_cmpswap_b64", 8, Atomic::kCompareSwap),
    atomic("atomic_cmpswap_f32", 4, Atomic::kCompareSwapF),
    atomic("atomic_add_u32", 4, Atomic::kAdd),
    atomic("atomic_add_u64", 8, Atomic::kAdd),
    atomic("atomic_sub_u32", 4, Atomic::kSub),
    atomic("atomic_sub_u64", 8, Atomic::kSub),
    atomic("atomic_csub_u32", 4, Atomic::kSubClamp),
    atomic("atomic_min_i32", 4, Atomic::kMinI),
    atomic("atomic_min_i64", 8, Atomic::kMinI),
    atomic("atomic_min_u32", 4, Atomic::kMinU),
    atomic("atomic_min_u64", 8, Atomic::kMinU),
    atomic("atomic_max_i32", 4, Atomic::kMaxI),
    atomic("atomic_max_i64", 8, Atomic::kMaxI),
    atomic("atomic_max_u32", 4, Atomic::kMaxU),
    atomic("atomic_max_u64", 8, Atomic::kMaxU),
    atomic("atomic_and_b32", 4, Atomic::kAnd),
    atomic("atomic_and_b64", 8, Atomic::kAnd),
    atomic("atomic_or_b32", 4, Atomic::kOr),
    atomic("atomic_or_b64", 8, Atomic::kOr),
    atomic("atomic_xor_b32", 4, Atomic::kXor),
    atomic("atomic_xor_b64", 8, Atomic::kXor),
    atomic("atomic_inc_u32", 4, Atomic::kInc),
    atomic("atomic_inc_u64", 8, Atomic::kInc),
    atomic("atomic_dec_u32", 4, Atomic::kDec),
    atomic("atomic_dec_u64", 8, Atomic::kDec),
    atomic("atomic_min_f32", 4, Atomic::kMinF),
    atomic("atomic_max_f32", 4, Atomic::kMaxF),
    atomic("atomic_add_f32", 4, Atomic::kAddF),
};

template <typename U, typename S, typename F>
U apply(Atomic what, U memory, U data, U compare) {
  const F m = std::bit_cast<F>(memory), d = std::bit_cast<F>(data);
  switch (what) {
    case Atomic::kNone:
      return memory;
    case Atomic::kSwap:
      return data;
    case Atomic::kCompareSwap:
      return memory == compare ? data : memory;
    case Atomic::kCompareSwapF:
      return m == std::bit_cast<F>(compare) ? data : memory;
    case Atomic::kAdd:
      return memory + data;
    case Atomic::kSub:
      return memory - data;
    case Atomic::kReverseSub:
      return data - memory;
    case Atomic::kSubClamp:
      return memory < data ? 0 : memory - data;
    case Atomic::kMinI:
      return static_cast<S>(data) < static_cast<S>(memory) ? data : memory;
    case Atomic::kMinU:
      return data < memory ? data : memory;
    case Atomic::kMaxI:
      return static_cast<S>(data) >= static_cast<S>(memory) ? data : memory;
    case Atomic::kMaxU:
      return data >= memory ? data : memory;
    case Atomic::kAnd:
      return memory & data;
    case Atomic::kOr:
      return memory | data;
    case Atomic::kXor:
      return memory ^ data;
    case Atomic::kInc:
      return memory >= data ? 0 : memory + 1;
    case Atomic::kDec:
      return memory == 0 || memory > data ? data : memory - 1;
    case Atomic::kWrap:
      return memory >= data ? memory - data : memory + compare;
    case Atomic::kMaskOr:
      return (memory & ~data) | compare;
    case Atomic::kMinF:
      return d < m ? data : memory;
    case Atomic::kMaxF:
      return d > m ? data : memory;
    case Atomic::kAddF:
      return std::bit_cast<U>(static_cast<F>(m + d));
  }
  return memory;
}

}  // namespace

const MemoryOp* find_memory_op(std::string_view name) {
  static const auto table = [] {
    std::unordered_map<std::string_view, const MemoryOp*> out;
    for (const MemoryOp& op : kOps) out[op.name] = &op;
    return out;
  }();
  const auto found = table.find(name);
  return found == table.end() ? nullptr : found->second;
}

uint64_t apply_atomic(Atomic what, bool wide, uint64_t memory, uint64_t data, uint64_t compare) {
  if (wide) return apply<uint64_t, int64_t, double>(what, memory, data, compare);
  return apply<uint32_t, int32_t, float>(what, static_cast<uint32_t>(memory),
                                         static_cast<uint32_t>(data),
                                         static_cast<uint32_t>(compare));
}

}  // namespace outboard::simulator::compute
