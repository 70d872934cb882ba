#include "simulator/server/server.h"

#include <array>
#include <chrono>
#include <string_view>
#include <thread>
#include <utility>

#include "simulator/server/client.h"
#include "support/error.h"

namespace outboard::simulator::server {
namespace {

using link::protocol::Request;

constexpr int kBufferBytes = 64 << 20;  // both servers ask for this much

std::string_view command_name(uint8_t command) {
  static constexpr std::array<std::string_view, link::protocol::kCommands> names = {
      "PROBE",        "MAP_BAR",    "MAP_SYSMEM_FD", "CFG_READ",   "CFG_WRITE",
      "RESET",        "MMIO_READ",  "MMIO_WRITE",    "MAP_SYSMEM", "SYSMEM_READ",
      "SYSMEM_WRITE", "RESIZE_BAR", "PING"};
  return command < names.size() ? names[command] : "UNKNOWN";
}

std::string describe(uint64_t number, const Call& request, const std::string& result) {
  return fmt::format("{} {} device={} bar={} arg0={:#x} arg1={:#x} arg2={:#x} -> {}", number,
                     command_name(request.command), request.device, request.bar, request.arg0,
                     request.arg1, request.arg2, result);
}

// The faults that strike the connection itself. Empty: none did.
std::optional<Outcome> link_fault(Card& card, link::Socket& socket, const Call& request) {
  card::FaultPlan* faults = card.options().faults.get();
  if (faults == nullptr) return std::nullopt;
  const std::string_view where = command_name(request.command);
  if (faults->fires("link.drop", where)) return Outcome{false, "closed: fault link.drop"};
  if (const auto rule = faults->fires("link.slow", where)) {
    const auto found = rule->parameters.find("milliseconds");
    std::this_thread::sleep_for(
        std::chrono::milliseconds(found == rule->parameters.end() ? 100 : found->second));
  }
  if (faults->fires("link.cut-reply", where)) {
    const std::array<std::byte, 8> half{};
    socket.send(half);
    return Outcome{false, "closed: fault link.cut-reply"};
  }
  // Writes have no answer, so nothing can refuse them.
  const auto command = static_cast<link::protocol::Command>(request.command);
  const bool answered = command != link::protocol::Command::kMmioWrite &&
                        command != link::protocol::Command::kSysmemWrite;
  if (answered && faults->fires("link.refuse", where)) {
    const link::protocol::Response response{1, 0, 0};
    const bool sent = socket.send(std::as_bytes(std::span(&response, 1)));
    return Outcome{sent, "refused: fault link.refuse"};
  }
  return std::nullopt;
}

}  // namespace

void serve_client(Card& card, link::Socket& socket, const ServerOptions& options,
                  RemoteState& remote, std::atomic<uint64_t>& requests) {
  const bool tinygpu = options.dialect == Dialect::kTinyGpu;
  const std::unique_ptr<Client> client =
      tinygpu ? make_tinygpu_client(card, socket) : make_remote_client(card, socket, remote);
  Request request{};
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(&request, 1));
  // TinyGPU's server takes the header in one piece or gives up; the other one waits for all.
  while (tinygpu ? socket.receive_some(bytes) == bytes.size() : socket.receive(bytes)) {
    const uint64_t number = ++requests;
    if (card::FaultPlan* faults = card.options().faults.get()) faults->begin_request();
    const Call call(request);
    std::optional<Outcome> outcome = link_fault(card, socket, call);
    if (!outcome) outcome = client->handle(call);
    if (options.trace) options.trace(describe(number, call, outcome->result));
    if (!outcome->go_on) break;
  }
}

Server::Server(Card& card, link::Listener listener, ServerOptions options)
    : card_(card), listener_(std::move(listener)), options_(std::move(options)) {}

void Server::run() {
  RemoteState remote;
  const auto say = [&](const std::string& text) {
    if (options_.say) options_.say(text);
  };
  while (!stopping_) {
    link::Socket socket = listener_.accept();
    if (!socket.is_open()) break;
    {
      const std::lock_guard lock(client_mutex_);
      client_ = &socket;
    }
    if (stopping_) socket.shut_down();
    socket.set_buffers(kBufferBytes);
    say("client connected");
    serve_client(card_, socket, options_, remote, requests_);
    {
      const std::lock_guard lock(client_mutex_);
      client_ = nullptr;
    }
    say("client gone");
    if (options_.once) break;
  }
  for (const auto& region : remote.regions) card_.unshare(region->id());
}

void Server::stop() {
  stopping_ = true;
  listener_.shut_down();
  const std::lock_guard lock(client_mutex_);
  if (client_ != nullptr) client_->shut_down();
}

}  // namespace outboard::simulator::server
