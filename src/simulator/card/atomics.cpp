#include "simulator/card/atomics.h"

#include "hardware/amd/navi31/pm4.h"
#include "simulator/compute/memory_ops.h"

namespace outboard::simulator::card {

namespace pm4 = hardware::amd::navi31::pm4;

namespace {

using compute::Atomic;

struct Row {
  uint32_t with_return, without;
  int bytes;
  Atomic kind;
};

constexpr Row kRows[] = {
    {pm4::TC_OP_ATOMIC_SWAP_RTN_32, pm4::TC_OP_ATOMIC_SWAP_32, 4, Atomic::kSwap},
    {pm4::TC_OP_ATOMIC_CMPSWAP_RTN_32, pm4::TC_OP_ATOMIC_CMPSWAP_32, 4, Atomic::kCompareSwap},
    {pm4::TC_OP_ATOMIC_ADD_RTN_32, pm4::TC_OP_ATOMIC_ADD_32, 4, Atomic::kAdd},
    {pm4::TC_OP_ATOMIC_SUB_RTN_32, pm4::TC_OP_ATOMIC_SUB_32, 4, Atomic::kSub},
    {pm4::TC_OP_ATOMIC_SMIN_RTN_32, pm4::TC_OP_ATOMIC_SMIN_32, 4, Atomic::kMinI},
    {pm4::TC_OP_ATOMIC_UMIN_RTN_32, pm4::TC_OP_ATOMIC_UMIN_32, 4, Atomic::kMinU},
    {pm4::TC_OP_ATOMIC_SMAX_RTN_32, pm4::TC_OP_ATOMIC_SMAX_32, 4, Atomic::kMaxI},
    {pm4::TC_OP_ATOMIC_UMAX_RTN_32, pm4::TC_OP_ATOMIC_UMAX_32, 4, Atomic::kMaxU},
    {pm4::TC_OP_ATOMIC_AND_RTN_32, pm4::TC_OP_ATOMIC_AND_32, 4, Atomic::kAnd},
    {pm4::TC_OP_ATOMIC_OR_RTN_32, pm4::TC_OP_ATOMIC_OR_32, 4, Atomic::kOr},
    {pm4::TC_OP_ATOMIC_XOR_RTN_32, pm4::TC_OP_ATOMIC_XOR_32, 4, Atomic::kXor},
    {pm4::TC_OP_ATOMIC_INC_RTN_32, pm4::TC_OP_ATOMIC_INC_32, 4, Atomic::kInc},
    {pm4::TC_OP_ATOMIC_DEC_RTN_32, pm4::TC_OP_ATOMIC_DEC_32, 4, Atomic::kDec},
    {pm4::TC_OP_ATOMIC_SWAP_RTN_64, pm4::TC_OP_ATOMIC_SWAP_64, 8, Atomic::kSwap},
    {pm4::TC_OP_ATOMIC_CMPSWAP_RTN_64, pm4::TC_OP_ATOMIC_CMPSWAP_64, 8, Atomic::kCompareSwap},
    {pm4::TC_OP_ATOMIC_ADD_RTN_64, pm4::TC_OP_ATOMIC_ADD_64, 8, Atomic::kAdd},
    {pm4::TC_OP_ATOMIC_SUB_RTN_64, pm4::TC_OP_ATOMIC_SUB_64, 8, Atomic::kSub},
    {pm4::TC_OP_ATOMIC_SMIN_RTN_64, pm4::TC_OP_ATOMIC_SMIN_64, 8, Atomic::kMinI},
    {pm4::TC_OP_ATOMIC_UMIN_RTN_64, pm4::TC_OP_ATOMIC_UMIN_64, 8, Atomic::kMinU},
    {pm4::TC_OP_ATOMIC_SMAX_RTN_64, pm4::TC_OP_ATOMIC_SMAX_64, 8, Atomic::kMaxI},
    {pm4::TC_OP_ATOMIC_UMAX_RTN_64, pm4::TC_OP_ATOMIC_UMAX_64, 8, Atomic::kMaxU},
    {pm4::TC_OP_ATOMIC_AND_RTN_64, pm4::TC_OP_ATOMIC_AND_64, 8, Atomic::kAnd},
    {pm4::TC_OP_ATOMIC_OR_RTN_64, pm4::TC_OP_ATOMIC_OR_64, 8, Atomic::kOr},
    {pm4::TC_OP_ATOMIC_XOR_RTN_64, pm4::TC_OP_ATOMIC_XOR_64, 8, Atomic::kXor},
    {pm4::TC_OP_ATOMIC_INC_RTN_64, pm4::TC_OP_ATOMIC_INC_64, 8, Atomic::kInc},
    {pm4::TC_OP_ATOMIC_DEC_RTN_64, pm4::TC_OP_ATOMIC_DEC_64, 8, Atomic::kDec},
};

}  // namespace

std::optional<AtomicResult> apply_atomic(uint32_t operation, uint64_t memory, uint64_t source,
                                         uint64_t comparand) {
  for (const Row& row : kRows) {
    if (operation != row.with_return && operation != row.without) continue;
    AtomicResult result;
    result.bytes = row.bytes;
    result.compare = row.kind == Atomic::kCompareSwap;
    result.value = compute::apply_atomic(row.kind, row.bytes == 8, memory, source, comparand);
    return result;
  }
  return std::nullopt;
}

}  // namespace outboard::simulator::card
