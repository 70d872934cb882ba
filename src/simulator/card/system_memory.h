// Memory of the host that the card may reach. An IOMMU stands between: the card sees bus addresses,
// page by page, only while the memory is shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>

#include "simulator/card/card.h"

namespace outboard::simulator::card {

class SystemMemory {
 public:
  explicit SystemMemory(uint64_t seed);
  ~SystemMemory();

  // As Card::share(); max_segments 0: no limit, each page lies alone. Bus addresses are below 2^40,
  // scattered, and never given out twice.
  std::shared_ptr<SystemRegion> share(uint64_t bytes, bool contiguous, int max_segments);
  // The same at bus addresses that the caller names, for replay. Null when they are no whole pages
  // or overlap what is shared.
  std::shared_ptr<SystemRegion> share_at(const std::vector<link::Segment>& segments);
  // The region, which the caller keeps until no engine can still be using its host address; null
  // when there is none of that id.
  std::shared_ptr<SystemRegion> unshare(uint32_t id);
  // Takes one page from under the card: it stays mapped on the host.
  void unshare_page(link::BusAddress address);

  struct View {
    std::byte* host = nullptr;  // null: not shared
    uint64_t bytes = 0;         // contiguous from `host` on
  };
  View find(link::BusAddress address) const;

 private:
  struct Mapped {
    uint64_t bytes = 0;
    std::byte* host = nullptr;
    uint32_t region = 0;
  };

  std::shared_ptr<SystemRegion> add(uint64_t bytes, std::vector<link::Segment> segments);

  std::mt19937_64 random_;
  link::BusAddress next_address_;
  uint32_t next_id_ = 1;
  std::map<uint32_t, std::shared_ptr<SystemRegion>> regions_;
  std::map<link::BusAddress, Mapped> mapped_;
};

// What host and card hand each other: single aligned words, which the other side may be watching,
// are read and written whole, and in order with what came before.
void copy_from_system(std::byte* out, std::byte* host, size_t n);
void copy_to_system(std::byte* host, const std::byte* data, size_t n);

}  // namespace outboard::simulator::card
