#pragma once

#include <cstdint>

namespace outboard {

constexpr uint64_t round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

}  // namespace outboard
