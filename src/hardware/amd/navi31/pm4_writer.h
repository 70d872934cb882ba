// Packets for the compute queue, to be put together and submitted. Fields: pm4.h; registers: gc.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "hardware/address.h"

namespace outboard::hardware::amd::navi31::pm4 {

// Earlier work is complete.
std::vector<uint32_t> barrier();

// Caches see what was written before: instruction, scalar, vector and first level, GL2.
struct Caches {
  bool instructions = false, scalar = false, vector = false, second_level = false;
};
std::vector<uint32_t> acquire(const Caches& caches);

// When all earlier work is complete and written back, `value` goes to the address.
std::vector<uint32_t> release(GpuAddress address, uint32_t value);

// A kernel's registers and its start.
struct Launch {
  GpuAddress program{};  // its first instruction
  uint32_t rsrc1 = 0, rsrc2 = 0, rsrc3 = 0;
  GpuAddress scratch{};
  uint32_t tmpring = 0;
  std::vector<uint32_t> user_data;
  std::array<uint32_t, 3> workgroup_size{1, 1, 1};
  std::array<uint32_t, 3> workgroups{1, 1, 1};
  bool wave32 = true;
};
std::vector<uint32_t> dispatch(const Launch& launch);

// Launches one after the other of which a register is written only where it has another value than
// before. Registers may be written while an earlier launch still runs: it has what it began with.
class LaunchWriter {
 public:
  std::vector<uint32_t> registers(const Launch& launch);
  std::vector<uint32_t> start(const Launch& launch) const;
  // Whatever came between may have changed them.
  void forget() { held_.clear(); }

 private:
  void set(std::vector<uint32_t>& to, uint32_t address, std::span<const uint32_t> values);

  std::map<uint32_t, uint32_t> held_;  // registers that are known, by address
};

std::vector<uint32_t> write_word(GpuAddress address, uint32_t value);

// Runs that many dwords at the address.
std::vector<uint32_t> indirect_buffer(GpuAddress address, uint32_t dwords);

// So many dwords that do nothing, at least 2.
std::vector<uint32_t> nop(size_t dwords);

// What follows is skipped when the word at the address is 0. How many dwords that are is put in
// later, at most kMostSkipped (EXEC_COUNT has 14 bits, nvd.h).
constexpr size_t kSkipDwords = 5;
constexpr uint32_t kMostSkipped = 0x3fff;
std::vector<uint32_t> skip_unless(GpuAddress address);
void set_skipped(uint32_t* packet, size_t dwords);

}  // namespace outboard::hardware::amd::navi31::pm4
