#include "link/wire_link.h"
#include "hardware/amd/chips.h"

#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "link/patience.h"
#include "link/protocol.h"
#include "link/socket.h"
#include "support/error.h"

namespace outboard::link {
namespace {

using protocol::Command;
using protocol::Request;
using protocol::Response;

constexpr int kBars = 6;
constexpr int kSocketBuffers = 64 << 20;  // what both servers ask for on their side

std::string_view command_name(Command command) {
  static constexpr std::array<std::string_view, protocol::kCommands> names = {
      "PROBE",        "MAP_BAR",    "MAP_SYSMEM_FD", "CFG_READ",   "CFG_WRITE",
      "RESET",        "MMIO_READ",  "MMIO_WRITE",    "MAP_SYSMEM", "SYSMEM_READ",
      "SYSMEM_WRITE", "RESIZE_BAR", "PING"};
  return names[static_cast<size_t>(command)];
}

// The conversation, shared by the link and by the memory that it shares.
// A response that is good, out of its packed form: references to packed fields are misaligned.
struct Answer {
  uint64_t resp0, resp1;
};

class Wire {
 public:
  Wire(Socket socket, std::string name, WireOptions options)
      : socket_(std::move(socket)), name_(std::move(name)), patience_(options.timeout) {
    socket_.set_buffers(kSocketBuffers);
    wait_for(options.first_timeout.count() > 0 ? options.first_timeout : options.timeout);
  }

  const std::string& name() const { return name_; }
  // Between requests the other side has nothing to say: anything to read is its end.
  bool is_open() const {
    pollfd look{socket_.descriptor(), POLLIN, 0};
    return lost_.empty() && ::poll(&look, 1, 0) == 0;
  }
  void set_device(uint32_t device) { device_ = device; }

  struct Arguments {
    uint32_t bar = 0;
    uint64_t arg0 = 0, arg1 = 0, arg2 = 0;
  };

  // Sends a request that has no answer, or whose answer the caller takes.
  void send(Command command, const Arguments& a, std::span<const std::byte> payload = {}) {
    const Request request{static_cast<uint8_t>(command), device_, a.bar, a.arg0, a.arg1, a.arg2};
    const auto header = std::as_bytes(std::span(&request, 1));
    if (!lost_.empty()) {
      throw LinkLost(fmt::format("{}: the connection is lost: {}", name_, lost_),
                     "The server ended or hangs, or the card was unplugged.");
    }
    const bool brings = command == Command::kMmioRead || command == Command::kSysmemRead;
    patience_.add(payload.size() + (brings ? a.arg1 : 0));
    if (patience_.limit() > timeout_) wait_for(patience_.limit());
    // TinyGPU's server reads the header in one piece; what follows may come in any.
    if (!socket_.send(header) || !socket_.send(payload)) lost(command);
  }

  Answer answer(Command command, int* descriptor = nullptr) {
    Response response{};
    const auto bytes = std::as_writable_bytes(std::span(&response, 1));
    const bool got = descriptor != nullptr ? socket_.receive_with_descriptor(bytes, *descriptor)
                                           : socket_.receive(bytes);
    if (!got) lost(command);
    patience_.answered();
    if (timeout_ != patience_.limit()) wait_for(patience_.limit());
    if (response.status != 0) refused(command, response.resp0);
    return {response.resp0, response.resp1};
  }

  Answer call(Command command, const Arguments& a, std::span<const std::byte> payload = {}) {
    send(command, a, payload);
    return answer(command);
  }

  void receive(Command command, std::span<std::byte> bytes) {
    if (!socket_.receive(bytes)) lost(command);
  }

 private:
  void wait_for(std::chrono::milliseconds timeout) {
    timeout_ = timeout;
    socket_.set_timeout(timeout);
  }
  // From then on answers could be those to other requests: nothing more passes.
  [[noreturn]] void lost(Command command) {
    lost_ = fmt::format("{} {}", command_name(command),
                        socket_.timed_out() ? "was not answered" : "was cut off");
    if (socket_.timed_out()) {
      throw LinkLost(
          fmt::format("{}: no answer to {} in {} ms", name_, command_name(command),
                      timeout_.count()),
          "Another program may hold the card (the server takes one client at a time), or the card "
          "hangs: close the other program, or power the enclosure off and on.");
    }
    throw LinkLost(
        fmt::format("{}: the connection closed during {}", name_, command_name(command)),
        "The server ended, or the card was unplugged. Check the cable and the enclosure's power.");
  }

  [[noreturn]] void refused(Command command, uint64_t message_bytes) {
    constexpr uint64_t kLongestMessage = 4096;
    std::string message(std::min(message_bytes, kLongestMessage), '\0');
    if (!socket_.receive(std::as_writable_bytes(std::span(message)))) lost(command);
    if (message.empty()) message = "unknown error";
    throw Error(fmt::format("{}: {} refused: {}", name_, command_name(command), message));
  }

  Socket socket_;
  std::string name_;
  std::chrono::milliseconds timeout_{};
  Patience patience_;
  uint32_t device_ = 0;
  std::string lost_;  // why; empty: the connection is whole
};

// Memory that both sides map.
class MappedMemory : public SystemRegion {
 public:
  MappedMemory(Wire& wire, int descriptor, uint64_t size) : size_(size) {
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    const int error = errno;
    ::close(descriptor);
    errno = error;
    if (memory == MAP_FAILED) throw system_error("map system memory of", wire.name());
    memory_ = std::unique_ptr<std::byte, Unmap>(static_cast<std::byte*>(memory), Unmap{size});
    read_segments(wire);
  }

  uint64_t size() const override { return size_; }
  const std::vector<Segment>& segments() const override { return segments_; }
  std::byte* host() override { return memory_.get(); }
  void read(uint64_t offset, std::span<std::byte> bytes) override {
    std::memcpy(bytes.data(), host() + offset, bytes.size());
  }
  void write(uint64_t offset, std::span<const std::byte> bytes) override {
    std::memcpy(host() + offset, bytes.data(), bytes.size());
  }

 private:
  struct Unmap {
    size_t bytes;
    void operator()(std::byte* memory) const { ::munmap(memory, bytes); }
  };

  // (address, size) pairs at the start of the region, ended by a pair of zeros.
  void read_segments(const Wire& wire) {
    uint64_t covered = 0;
    for (size_t i = 0; (i + 1) * 16 <= size_ && i <= protocol::kMaxSegments; ++i) {
      Segment segment;
      std::memcpy(&segment.address, host() + i * 16, 8);
      std::memcpy(&segment.size, host() + i * 16 + 8, 8);
      if (segment.size == 0) break;
      segments_.push_back(segment);
      covered += segment.size;
    }
    if (covered < size_) {
      fail("{}: system memory of {} bytes came with addresses for {}", wire.name(), size_, covered);
    }
  }

  uint64_t size_;
  std::unique_ptr<std::byte, Unmap> memory_{nullptr, Unmap{0}};
  std::vector<Segment> segments_;
};

// Memory on the server's machine.
class RemoteMemory : public SystemRegion {
 public:
  RemoteMemory(Wire& wire, uint32_t handle, uint64_t size, std::vector<Segment> segments)
      : wire_(wire), handle_(handle), size_(size), segments_(std::move(segments)) {}

  uint64_t size() const override { return size_; }
  const std::vector<Segment>& segments() const override { return segments_; }
  std::byte* host() override { return nullptr; }
  void read(uint64_t offset, std::span<std::byte> bytes) override {
    wire_.call(Command::kSysmemRead, {handle_, offset, bytes.size(), 0});
    wire_.receive(Command::kSysmemRead, bytes);
  }
  void write(uint64_t offset, std::span<const std::byte> bytes) override {
    wire_.send(Command::kSysmemWrite, {handle_, offset, bytes.size(), 0}, bytes);
  }

 private:
  Wire& wire_;
  uint32_t handle_;
  uint64_t size_;
  std::vector<Segment> segments_;
};

// What both dialects do alike.
class WireLink : public Link {
 public:
  WireLink(Guarded guarded, std::string name, WireOptions options)
      : guard_(std::move(guarded.process)),
        wire_(std::move(guarded.socket), std::move(name), options) {}

  std::string name() const override { return wire_.name(); }
  bool is_open() override { return wire_.is_open(); }

  uint32_t config_read(uint32_t offset, uint32_t size) override {
    return static_cast<uint32_t>(wire_.call(Command::kConfigRead, {0, offset, size, 0}).resp0);
  }
  void config_write(uint32_t offset, uint32_t value, uint32_t size) override {
    wire_.call(Command::kConfigWrite, {0, offset, size, value});
  }
  Bar bar(int index) override {
    std::optional<Bar>& known = bars_.at(static_cast<size_t>(index));
    if (!known) {
      const Answer response = wire_.call(Command::kMapBar, {static_cast<uint32_t>(index), 0, 0, 0});
      known = Bar{BusAddress{response.resp0}, response.resp1};
    }
    return *known;
  }
  void read(int index, BarOffset offset, std::span<std::byte> bytes) override {
    check(index, offset, bytes.size());
    while (!bytes.empty()) {
      const auto piece = bytes.first(std::min<uint64_t>(bytes.size(), protocol::kBulkBytes));
      wire_.call(Command::kMmioRead,
                 {static_cast<uint32_t>(index), value(offset), piece.size(), 0});
      wire_.receive(Command::kMmioRead, piece);
      bytes = bytes.subspan(piece.size());
      offset += piece.size();
    }
  }
  void write(int index, BarOffset offset, std::span<const std::byte> bytes) override {
    check(index, offset, bytes.size());
    while (!bytes.empty()) {
      const auto piece = bytes.first(std::min<uint64_t>(bytes.size(), protocol::kBulkBytes));
      wire_.send(Command::kMmioWrite,
                 {static_cast<uint32_t>(index), value(offset), piece.size(), 0}, piece);
      bytes = bytes.subspan(piece.size());
      offset += piece.size();
    }
  }
  void reset() override { wire_.call(Command::kReset, {}); }
  void resize_bar(int index) override {
    wire_.call(Command::kResizeBar, {static_cast<uint32_t>(index), 0, 0, 0});
    bars_.at(static_cast<size_t>(index)).reset();
  }

 private:
  std::unique_ptr<GuardProcess> guard_;  // ends once the wire has closed

 protected:
  Wire wire_;

 private:
  // The server drops a write outside a BAR without a word, so we look first.
  void check(int index, BarOffset from, uint64_t bytes) {
    const uint64_t offset = value(from);
    const Bar found = bar(index);
    if (offset > found.size || bytes > found.size - offset) {
      fail("{}: BAR {} has {:#x} bytes; {:#x} at {:#x} lie outside", name(), index, found.size,
           bytes, offset);
    }
  }

  std::array<std::optional<Bar>, kBars> bars_;
};

Guarded guard(Socket server, Dialect dialect, const std::string& name, const WireOptions& options) {
  if (!options.guarded) return {std::move(server), nullptr};
  static const CardLock kNone;
  return start_guard(std::move(server), dialect, name,
                     options.lock != nullptr ? *options.lock : kNone);
}

class TinyGpuLink : public WireLink {
 public:
  using WireLink::WireLink;

  // tinygrad/tinygrad, extra/usbgpu/tbgpu/installer/Shared/server.c: mmio_copy goes dword by dword.
  bool writes_by_dword() const override { return true; }
  std::unique_ptr<SystemRegion> share(uint64_t size, bool contiguous) override {
    if (regions_ == protocol::kMaxMappings) {
      fail("{}: {} regions are shared, and the server takes no more on one connection", name(),
           regions_);
    }
    int descriptor = -1;
    wire_.send(Command::kMapSysmemFd, {0, size, contiguous ? 1U : 0U, 0});
    const Answer response = wire_.answer(Command::kMapSysmemFd, &descriptor);
    if (descriptor < 0)
      fail("{}: system memory of {} bytes came without a descriptor", name(), size);
    ++regions_;
    return std::make_unique<MappedMemory>(wire_, descriptor, response.resp0);
  }

 private:
  int regions_ = 0;
};

class RemoteLink : public WireLink {
 public:
  RemoteLink(Guarded guarded, std::string name, WireOptions options)
      : WireLink(std::move(guarded), std::move(name), options) {
    probe();
  }

  std::unique_ptr<SystemRegion> share(uint64_t size, bool contiguous) override {
    const Answer response = wire_.call(Command::kMapSysmem, {0, size, contiguous ? 1U : 0U, 0});
    const uint64_t pages = (size + protocol::kPage - 1) / protocol::kPage;
    if (response.resp0 != pages * 8) {
      fail("{}: system memory of {} bytes came with {} page addresses", name(), size,
           response.resp0 / 8);
    }
    std::vector<uint64_t> addresses(pages);
    wire_.receive(Command::kMapSysmem, std::as_writable_bytes(std::span(addresses)));
    std::vector<Segment> segments;
    for (const uint64_t address : addresses) {
      if (!segments.empty() &&
          segments.back().address + segments.back().size == BusAddress{address}) {
        segments.back().size += protocol::kPage;
      } else {
        segments.push_back({BusAddress{address}, protocol::kPage});
      }
    }
    return std::make_unique<RemoteMemory>(wire_, static_cast<uint32_t>(response.resp1),
                                          pages * protocol::kPage, std::move(segments));
  }

 private:
  // The answer is a list of lines; what follows a line's last colon is the device's number.
  void probe() {
    constexpr uint64_t kLongestList = 1 << 16;
    std::vector<uint32_t> wanted;  // a mask, and what the device's number is under it
    for (const hardware::amd::Chip* chip : hardware::amd::kChips)
      wanted.insert(wanted.end(), {0xffff, chip->device});
    const Answer response = wire_.call(
        Command::kProbe, {0, hardware::kDisplayClass, wanted.size() * 4, hardware::kVendorAmd},
        std::as_bytes(std::span(wanted)));
    if (response.resp0 > kLongestList)
      fail("{}: a device list of {} bytes", name(), response.resp0);
    std::string list(response.resp0, '\0');
    wire_.receive(Command::kProbe, std::as_writable_bytes(std::span(list)));
    const std::string first = list.substr(0, list.find('\n'));
    const size_t colon = first.rfind(':');
    uint32_t number = 0;
    const char* end = first.data() + first.size();
    if (colon == std::string::npos ||
        std::from_chars(first.data() + colon + 1, end, number).ptr != end) {
      throw Error(fmt::format("{}: the server has no RX 7900 ({})", name(),
                              first.empty() ? "it lists no device" : first),
                  "Check on that machine that the card is there: lspci -d 1002:744c");
    }
    wire_.set_device(number);
  }
};

}  // namespace

std::unique_ptr<Link> link_tinygpu(Socket socket, const std::string& name, WireOptions options) {
  return std::make_unique<TinyGpuLink>(guard(std::move(socket), Dialect::kTinyGpu, name, options),
                                       name, options);
}

std::unique_ptr<Link> link_remote(Socket socket, const std::string& name, WireOptions options) {
  return std::make_unique<RemoteLink>(guard(std::move(socket), Dialect::kRemote, name, options),
                                      name, options);
}

std::unique_ptr<Link> connect_tinygpu(const std::string& path, WireOptions options) {
  return link_tinygpu(Socket::connect_unix(path), "tinygpu:" + path, options);
}

std::unique_ptr<Link> connect_remote(const std::string& host, uint16_t port, WireOptions options) {
  return link_remote(Socket::connect_tcp(host, port, options.timeout),
                     fmt::format("remote:{}:{}", host, port), options);
}

}  // namespace outboard::link
