#include "simulator/card/simulated_link.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "simulator/card/system_memory.h"
#include "support/error.h"

namespace outboard::simulator::card {
namespace {

class SimulatedMemory : public link::SystemRegion {
 public:
  SimulatedMemory(Card& card, std::shared_ptr<card::SystemRegion> region)
      : card_(card), region_(std::move(region)) {}
  ~SimulatedMemory() override { card_.unshare(region_->id()); }

  uint64_t size() const override { return region_->bytes().size(); }
  const std::vector<link::Segment>& segments() const override { return region_->segments(); }
  std::byte* host() override { return region_->bytes().data(); }
  void read(uint64_t offset, std::span<std::byte> bytes) override {
    copy_from_system(bytes.data(), host() + offset, bytes.size());
  }
  void write(uint64_t offset, std::span<const std::byte> bytes) override {
    copy_to_system(host() + offset, bytes.data(), bytes.size());
  }

 private:
  Card& card_;
  std::shared_ptr<card::SystemRegion> region_;
};

class SimulatedLink : public link::Link {
 public:
  explicit SimulatedLink(Card& card) : card_(card) {}
  ~SimulatedLink() override { card_.close_client(); }

  std::string name() const override { return "simulated"; }
  bool is_open() override { return !dropped_; }

  uint32_t config_read(uint32_t offset, uint32_t size) override {
    request("CFG_READ");
    return card_.config_read(offset, size);
  }
  void config_write(uint32_t offset, uint32_t value, uint32_t size) override {
    request("CFG_WRITE");
    card_.config_write(offset, value, size);
  }
  link::Bar bar(int index) override {
    request("MAP_BAR");
    return card_.bar(index);
  }
  void read(int bar, link::BarOffset offset, std::span<std::byte> bytes) override {
    request("MMIO_READ");
    if (!card_.bar_read(bar, offset, bytes)) {
      fail("simulated: BAR {} has no {} bytes at {:#x}", bar, bytes.size(), offset);
    }
  }
  // Like the wire, a write that the card does not decode says nothing.
  void write(int bar, link::BarOffset offset, std::span<const std::byte> bytes) override {
    request("MMIO_WRITE");
    const uint64_t size = card_.bar(bar).size;
    if (value(offset) > size || bytes.size() > size - value(offset))
      fail("simulated: BAR {} has no {} bytes at {:#x}", bar, bytes.size(), offset);
    card_.bar_write(bar, offset, bytes);
  }
  bool writes_by_dword() const override { return true; }
  std::unique_ptr<link::SystemRegion> share(uint64_t size, bool contiguous) override {
    request("MAP_SYSMEM_FD");
    std::shared_ptr<card::SystemRegion> region = card_.share(size, contiguous, kMaxSegments);
    if (!region) fail("simulated: cannot share {} bytes", size);
    return std::make_unique<SimulatedMemory>(card_, std::move(region));
  }
  void reset() override {
    request("RESET");
    card_.reset();
  }
  void resize_bar(int index) override {
    request("RESIZE_BAR");
    if (!card_.resize_bar(index)) fail("simulated: BAR {} cannot be resized", index);
  }

 private:
  static constexpr int kMaxSegments = 32;

  // The faults of a connection, for a link that has none.
  void request(std::string_view what) {
    FaultPlan* faults = card_.options().faults.get();
    if (faults == nullptr) return;
    faults->begin_request();
    dropped_ =
        dropped_ || faults->fires("link.drop", what) || faults->fires("link.cut-reply", what);
    if (dropped_) {
      throw link::LinkLost(fmt::format("simulated: the connection is gone ({})", what),
                           "A fault rule dropped it.");
    }
    if (const auto rule = faults->fires("link.slow", what)) {
      const auto found = rule->parameters.find("milliseconds");
      std::this_thread::sleep_for(
          std::chrono::milliseconds(found == rule->parameters.end() ? 100 : found->second));
    }
    if (faults->fires("link.refuse", what)) fail("simulated: {} was refused", what);
  }

  Card& card_;
  bool dropped_ = false;
};

}  // namespace

std::unique_ptr<link::Link> make_simulated_link(Card& card) {
  return std::make_unique<SimulatedLink>(card);
}

}  // namespace outboard::simulator::card
