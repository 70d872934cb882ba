// One client's conversation, for both dialects. server.cpp owns the sockets.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "link/protocol.h"
#include "link/socket.h"
#include "simulator/card/card.h"

namespace outboard::simulator::server {

using card::Card;
using card::SystemRegion;

// A request, out of its packed form.
struct Call {
  explicit Call(const link::protocol::Request& r)
      : command(r.command),
        device(r.device),
        bar(r.bar),
        arg0(r.arg0),
        arg1(r.arg1),
        arg2(r.arg2) {}

  uint8_t command;
  uint32_t device, bar;
  uint64_t arg0, arg1, arg2;
};

// What came of a request, for the trace and for the loop.
struct Outcome {
  bool go_on = true;   // false: close the connection
  std::string result;  // "ok", "0x744c", "refused: ...", "dropped: ..."
};

class Client {
 public:
  virtual ~Client() = default;
  virtual Outcome handle(const Call& request) = 0;

 protected:
  Client(Card& card, link::Socket& socket) : card_(card), socket_(socket) {}

  Outcome answer(uint64_t resp0 = 0, uint64_t resp1 = 0, std::span<const std::byte> payload = {});
  // Status 1; a message where the dialect sends one.
  Outcome refuse(const std::string& message);
  // Reads a BAR access in pieces and answers; `ok` was checked by the caller.
  Outcome read_bar(uint32_t bar, uint64_t offset, uint64_t size);
  // Takes the payload of a write in pieces and passes it on, or away when `keep` is false.
  bool write_bar(uint32_t bar, uint64_t offset, uint64_t size, bool keep);
  std::span<std::byte> buffer();

  Card& card_;
  link::Socket& socket_;

 private:
  std::vector<std::byte> buffer_;
};

std::unique_ptr<Client> make_tinygpu_client(Card& card, link::Socket& socket);
// The remote server keeps opened devices, mapped BARs and system memory from client to client.
struct RemoteState {
  bool probed = false;
  bool opened = false;
  std::array<bool, 6> mapped{};
  std::vector<std::shared_ptr<SystemRegion>> regions;
};
std::unique_ptr<Client> make_remote_client(Card& card, link::Socket& socket, RemoteState& state);

}  // namespace outboard::simulator::server
