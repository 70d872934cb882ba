// Packets for the copy queue. Fields: sdma_packets.h. Addresses are the GPU's.
#pragma once

#include <cstdint>
#include <vector>

namespace outboard::hardware::amd::navi31::sdma {

// Any number of bytes.
std::vector<uint32_t> copy(uint64_t to, uint64_t from, uint64_t bytes);
// bytes: a multiple of four.
std::vector<uint32_t> fill(uint64_t to, uint32_t value, uint64_t bytes);
// An interrupt.
std::vector<uint32_t> trap();
// When earlier packets are done, `value` goes to the address.
std::vector<uint32_t> fence(uint64_t address, uint32_t value);

}  // namespace outboard::hardware::amd::navi31::sdma
