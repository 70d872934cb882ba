#include "link/recording.h"

#include <algorithm>

#include "support/error.h"

namespace outboard::link {
namespace {

// Contents up to the first are always kept, longer ones as long as the sum of them stays below the
// third; those above the second never. Kernels are in, weights are not.
constexpr uint64_t kAlways = 64 << 10, kLongest = 4 << 20, kMostKept = 64 << 20;
constexpr uint64_t kShort = 4 << 10;  // kept while contents are left out
// Of configuration space, where the extended capabilities begin, and that of the serial number
// (PCI Express base specification; Linux pci_regs.h, PCI_EXT_CAP_ID_DSN).
constexpr uint32_t kExtended = 0x100, kSerialNumber = 0x0003, kSerialBytes = 8;

bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

}  // namespace

Recording::Recording(RecordingOptions options) : options_(std::move(options)) {}

void Recording::note(std::string_view what) {
  const std::string text = options_.scrub ? options_.scrub(what) : std::string(what);
  add({Kind::kNote, 0, 0, 0, 0, std::as_bytes(std::span(text))});
}

void Recording::add_config_read(uint32_t offset, uint32_t size, uint32_t value) {
  const bool hidden = std::ranges::any_of(
      hidden_, [&](const auto& range) { return overlap(offset, size, range.first, range.second); });
  if (hidden) {
    add({Kind::kConfigHidden, 0, offset, size, 0, {}});
    return;
  }
  if (offset >= kExtended && size >= 2 && (value & 0xffff) == kSerialNumber)
    hide_config(offset + 4, kSerialBytes);
  add({Kind::kConfigRead, 0, offset, size, value, {}});
}

bool Recording::is_withheld(int bar, BarOffset offset, uint64_t bytes) const {
  return std::ranges::any_of(options_.withheld, [&](const RecordingOptions::Range& range) {
    return range.bar == bar && overlap(value(offset), bytes, value(range.offset), range.bytes);
  });
}

bool Recording::keeps(uint64_t bytes) {
  if (bytes <= (leaves_out_ ? kShort : kAlways)) return true;
  if (leaves_out_ || bytes > kLongest || kept_ + bytes > kMostKept) return false;
  kept_ += bytes;
  return true;
}

void Recording::add_contents(Kind kind, uint32_t where, uint64_t offset,
                             std::span<const std::byte> bytes, bool whole) {
  if (whole) {
    add({kind, where, offset, bytes.size(), 0, bytes});
    return;
  }
  const auto hashed = static_cast<Kind>(static_cast<uint8_t>(kind) + 1);
  const std::vector<std::byte> hashes = hash_pieces(bytes);
  add({hashed, where, offset, bytes.size(), 0, hashes});
}

void Recording::add_failure(const Error& error, bool lost) {
  const std::string text = options_.scrub ? options_.scrub(error.message()) : error.message();
  add({Kind::kFailed, 0, 0, 0, lost ? 1U : 0U, std::as_bytes(std::span(text))});
}

template <typename Call>
auto Recording::watch(const Call& call) {
  ++calls_;
  try {
    return call();
  } catch (const LinkLost& e) {
    add_failure(e, true);
    throw;
  } catch (const Error& e) {
    add_failure(e, false);
    throw;
  }
}

class RecordedMemory : public SystemRegion {
 public:
  RecordedMemory(std::unique_ptr<SystemRegion> memory, std::shared_ptr<Recording> recording,
                 uint32_t id)
      : memory_(std::move(memory)), recording_(std::move(recording)), id_(id) {}
  ~RecordedMemory() override { recording_->add({Recording::Kind::kUnshare, id_, 0, 0, 0, {}}); }
  RecordedMemory(const RecordedMemory&) = delete;
  RecordedMemory& operator=(const RecordedMemory&) = delete;

  uint64_t size() const override { return memory_->size(); }
  const std::vector<Segment>& segments() const override { return memory_->segments(); }
  std::byte* host() override { return nullptr; }
  void read(uint64_t offset, std::span<std::byte> bytes) override {
    recording_->watch([&] { memory_->read(offset, bytes); });
    recording_->add_contents(Recording::Kind::kSystemRead, id_, offset, bytes,
                             recording_->keeps(bytes.size()));
  }
  void write(uint64_t offset, std::span<const std::byte> bytes) override {
    recording_->add_contents(Recording::Kind::kSystemWrite, id_, offset, bytes,
                             recording_->keeps(bytes.size()));
    recording_->watch([&] { memory_->write(offset, bytes); });
  }

 private:
  std::unique_ptr<SystemRegion> memory_;
  std::shared_ptr<Recording> recording_;
  uint32_t id_;
};

class RecordingLink : public Link {
 public:
  RecordingLink(std::shared_ptr<Link> link, std::shared_ptr<Recording> recording)
      : link_(std::move(link)), recording_(std::move(recording)) {}
  ~RecordingLink() override { recording_->add({Recording::Kind::kClosed, 0, 0, 0, 0, {}}); }
  RecordingLink(const RecordingLink&) = delete;
  RecordingLink& operator=(const RecordingLink&) = delete;

  std::string name() const override { return link_->name(); }
  bool is_open() override { return link_->is_open(); }
  bool writes_by_dword() const override { return link_->writes_by_dword(); }
  uint32_t config_read(uint32_t offset, uint32_t size) override {
    const uint32_t value = recording_->watch([&] { return link_->config_read(offset, size); });
    recording_->add_config_read(offset, size, value);
    return value;
  }
  void config_write(uint32_t offset, uint32_t value, uint32_t size) override {
    recording_->add({Recording::Kind::kConfigWrite, 0, offset, size, value, {}});
    recording_->watch([&] { link_->config_write(offset, value, size); });
  }
  Bar bar(int index) override {
    const Bar bar = recording_->watch([&] { return link_->bar(index); });
    recording_->add(
        {Recording::Kind::kBar, static_cast<uint32_t>(index), value(bar.address), bar.size, 0, {}});
    return bar;
  }
  void read(int bar, BarOffset offset, std::span<std::byte> bytes) override {
    recording_->watch([&] { link_->read(bar, offset, bytes); });
    recording_->add_contents(
        Recording::Kind::kRead, static_cast<uint32_t>(bar), value(offset), bytes,
        recording_->keeps(bytes.size()) && !recording_->is_withheld(bar, offset, bytes.size()));
    recording_->last_read_ = {bar, offset};
  }
  void write(int bar, BarOffset offset, std::span<const std::byte> bytes) override {
    recording_->add_contents(
        Recording::Kind::kWrite, static_cast<uint32_t>(bar), value(offset), bytes,
        !recording_->is_withheld(bar, offset, bytes.size()) && recording_->keeps(bytes.size()));
    recording_->watch([&] { link_->write(bar, offset, bytes); });
  }
  std::unique_ptr<SystemRegion> share(uint64_t size, bool contiguous) override {
    auto memory = recording_->watch([&] { return link_->share(size, contiguous); });
    const uint32_t id = ++recording_->regions_;
    recording_->add({Recording::Kind::kShare, id, 0, memory->size(), contiguous ? 1U : 0U,
                     std::as_bytes(std::span(memory->segments()))});
    return std::make_unique<RecordedMemory>(std::move(memory), recording_, id);
  }
  void reset() override {
    recording_->add({Recording::Kind::kReset, 0, 0, 0, 0, {}});
    recording_->watch([&] { link_->reset(); });
  }
  void resize_bar(int index) override {
    recording_->add({Recording::Kind::kResizeBar, static_cast<uint32_t>(index), 0, 0, 0, {}});
    recording_->watch([&] { link_->resize_bar(index); });
  }

 private:
  std::shared_ptr<Link> link_;
  std::shared_ptr<Recording> recording_;
};

std::unique_ptr<Link> Recording::record(std::shared_ptr<Link> link,
                                        std::shared_ptr<Recording> recording) {
  return std::make_unique<RecordingLink>(std::move(link), std::move(recording));
}

}  // namespace outboard::link
