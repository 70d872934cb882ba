// How the generated tables name registers, fields and packet words.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "hardware/amd/navi31/ip_bases.h"

namespace outboard::hardware::amd::navi31 {

// Some bits of a 32-bit word.
struct Field {
  uint32_t mask = 0;
  uint8_t shift = 0;

  constexpr uint32_t get(uint32_t word) const { return (word & mask) >> shift; }
  constexpr uint32_t operator()(uint32_t value) const { return (value << shift) & mask; }
  constexpr uint32_t put(uint32_t word, uint32_t value) const {
    return (word & ~mask) | (*this)(value);
  }
};

// Some bits of a 64-bit word.
struct Field64 {
  uint64_t mask = 0;
  uint8_t shift = 0;

  constexpr uint64_t get(uint64_t word) const { return (word & mask) >> shift; }
  constexpr uint64_t operator()(uint64_t value) const { return (value << shift) & mask; }
};

// Some bits of a packet; dword 0 is its header.
struct PacketField {
  uint8_t dword = 0;
  Field field;

  constexpr uint32_t get(const uint32_t* packet) const { return field.get(packet[dword]); }
  constexpr void put(uint32_t* packet, uint32_t value) const {
    packet[dword] = field.put(packet[dword], value);
  }
};

constexpr uint32_t address_of(Ip ip, int segment, uint32_t offset) {
  return kIpBases[static_cast<size_t>(ip)][static_cast<size_t>(segment)] + offset;
}

// A register of the tables. kAddress counts dwords, as the vendor's headers do; the byte address in
// BAR 5 (or in the index/data windows, beyond it) is four times that.
template <Ip ip, int segment, uint32_t offset>
struct Register {
  static constexpr uint32_t kAddress = address_of(ip, segment, offset);
  static constexpr uint32_t kOffset = offset;
  static constexpr Ip kIp = ip;
  static constexpr int kSegment = segment;
};

struct RegisterInfo {
  std::string_view name;
  uint32_t address = 0;      // dwords
  uint32_t reset_value = 0;  // the vendor's default where the headers give one, else 0
};

// Every register of the tables, in the order of the headers.
std::span<const RegisterInfo> registers();

}  // namespace outboard::hardware::amd::navi31
