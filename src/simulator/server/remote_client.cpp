// tinygrad's remote server as it behaves. Source: repository tinygrad/tinygrad,
// extra/remote/serve.py; the client's side in runtime/support/system.py (RemotePCIDevice).
#include <algorithm>
#include <cstring>

#include "simulator/server/client.h"
#include "support/error.h"

namespace outboard::simulator::server {
namespace {

using link::protocol::Command;

constexpr std::string_view kSlot = "0000:03:00.0";  // where the card sits on the imagined host
constexpr uint64_t kLargestProbe = 1 << 16;
constexpr uint64_t kLargestRegion = uint64_t{16} << 30;
constexpr uint64_t kLargestContiguous = uint64_t{2} << 20;

class RemoteClient : public Client {
 public:
  RemoteClient(Card& card, link::Socket& socket, RemoteState& state)
      : Client(card, socket), state_(state) {}

  Outcome handle(const Call& request) override {
    const auto command = static_cast<Command>(request.command);
    if (command == Command::kPing) return answer();
    if (command == Command::kProbe) return probe(request);
    const bool writes = command == Command::kMmioWrite || command == Command::kSysmemWrite;
    if (request.device != 0 || !state_.probed) {
      const std::string why = fmt::format("device {} not probed", request.device);
      if (writes) return {false, "closed: write failed: " + why};
      return refuse(why);
    }
    switch (command) {
      case Command::kMapBar:
        return map_bar(request.bar);
      case Command::kConfigRead:
        return config_read(request);
      case Command::kConfigWrite:
        return config_write(request);
      case Command::kResizeBar:
        return resize_bar(request.bar);
      case Command::kReset:
        card_.reset();
        return answer();
      case Command::kMmioRead:
        return mmio_read(request);
      case Command::kMmioWrite:
        return mmio_write(request);
      case Command::kMapSysmem:
        return map_sysmem(request.arg0, request.arg1 != 0);
      case Command::kSysmemRead:
        return sysmem_read(request);
      case Command::kSysmemWrite:
        return sysmem_write(request);
      default:
        return refuse(fmt::format("unknown command {}", request.command));
    }
  }

 private:
  // arg0: base class wanted (0: any), arg2: vendor; payload: (mask, device) pairs.
  Outcome probe(const Call& request) {
    if (request.arg1 > kLargestProbe) return {false, "closed: a probe of that length"};
    std::vector<std::byte> payload(request.arg1);
    if (!socket_.receive(payload)) return {false, "client gone"};
    const uint32_t id = card_.config_read(0, 4);
    const uint32_t base_class = card_.config_read(8, 4) >> 24;
    bool matches = id != 0xffffffff && (id & 0xffff) == request.arg2 &&
                   (request.arg0 == 0 || request.arg0 == base_class);
    bool listed = false;
    for (size_t i = 0; i + 8 <= payload.size(); i += 8) {
      uint32_t mask = 0, device = 0;
      std::memcpy(&mask, &payload[i], 4);
      std::memcpy(&device, &payload[i + 4], 4);
      listed |= ((id >> 16) & mask) == device;
    }
    matches = matches && listed;
    if (matches) state_.probed = true;
    const std::string text = matches ? fmt::format("{}:0", kSlot) : std::string();
    Outcome outcome = answer(text.size(), matches ? 1 : 0, std::as_bytes(std::span(text)));
    if (outcome.go_on) outcome.result = matches ? text : "no such device";
    return outcome;
  }

  Outcome map_bar(uint32_t bar) {
    const link::Bar found =
        bar < state_.mapped.size() ? card_.bar(static_cast<int>(bar)) : link::Bar{};
    if (found.size == 0) return refuse(fmt::format("BAR {} cannot be mapped", bar));
    state_.mapped[bar] = true;
    return answer(value(found.address), found.size);
  }

  // Through sysfs: what lies beyond the end or is of another size is not read.
  Outcome config_read(const Call& request) {
    if ((request.arg1 != 1 && request.arg1 != 2 && request.arg1 != 4) ||
        request.arg0 > 4096 - request.arg1) {
      return refuse(
          fmt::format("configuration space has no {} bytes at {:#x}", request.arg1, request.arg0));
    }
    const uint32_t value =
        card_.config_read(static_cast<uint32_t>(request.arg0), static_cast<uint32_t>(request.arg1));
    Outcome outcome = answer(value);
    if (outcome.go_on) outcome.result = fmt::format("{:#x}", value);
    return outcome;
  }

  Outcome config_write(const Call& request) {
    if ((request.arg1 != 1 && request.arg1 != 2 && request.arg1 != 4) ||
        request.arg0 > 4096 - request.arg1) {
      return refuse(
          fmt::format("configuration space has no {} bytes at {:#x}", request.arg1, request.arg0));
    }
    card_.config_write(static_cast<uint32_t>(request.arg0), static_cast<uint32_t>(request.arg2),
                       static_cast<uint32_t>(request.arg1));
    return answer();
  }

  Outcome resize_bar(uint32_t bar) {
    if (bar < state_.mapped.size() && card_.resize_bar(static_cast<int>(bar))) return answer();
    return refuse(fmt::format("Cannot resize BAR {}: it is not resizable", bar));
  }

  bool within(const Call& request) const {
    if (request.bar >= state_.mapped.size() || !state_.mapped[request.bar]) return false;
    const uint64_t length = card_.bar(static_cast<int>(request.bar)).size;
    return request.arg0 <= length && request.arg1 <= length - request.arg0;
  }

  Outcome mmio_read(const Call& request) {
    if (!within(request)) {
      return refuse(fmt::format("BAR {} has no {:#x} bytes at {:#x}, or is not mapped", request.bar,
                                request.arg1, request.arg0));
    }
    return read_bar(request.bar, request.arg0, request.arg1);
  }

  Outcome mmio_write(const Call& request) {
    if (!within(request)) return {false, "closed: write failed: outside a mapped BAR"};
    if (!write_bar(request.bar, request.arg0, request.arg1, true)) return {false, "client gone"};
    return {true, "no answer"};
  }

  Outcome map_sysmem(uint64_t size, bool contiguous) {
    if (contiguous && size > kLargestContiguous) {
      return refuse("Contiguous allocation is only supported for sizes up to 2MB");
    }
    std::shared_ptr<SystemRegion> region;
    if (size > 0 && size <= kLargestRegion) {
      const uint64_t bytes =
          (size + link::protocol::kPage - 1) / link::protocol::kPage * link::protocol::kPage;
      region = card_.share(bytes, contiguous, 0);
    }
    if (!region) return refuse(fmt::format("cannot allocate {:#x} bytes", size));
    std::vector<uint64_t> pages;
    for (const link::Segment& segment : region->segments()) {
      for (uint64_t at = 0; at < segment.size; at += link::protocol::kPage) {
        pages.push_back(value(segment.address + at));
      }
    }
    const uint64_t handle = state_.regions.size();
    state_.regions.push_back(region);
    return answer(pages.size() * 8, handle, std::as_bytes(std::span(pages)));
  }

  std::span<std::byte> region_bytes(const Call& request) {
    if (request.bar >= state_.regions.size()) return {};
    const std::span<std::byte> all = state_.regions[request.bar]->bytes();
    if (request.arg0 > all.size() || request.arg1 > all.size() - request.arg0) return {};
    return all.subspan(request.arg0, request.arg1);
  }

  Outcome sysmem_read(const Call& request) {
    const std::span<std::byte> bytes = region_bytes(request);
    if (bytes.size() != request.arg1) {
      return refuse(fmt::format("no {:#x} bytes at {:#x} of region {}", request.arg1, request.arg0,
                                request.bar));
    }
    return answer(request.arg1, 0, bytes);
  }

  Outcome sysmem_write(const Call& request) {
    const std::span<std::byte> bytes = region_bytes(request);
    if (bytes.size() != request.arg1) return {false, "closed: write failed: outside a region"};
    if (!socket_.receive(bytes)) return {false, "client gone"};
    return {true, "no answer"};
  }

  RemoteState& state_;
};

}  // namespace

std::unique_ptr<Client> make_remote_client(Card& card, link::Socket& socket, RemoteState& state) {
  return std::make_unique<RemoteClient>(card, socket, state);
}

}  // namespace outboard::simulator::server
