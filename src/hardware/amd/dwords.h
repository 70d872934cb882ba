// The halves of addresses and of other 64-bit numbers, as registers and packets take them.
#pragma once

#include <cstdint>

namespace outboard::hardware::amd {

constexpr uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
constexpr uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

}  // namespace outboard::hardware::amd
