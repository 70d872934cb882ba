#include "simulator/card/system_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>

#include "link/protocol.h"
#include "support/error.h"

namespace outboard::simulator::card {
namespace {

template <typename T>
bool is_word(const std::byte* host, size_t n) {
  return n == sizeof(T) && reinterpret_cast<uintptr_t>(host) % sizeof(T) == 0;
}

constexpr uint64_t kPage = link::protocol::kPage;
constexpr uint64_t kLargest = uint64_t{64} << 30;

// An unnamed file that lives in memory; -1 when there is none to be had.
int make_memory_file() {
#ifdef __linux__
  return memfd_create("outboard-system", MFD_CLOEXEC);
#else
  static std::atomic<unsigned> counter{0};
  const std::string name = fmt::format("/outboard-{}-{}", getpid(), counter++);
  const int descriptor = shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (descriptor >= 0) shm_unlink(name.c_str());
  return descriptor;
#endif
}

class MemoryFileRegion : public SystemRegion {
 public:
  // REQUIRES: descriptor is open and as long as `memory`; both are taken over.
  MemoryFileRegion(uint32_t id, int descriptor, std::span<std::byte> memory)
      : id_(id), descriptor_(descriptor), memory_(memory) {}
  ~MemoryFileRegion() override {
    munmap(memory_.data(), memory_.size());
    close(descriptor_);
  }
  uint32_t id() const override { return id_; }
  std::span<std::byte> bytes() override { return memory_; }
  int descriptor() const override { return descriptor_; }
  const std::vector<link::Segment>& segments() const override { return segments_; }
  void set_segments(std::vector<link::Segment> segments) { segments_ = std::move(segments); }

 private:
  uint32_t id_;
  int descriptor_;
  std::span<std::byte> memory_;
  std::vector<link::Segment> segments_;
};

}  // namespace

void copy_from_system(std::byte* out, std::byte* host, size_t n) {
  const auto load = [&]<typename T>(T value) {
    value = std::atomic_ref<T>(*reinterpret_cast<T*>(host)).load(std::memory_order_acquire);
    std::memcpy(out, &value, sizeof value);
  };
  if (is_word<uint32_t>(host, n)) {
    load(uint32_t{});
  } else if (is_word<uint64_t>(host, n)) {
    load(uint64_t{});
  } else {
    std::memcpy(out, host, n);
  }
}

void copy_to_system(std::byte* host, const std::byte* data, size_t n) {
  const auto store = [&]<typename T>(T value) {
    std::memcpy(&value, data, sizeof value);
    std::atomic_ref<T>(*reinterpret_cast<T*>(host)).store(value, std::memory_order_release);
  };
  if (is_word<uint32_t>(host, n)) {
    store(uint32_t{});
  } else if (is_word<uint64_t>(host, n)) {
    store(uint64_t{});
  } else {
    std::memcpy(host, data, n);
  }
}

SystemMemory::SystemMemory(uint64_t seed) : random_(seed), next_address_{uint64_t{4} << 30} {}
SystemMemory::~SystemMemory() = default;

std::shared_ptr<SystemRegion> SystemMemory::share(uint64_t bytes, bool contiguous,
                                                  int max_segments) {
  if (bytes == 0 || bytes > kLargest) return nullptr;
  const uint64_t size = (bytes + kPage - 1) / kPage * kPage;
  const uint64_t pages = size / kPage;

  // As many segments as allowed, cut at random pages: the hard case for a driver.
  const uint64_t allowed = max_segments > 0 ? static_cast<uint64_t>(max_segments) : pages;
  const uint64_t count = contiguous ? 1 : std::min(pages, allowed);
  std::vector<uint64_t> cuts(pages - 1);
  std::iota(cuts.begin(), cuts.end(), uint64_t{1});
  std::vector<uint64_t> starts{0};
  std::sample(cuts.begin(), cuts.end(), std::back_inserter(starts), count - 1, random_);
  starts.push_back(pages);

  std::vector<link::Segment> segments(count);
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::shuffle(order.begin(), order.end(), random_);
  for (const size_t i : order) {
    next_address_ += (1 + random_() % 4) * kPage;  // a gap: overruns are seen
    segments[i] = {next_address_, (starts[i + 1] - starts[i]) * kPage};
    next_address_ += segments[i].size;
  }
  if (value(next_address_) >> link::protocol::kAddressBits != 0) return nullptr;
  return add(size, std::move(segments));
}

std::shared_ptr<SystemRegion> SystemMemory::share_at(const std::vector<link::Segment>& segments) {
  uint64_t size = 0;
  link::BusAddress end = next_address_;
  for (const link::Segment& segment : segments) {
    if (segment.size == 0 || segment.size > kLargest || segment.size % kPage != 0 ||
        value(segment.address) % kPage != 0 || value(segment.address) > UINT64_MAX - segment.size)
      return nullptr;
    const auto after = mapped_.lower_bound(segment.address + segment.size);
    if (after != mapped_.begin()) {
      const auto& [start, mapped] = *std::prev(after);
      if (start + mapped.bytes > segment.address) return nullptr;
    }
    size += segment.size;
    end = std::max(end, segment.address + segment.size);
  }
  if (size == 0 || size > kLargest) return nullptr;
  std::vector<link::Segment> sorted = segments;
  std::ranges::sort(sorted, {}, &link::Segment::address);
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i - 1].address + sorted[i - 1].size > sorted[i].address) return nullptr;
  }
  next_address_ = end;
  return add(size, segments);
}

std::shared_ptr<SystemRegion> SystemMemory::add(uint64_t size,
                                                std::vector<link::Segment> segments) {
  const int descriptor = make_memory_file();
  if (descriptor < 0) return nullptr;
  if (ftruncate(descriptor, static_cast<off_t>(size)) != 0) {
    close(descriptor);
    return nullptr;
  }
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) {
    close(descriptor);
    return nullptr;
  }
  auto region = std::make_shared<MemoryFileRegion>(
      next_id_++, descriptor, std::span(static_cast<std::byte*>(memory), size));
  uint64_t offset = 0;
  for (const link::Segment& segment : segments) {
    mapped_[segment.address] = {segment.size, region->bytes().data() + offset, region->id()};
    offset += segment.size;
  }
  region->set_segments(std::move(segments));
  regions_[region->id()] = region;
  return region;
}

std::shared_ptr<SystemRegion> SystemMemory::unshare(uint32_t id) {
  const auto found = regions_.find(id);
  if (found == regions_.end()) return nullptr;
  auto region = found->second;
  regions_.erase(found);
  std::erase_if(mapped_, [&](const auto& entry) { return entry.second.region == id; });
  return region;
}

void SystemMemory::unshare_page(link::BusAddress address) {
  const link::BusAddress page{value(address) / kPage * kPage};
  auto next = mapped_.upper_bound(page);
  if (next == mapped_.begin()) return;
  const auto entry = std::prev(next);
  const auto [start, mapped] = *entry;
  if (page >= start + mapped.bytes) return;
  mapped_.erase(entry);
  if (page > start) mapped_[start] = {page - start, mapped.host, mapped.region};
  const link::BusAddress after = page + kPage;
  if (after < start + mapped.bytes) {
    mapped_[after] = {start + mapped.bytes - after, mapped.host + (after - start), mapped.region};
  }
}

SystemMemory::View SystemMemory::find(link::BusAddress address) const {
  const auto next = mapped_.upper_bound(address);
  if (next == mapped_.begin()) return {};
  const auto& [start, mapped] = *std::prev(next);
  if (address >= start + mapped.bytes) return {};
  return {mapped.host + (address - start), mapped.bytes - (address - start)};
}

}  // namespace outboard::simulator::card
