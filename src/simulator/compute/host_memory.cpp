#include "simulator/compute/host_memory.h"

#include <cstring>

namespace outboard::simulator::compute {
namespace {
constexpr uint64_t kPage = 4096;
}

void HostMemory::add(void* address, uint64_t bytes, bool writable) {
  if (bytes != 0) regions_[reinterpret_cast<uint64_t>(address)] = {bytes, writable};
}

void HostMemory::add_code(const void* code, uint64_t bytes) {
  const auto address = reinterpret_cast<uint64_t>(code);
  Code copy;
  copy.start = address / kPage * kPage;
  copy.bytes = (address + bytes - copy.start + kPage - 1) / kPage * kPage;
  copy.pages.resize(copy.bytes);
  std::memcpy(&copy.pages[address - copy.start], code, bytes);
  code_.push_back(std::move(copy));
  // Constants among the code are read as data.
  add(const_cast<void*>(code), bytes, false);
}

AlignedBuffer HostMemory::give_scratch(Dispatch& dispatch, uint32_t bytes_per_lane) {
  if (bytes_per_lane == 0) return {};
  // Enough for what many threads keep in flight, and no more: memory is used as it is touched.
  constexpr uint32_t kWaves = 4096;
  constexpr uint32_t kUnit = 256;
  const uint32_t lanes = dispatch.wave32 ? 32 : 64;
  dispatch.scratch_bytes_per_wave = (bytes_per_lane * lanes + kUnit - 1) / kUnit * kUnit;
  dispatch.scratch_waves = kWaves;
  const uint64_t bytes = uint64_t{dispatch.scratch_bytes_per_wave} * kWaves;
  AlignedBuffer scratch(bytes);
  dispatch.scratch_base = reinterpret_cast<uint64_t>(scratch.data());
  add(scratch.data(), bytes, true);
  return scratch;
}

Translation HostMemory::translate(uint64_t address, Access access) {
  if (access == Access::kExecute) {
    for (Code& code : code_) {
      if (address < code.start || address - code.start >= code.bytes) continue;
      const uint64_t offset = address - code.start;
      return {&code.pages[offset], code.bytes - offset, false, false, false};
    }
    return {};
  }
  // NOLINTNEXTLINE(performance-no-int-to-ptr): GPU addresses are host addresses here
  auto* host = reinterpret_cast<std::byte*>(address);
  auto after = regions_.upper_bound(address);
  if (after != regions_.begin()) {
    const auto& [start, region] = *std::prev(after);
    if (address - start < region.bytes) {
      return {host, region.bytes - (address - start), region.writable, false, false};
    }
  }
  if (!everything_) return {};
  const uint64_t end = after == regions_.end() ? ~uint64_t{0} : after->first;
  return {host, end - address, true, false, false};
}

}  // namespace outboard::simulator::compute
