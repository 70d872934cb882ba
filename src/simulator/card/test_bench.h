// A small driver for the unit tests of the card's blocks: registers, page tables, queues. It shares
// nothing with the real driver but the tables.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "hardware/amd/dwords.h"
#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/page_table.h"
#include "simulator/card/board.h"
#include "simulator/card/gmc.h"
#include "simulator/card/mec.h"
#include "simulator/card/nbio.h"
#include "simulator/card/sdma.h"

namespace outboard::simulator::card::testing {

inline CardOptions small_card() {
  CardOptions options;
  options.vram_bytes = uint64_t{256} << 20;
  options.bar0_bytes = uint64_t{256} << 20;
  options.threads = 1;
  options.strict = false;
  return options;
}

class Bench {
 public:
  explicit Bench(CardOptions options = small_card());

  // Registers as the host reaches them.
  uint32_t read(uint32_t address) { return board.nbio->mmio_read(address); }
  void write(uint32_t address, uint32_t value) { board.nbio->mmio_write(address, value); }
  template <typename R>
  uint32_t get() {
    return read(R::kAddress);
  }
  template <typename R>
  void set(uint32_t value) {
    write(R::kAddress, value);
  }

  template <typename T>
  T vram(uint64_t offset) {
    T value;
    std::memcpy(&value, board.vram.at(VramOffset{offset}), sizeof value);
    return value;
  }
  template <typename T>
  void set_vram(uint64_t offset, T value) {
    std::memcpy(board.vram.at(VramOffset{offset}), &value, sizeof value);
  }
  void set_vram(uint64_t offset, const std::vector<uint32_t>& words) {
    std::memcpy(board.vram.at(VramOffset{offset}), words.data(), words.size() * 4);
  }

  // Firmware as if it had been loaded.
  void load_firmware();
  // A page table of four levels for a VMID of the GCHUB, from address 0 on.
  void enable_context(uint32_t vmid);
  static constexpr uint64_t kAllRights =
      hardware::amd::navi31::pte::VALID(1) | hardware::amd::navi31::pte::READABLE(1) |
      hardware::amd::navi31::pte::WRITEABLE(1) | hardware::amd::navi31::pte::EXECUTABLE(1);
  static constexpr uint64_t kSystem =
      hardware::amd::navi31::pte::SYSTEM(1) | hardware::amd::navi31::pte::SNOOPED(1);
  // One entry: level 0 a page of 4 KiB, 1 of 2 MiB, 2 of 1 GiB. Returns where it lies in VRAM.
  uint64_t map(uint32_t vmid, uint64_t address, uint64_t physical, uint64_t flags = kAllRights,
               int level = 0);
  void invalidate(uint32_t vmids);

  // Compute queue 1.0.0 with a ring of 64 dwords in VMID 0, doorbell 6 (dwords).
  void start_compute_queue(bool aql = false);
  // Appends to the ring, rings the doorbell, lets the engine run until it waits.
  void submit(std::initializer_list<std::vector<uint32_t>> packets);
  void run();
  bool hung() { return !events(CardEvent::Kind::kDriverError).empty(); }

  // SDMA0 queue 0 with a ring of 64 dwords, doorbell 0x200.
  void start_sdma_queue();
  void submit_sdma(std::initializer_list<std::vector<uint32_t>> packets);

  std::vector<std::string> events(CardEvent::Kind kind);
  // The texts of driver errors, one a line.
  std::string errors();

  Board board;
  static constexpr uint64_t kRing = 0x100000, kSdmaRing = 0x110000, kReport = 0x120000;
  static constexpr uint64_t kEop = 0x121000, kSdmaReport = 0x122000, kInterruptRing = 0x130000;
  static constexpr uint64_t kScratch = 0x200000;  // free for tests
  static constexpr uint32_t kRingDwords = 64;
  // The address of a VRAM offset in VMID 0.
  static uint64_t mc(uint64_t offset) { return value(Board::kFbBase) + offset; }
  // Turns the interrupt ring on; entry(i) is its i-th entry.
  void start_interrupts();
  std::vector<uint32_t> entry(int index);
  uint32_t interrupt_count();

 private:
  uint64_t table(uint64_t table, uint64_t index);

  Board::Guard guard_;
  uint64_t next_table_ = 0x800000;
  std::map<uint32_t, uint64_t> roots_;
  uint64_t written_ = 0, sdma_written_ = 0;  // dwords
};

// A type 3 packet.
std::vector<uint32_t> packet(uint8_t opcode, std::vector<uint32_t> body);

using hardware::amd::high;
using hardware::amd::low;

}  // namespace outboard::simulator::card::testing
