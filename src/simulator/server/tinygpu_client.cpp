// TinyGPU.app's server as it behaves, odd parts included. Source: repository tinygrad/tinygrad,
// extra/usbgpu/tbgpu/installer/Shared/server.c and TinyGPUDriverExtension/TinyGPUDriver.cpp.
#include <cstring>

#include "simulator/server/client.h"
#include "support/error.h"

namespace outboard::simulator::server {
namespace {

using link::protocol::Command;
using link::protocol::Response;

class TinyGpuClient : public Client {
 public:
  TinyGpuClient(Card& card, link::Socket& socket) : Client(card, socket) {}
  ~TinyGpuClient() override {
    for (const auto& region : regions_) card_.unshare(region->id());
    card_.close_client();
  }

  Outcome handle(const Call& request) override {
    // The server keeps a BAR's number in a byte.
    const uint32_t bar = request.bar & 0xff;
    switch (static_cast<Command>(request.command)) {
      case Command::kMapBar:
        return map_bar(request.bar);
      case Command::kMapSysmemFd:
        return map_sysmem(request.arg0, request.arg1 != 0);
      case Command::kConfigRead:
        return config_read(request);
      case Command::kConfigWrite:
        return config_write(request);
      case Command::kResizeBar:
        return answer();  // it only says yes
      case Command::kReset:
        card_.reset();
        return answer();
      case Command::kMmioRead:
        if (!within(bar, request.arg0, request.arg1)) return refuse({});
        return read_bar(bar, request.arg0, request.arg1);
      case Command::kMmioWrite:
        return write(bar, request.arg0, request.arg1);
      default:
        return refuse({});
    }
  }

 private:
  Outcome map_bar(uint32_t bar) {
    if (bar >= mapped_.size()) return refuse({});
    const link::Bar found = card_.bar(static_cast<int>(bar));
    if (found.size == 0) return refuse({});
    mapped_[bar] = true;
    return answer(value(found.address), found.size);
  }

  bool within(uint32_t bar, uint64_t offset, uint64_t size) const {
    if (bar >= mapped_.size() || !mapped_[bar]) return false;
    const uint64_t length = card_.bar(static_cast<int>(bar)).size;
    return size <= link::protocol::kBulkBytes && offset <= length && size <= length - offset;
  }

  Outcome write(uint32_t bar, uint64_t offset, uint64_t size) {
    if (size > link::protocol::kBulkBytes) {
      // The real server writes past its buffer here; what follows is anybody's guess.
      return {false, "closed: a write of more than 64 MiB overruns the server's buffer"};
    }
    const bool keep = within(bar, offset, size);
    if (!write_bar(bar, offset, size, keep)) return {false, "client gone"};
    return {true, keep ? "no answer" : "dropped: outside a mapped BAR"};
  }

  // DriverKit's configuration access knows 1, 2 and 4 bytes and answers 0 for any other size.
  Outcome config_read(const Call& request) {
    const auto size = static_cast<uint32_t>(request.arg1);
    if (size != 1 && size != 2 && size != 4) return answer(0);
    const uint32_t value = card_.config_read(static_cast<uint32_t>(request.arg0), size);
    Outcome outcome = answer(value);
    if (outcome.go_on) outcome.result = fmt::format("{:#x}", value);
    return outcome;
  }

  Outcome config_write(const Call& request) {
    const auto size = static_cast<uint32_t>(request.arg1);
    if (size == 1 || size == 2 || size == 4) {
      card_.config_write(static_cast<uint32_t>(request.arg0), static_cast<uint32_t>(request.arg2),
                         size);
    }
    return answer();
  }

  Outcome map_sysmem(uint64_t size, bool contiguous) {
    constexpr uint64_t kLargest = uint64_t{64} << 30;
    uint64_t bytes = 0;
    std::shared_ptr<SystemRegion> region;
    if (regions_.size() < link::protocol::kMaxMappings && size <= kLargest) {
      bytes = (size + link::protocol::kPage - 1) / link::protocol::kPage * link::protocol::kPage;
      bytes = std::max(bytes, link::protocol::kMinMapping);
      region = card_.share(bytes, contiguous, link::protocol::kMaxSegments);
    }
    if (!region) return refuse({});  // a refusal carries no descriptor
    write_segments(*region);
    const Response response{0, bytes, regions_.size()};
    regions_.push_back(region);
    const bool sent =
        socket_.send_with_descriptor(std::as_bytes(std::span(&response, 1)), region->descriptor());
    return {sent, sent ? fmt::format("{:#x} bytes", bytes) : "client gone"};
  }

  // The region starts with its bus addresses: (address, size) pairs, then a pair of zeros.
  static void write_segments(SystemRegion& region) {
    std::byte* out = region.bytes().data();
    for (const link::Segment& segment : region.segments()) {
      std::memcpy(out, &segment.address, 8);
      std::memcpy(out + 8, &segment.size, 8);
      out += 16;
    }
    std::memset(out, 0, 16);
  }

  std::array<bool, 6> mapped_{};
  std::vector<std::shared_ptr<SystemRegion>> regions_;  // until the connection ends: no unmap
};

}  // namespace

std::unique_ptr<Client> make_tinygpu_client(Card& card, link::Socket& socket) {
  return std::make_unique<TinyGpuClient>(card, socket);
}

}  // namespace outboard::simulator::server
