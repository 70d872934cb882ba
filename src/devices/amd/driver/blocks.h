// The blocks of the card, each a few functions in a file of its own, in the order in which they
// come up. Sources are named there.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "devices/amd/driver/discovery.h"
#include "devices/amd/driver/firmware.h"
#include "devices/amd/driver/registers.h"
#include "link/link.h"

namespace outboard::devices::amd::driver {

// What the blocks share.
struct Context {
  explicit Context(link::Link& card_link) : link(card_link), registers(card_link) {}

  link::Link& link;
  Registers registers;
  CardFacts facts;
  uint64_t vram_base = 0;  // address of VRAM in the memory controller's space (FB_LOCATION_BASE)
  uint64_t vram_end = 0;
  uint32_t hdp_flush = 0;  // dword address, once it is known
  double patience = 1;     // every deadline and every pause times this

  uint64_t controller_address(uint64_t vram_offset) const { return vram_base + vram_offset; }
  void write_vram(uint64_t offset, std::span<const std::byte> bytes);
  void read_vram(uint64_t offset, std::span<std::byte> bytes);
  // As driver::wait_for() and driver::pause(), by this card's patience.
  uint32_t wait_for(Wait wait, const std::function<uint32_t()>& read,
                    const std::function<bool(uint32_t)>& done) const;
  void pause(std::chrono::milliseconds time) const;
  // What the host wrote through BAR 0 is in VRAM before anything that follows (HDP).
  void flush_host_writes();
};

// Reads and checks the discovery table: signature, checksum, and that every block has the version
// and the register bases that our tables are made for. Throws Error naming the block that differs.
// warm: an earlier boot left a copy where BAR 0 reaches it, whatever the BAR's size.
CardFacts discover(Context& c, bool warm);

namespace nbio {
void init(Context& c);  // doorbells
void enable_doorbells(Context& c, int port, uint32_t id, uint32_t offset, uint32_t size);
}  // namespace nbio

namespace gmc {
enum class Hub : uint8_t { kGc, kMm };
void find_vram(Context& c);  // fills in vram_base and vram_end
void init_hub(Context& c, Hub hub);
void flush_tlb(Context& c, Hub hub);
bool has_fault(Context& c);
struct Fault {
  uint64_t address = 0;
  uint32_t status = 0;
  bool write = false;
};
Fault read_fault(Context& c);
void clear_fault(Context& c);
}  // namespace gmc

namespace ih {
void init(Context& c);
bool has_entries(Context& c);
// Takes all entries out of the ring and says what they are, a line each, without the ordinary ones.
std::vector<std::string> drain(Context& c);
}  // namespace ih

namespace psp {
bool is_alive(Context& c);
// Boot loader, secure OS, trusted memory, all firmware, RLC autoload.
void init(Context& c, const Firmware& firmware);
}  // namespace psp

namespace smu {
bool is_alive(Context& c);
void init(Context& c);
void reset_card(Context& c);  // mode 1
enum class Clocks : uint8_t { kLowest, kHighest };
void set_clocks(Context& c, Clocks clocks);
}  // namespace smu

namespace gfx {
bool is_up(Context& c);  // its firmware runs
void wait_for_autoload(Context& c);
void init(Context& c, uint64_t mec_start);  // cold
void restart_mec(Context& c, uint64_t mec_start);
void stop_queues(Context& c, bool wait);
struct Ring {
  uint64_t address, bytes;               // GPU virtual
  uint64_t read_pointer, write_pointer;  // where the engine reports and polls
};
// Returns the doorbell's byte offset in BAR 2.
uint64_t start_queue(Context& c, const Ring& ring, uint64_t end_of_pipe);
void allow_clock_gating(Context& c);
}  // namespace gfx

namespace sdma {
void init(Context& c);
void stop(Context& c);
uint64_t start_queue(Context& c, const gfx::Ring& ring);
}  // namespace sdma

}  // namespace outboard::devices::amd::driver
