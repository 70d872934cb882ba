// A simulated RX 7900 (XTX, XT or GRE): what a driver can see and touch of the card.
// docs/simulator.md says what is modelled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "link/link.h"
#include "simulator/card/card_model.h"
#include "simulator/card/faults.h"
#include "simulator/card/moods.h"
#include "simulator/compute/dispatch.h"
#include "simulator/cost/link_model.h"

namespace outboard::simulator::card {

struct CardOptions {
  CardOptions() : CardOptions(card_model("xtx")) {}
  explicit CardOptions(const CardModel& which)
      : model(&which), vram_bytes(which.vram_bytes), bar0_bytes(which.bar0_bytes) {}

  const CardModel* model;
  uint64_t vram_bytes;
  uint64_t bar0_bytes;  // size of BAR 0: a power of two; 256 MiB: not resizable host
  uint64_t seed = 1;    // contents of memory at power-on, page addresses
  bool strict = true;
  unsigned threads = 0;  // host threads for compute; 0: all cores
  bool cache_model = true;
  std::shared_ptr<FaultPlan> faults;    // what goes wrong on request; null: nothing
  Moods moods;                          // how it behaves where nobody knows
  std::optional<cost::LinkModel> link;  // what requests and copies take; none: no time at all
};

// What passed over the link and through the engines. Deterministic for a client that is, save
// page_walks: they depend on where in the engines' work the host's TLB invalidates fall.
struct CardCounters {
  uint64_t config_reads = 0, config_writes = 0;
  uint64_t mmio_reads[6] = {}, mmio_writes[6] = {};  // messages, by BAR
  uint64_t mmio_read_bytes[6] = {}, mmio_write_bytes[6] = {};
  uint64_t doorbells = 0;
  uint64_t system_regions = 0, system_bytes = 0, resets = 0;
  uint64_t dma_read_bytes = 0, dma_write_bytes = 0;  // by the card in system memory
  uint64_t pm4_packets = 0, sdma_packets = 0, aql_packets = 0;
  uint64_t sdma_bytes = 0;
  uint64_t interrupts = 0, page_faults = 0, tlb_invalidates = 0, page_walks = 0;
  compute::Counters compute;
};

// Something a driver did that the hardware would not forgive, or that the simulator lacks.
struct CardEvent {
  enum class Kind : uint8_t {
    kDriverError,   // wrong order, bad packet, unmapped address, unshared DMA ("kernel panic on a
                    // Mac")
    kNotSimulated,  // the simulator lacks this
    kFault,         // injected on request
    kNote,
  };
  Kind kind = Kind::kNote;
  std::string where;  // "psp", "gmc", "mec", "sdma", "pci", ...
  std::string text;
};

// Memory that the host shared with the card. Pages have scattered bus addresses; the card reaches
// them only while they are shared (an IOMMU stands between).
class SystemRegion {
 public:
  virtual ~SystemRegion() = default;
  virtual uint32_t id() const = 0;
  virtual std::span<std::byte> bytes() = 0;
  virtual int descriptor() const = 0;  // for SCM_RIGHTS
  virtual const std::vector<link::Segment>& segments() const = 0;
};

// Thread-safe: calls are serialised; the engines run on a thread of the card's own.
class Card {
 public:
  explicit Card(CardOptions options);
  ~Card();
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;

  // Configuration space. size: 1, 2 or 4. Beyond 4096 bytes or unaligned: all ones, and an event.
  uint32_t config_read(uint32_t offset, uint32_t size);
  void config_write(uint32_t offset, uint32_t value, uint32_t size);
  link::Bar bar(int index) const;
  // False when the access leaves the BAR or memory decoding is off; reads then give all ones.
  bool bar_read(int bar, link::BarOffset offset, std::span<std::byte> out);
  bool bar_write(int bar, link::BarOffset offset, std::span<const std::byte> data);
  // Null when the size is zero or memory is short. contiguous: one segment.
  std::shared_ptr<SystemRegion> share(uint64_t bytes, bool contiguous, int max_segments);
  // The same at given bus addresses, for replay. Null when they are no whole pages or overlap.
  std::shared_ptr<SystemRegion> share_at(const std::vector<link::Segment>& segments);
  void unshare(uint32_t id);
  void reset();                // function level reset
  bool resize_bar(int index);  // to its largest size
  // What the TinyGPU driver extension does when its client goes: memory and bus master off.
  void close_client();

  // Waits until the engines have nothing to do (queues empty or waiting on memory). False when they
  // were still busy after that time: a kernel that does not end.
  bool settle(double seconds = 30);

  CardCounters counters() const;
  // As compute::ComputeUnits::observe. REQUIRES: settled.
  void observe_launches(std::function<void(const compute::LaunchProfile&)> on_launch);
  std::vector<CardEvent> events() const;
  std::vector<compute::Violation> violations() const;
  uint64_t violation_count() const;
  // What was done that the hardware would not forgive, what is not simulated, and which rules
  // kernels broke: a line each.
  std::vector<std::string> complaints() const;
  const CardOptions& options() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace outboard::simulator::card
