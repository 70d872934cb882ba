// Packets for the copy queue. Fields: sdma_packets.h.
#pragma once

#include <cstdint>
#include <vector>

#include "hardware/address.h"

namespace outboard::hardware::amd::navi31::sdma {

// Any number of bytes.
std::vector<uint32_t> copy(GpuAddress to, GpuAddress from, uint64_t bytes);
// bytes: a multiple of four.
std::vector<uint32_t> fill(GpuAddress to, uint32_t value, uint64_t bytes);
// An interrupt.
std::vector<uint32_t> trap();
// When earlier packets are done, `value` goes to the address.
std::vector<uint32_t> fence(GpuAddress address, uint32_t value);

}  // namespace outboard::hardware::amd::navi31::sdma
