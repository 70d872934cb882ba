// What queues take: dwords. The halves of addresses and of other 64-bit numbers, packets behind
// each other.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "hardware/address.h"

namespace outboard::hardware::amd {

constexpr uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
constexpr uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }
template <Address A>
constexpr uint32_t low(A address) {
  return low(uint64_t{value(address)});
}
template <Address A>
constexpr uint32_t high(A address) {
  return high(uint64_t{value(address)});
}

inline void append(std::vector<uint32_t>& to, std::span<const uint32_t> more) {
  to.insert(to.end(), more.begin(), more.end());
}

}  // namespace outboard::hardware::amd
