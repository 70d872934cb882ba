#include "simulator/atomics.h"

#include <algorithm>

#include "devices/amd/hw/pm4.h"

namespace outboard::simulator {

namespace pm4 = devices::amd::hw::pm4;

namespace {

enum class Kind : uint8_t {
  kSwap,
  kCompareSwap,
  kAdd,
  kSub,
  kSmin,
  kUmin,
  kSmax,
  kUmax,
  kAnd,
  kOr,
  kXor,
  kInc,
  kDec
};

struct Row {
  uint32_t with_return, without;
  int bytes;
  Kind kind;
};

constexpr Row kRows[] = {
    {pm4::TC_OP_ATOMIC_SWAP_RTN_32, pm4::TC_OP_ATOMIC_SWAP_32, 4, Kind::kSwap},
    {pm4::TC_OP_ATOMIC_CMPSWAP_RTN_32, pm4::TC_OP_ATOMIC_CMPSWAP_32, 4, Kind::kCompareSwap},
    {pm4::TC_OP_ATOMIC_ADD_RTN_32, pm4::TC_OP_ATOMIC_ADD_32, 4, Kind::kAdd},
    {pm4::TC_OP_ATOMIC_SUB_RTN_32, pm4::TC_OP_ATOMIC_SUB_32, 4, Kind::kSub},
    {pm4::TC_OP_ATOMIC_SMIN_RTN_32, pm4::TC_OP_ATOMIC_SMIN_32, 4, Kind::kSmin},
    {pm4::TC_OP_ATOMIC_UMIN_RTN_32, pm4::TC_OP_ATOMIC_UMIN_32, 4, Kind::kUmin},
    {pm4::TC_OP_ATOMIC_SMAX_RTN_32, pm4::TC_OP_ATOMIC_SMAX_32, 4, Kind::kSmax},
    {pm4::TC_OP_ATOMIC_UMAX_RTN_32, pm4::TC_OP_ATOMIC_UMAX_32, 4, Kind::kUmax},
    {pm4::TC_OP_ATOMIC_AND_RTN_32, pm4::TC_OP_ATOMIC_AND_32, 4, Kind::kAnd},
    {pm4::TC_OP_ATOMIC_OR_RTN_32, pm4::TC_OP_ATOMIC_OR_32, 4, Kind::kOr},
    {pm4::TC_OP_ATOMIC_XOR_RTN_32, pm4::TC_OP_ATOMIC_XOR_32, 4, Kind::kXor},
    {pm4::TC_OP_ATOMIC_INC_RTN_32, pm4::TC_OP_ATOMIC_INC_32, 4, Kind::kInc},
    {pm4::TC_OP_ATOMIC_DEC_RTN_32, pm4::TC_OP_ATOMIC_DEC_32, 4, Kind::kDec},
    {pm4::TC_OP_ATOMIC_SWAP_RTN_64, pm4::TC_OP_ATOMIC_SWAP_64, 8, Kind::kSwap},
    {pm4::TC_OP_ATOMIC_CMPSWAP_RTN_64, pm4::TC_OP_ATOMIC_CMPSWAP_64, 8, Kind::kCompareSwap},
    {pm4::TC_OP_ATOMIC_ADD_RTN_64, pm4::TC_OP_ATOMIC_ADD_64, 8, Kind::kAdd},
    {pm4::TC_OP_ATOMIC_SUB_RTN_64, pm4::TC_OP_ATOMIC_SUB_64, 8, Kind::kSub},
    {pm4::TC_OP_ATOMIC_SMIN_RTN_64, pm4::TC_OP_ATOMIC_SMIN_64, 8, Kind::kSmin},
    {pm4::TC_OP_ATOMIC_UMIN_RTN_64, pm4::TC_OP_ATOMIC_UMIN_64, 8, Kind::kUmin},
    {pm4::TC_OP_ATOMIC_SMAX_RTN_64, pm4::TC_OP_ATOMIC_SMAX_64, 8, Kind::kSmax},
    {pm4::TC_OP_ATOMIC_UMAX_RTN_64, pm4::TC_OP_ATOMIC_UMAX_64, 8, Kind::kUmax},
    {pm4::TC_OP_ATOMIC_AND_RTN_64, pm4::TC_OP_ATOMIC_AND_64, 8, Kind::kAnd},
    {pm4::TC_OP_ATOMIC_OR_RTN_64, pm4::TC_OP_ATOMIC_OR_64, 8, Kind::kOr},
    {pm4::TC_OP_ATOMIC_XOR_RTN_64, pm4::TC_OP_ATOMIC_XOR_64, 8, Kind::kXor},
    {pm4::TC_OP_ATOMIC_INC_RTN_64, pm4::TC_OP_ATOMIC_INC_64, 8, Kind::kInc},
    {pm4::TC_OP_ATOMIC_DEC_RTN_64, pm4::TC_OP_ATOMIC_DEC_64, 8, Kind::kDec},
};

template <typename Unsigned, typename Signed>
Unsigned apply(Kind kind, Unsigned memory, Unsigned source, Unsigned comparand) {
  const auto s = [](Unsigned v) { return static_cast<Signed>(v); };
  switch (kind) {
    case Kind::kSwap:
      return source;
    case Kind::kCompareSwap:
      return memory == comparand ? source : memory;
    case Kind::kAdd:
      return memory + source;
    case Kind::kSub:
      return memory - source;
    case Kind::kSmin:
      return s(memory) < s(source) ? memory : source;
    case Kind::kUmin:
      return std::min(memory, source);
    case Kind::kSmax:
      return s(memory) > s(source) ? memory : source;
    case Kind::kUmax:
      return std::max(memory, source);
    case Kind::kAnd:
      return memory & source;
    case Kind::kOr:
      return memory | source;
    case Kind::kXor:
      return memory ^ source;
    // Wrapping counters (RDNA3 guide, GLOBAL_ATOMIC_INC and _DEC).
    case Kind::kInc:
      return memory >= source ? 0 : memory + 1;
    case Kind::kDec:
      return memory == 0 || memory > source ? source : memory - 1;
  }
  return memory;
}

}  // namespace

std::optional<AtomicResult> apply_atomic(uint32_t operation, uint64_t memory, uint64_t source,
                                         uint64_t comparand) {
  for (const Row& row : kRows) {
    if (operation != row.with_return && operation != row.without) continue;
    AtomicResult result;
    result.bytes = row.bytes;
    result.compare = row.kind == Kind::kCompareSwap;
    if (row.bytes == 4) {
      result.value =
          apply<uint32_t, int32_t>(row.kind, static_cast<uint32_t>(memory),
                                   static_cast<uint32_t>(source), static_cast<uint32_t>(comparand));
    } else {
      result.value = apply<uint64_t, int64_t>(row.kind, memory, source, comparand);
    }
    return result;
  }
  return std::nullopt;
}

}  // namespace outboard::simulator
