// A compute queue for the unit tests of the MEC.
#pragma once

#include "hardware/amd/navi31/pm4.h"
#include "simulator/card/test_bench.h"

namespace outboard::simulator::card::testing {

namespace gc = hardware::amd::navi31::gc;
namespace pm4 = hardware::amd::navi31::pm4;

inline constexpr uint64_t kData = Bench::kScratch;
inline constexpr uint64_t kAddress = value(Board::kFbBase) + kData;

inline std::vector<uint32_t> write_data(uint64_t address, uint32_t value) {
  return packet(pm4::WRITE_DATA, {5 << 8, low(address), high(address), value});
}

struct MecTest : ::testing::Test {
  explicit MecTest(const char* faults = nullptr) : bench(options(faults)) {
    bench.load_firmware();
    bench.start_interrupts();
    bench.start_compute_queue();
  }
  static CardOptions options(const char* faults) {
    CardOptions result = small_card();
    if (faults != nullptr) result.faults = FaultPlan::parse(faults, "test");
    return result;
  }
  uint32_t data(uint64_t offset = 0) { return bench.vram<uint32_t>(kData + offset); }
  Bench bench;
  uint64_t kept = 0;
};

inline std::vector<uint32_t> wait_mem(uint64_t address, uint32_t function, uint32_t reference,
                                      uint32_t mask = ~0u) {
  return packet(pm4::WAIT_REG_MEM,
                {function | 1 << 4, low(address), high(address), reference, mask, 4});
}

}  // namespace outboard::simulator::card::testing
