// Serves a simulated card over the two protocols that clients speak (link/protocol.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "link/protocol.h"
#include "link/socket.h"
#include "simulator/card/card.h"

namespace outboard::simulator::server {

using card::Card;
using link::Dialect;

struct ServerOptions {
  Dialect dialect = Dialect::kTinyGpu;  // which server the client thinks it talks to
  bool once = false;                    // end when the first client has gone
  // Called for each request with one line, "17 MMIO_READ bar=5 offset=0x1a4 size=4 -> ok".
  std::function<void(const std::string&)> trace;
  std::function<void(const std::string&)> say;  // "client connected", "client gone"
};

// What the remote server keeps from client to client.
struct RemoteState;

// One client's conversation, to its end. `requests` counts.
void serve_client(Card& card, link::Socket& socket, const ServerOptions& options,
                  RemoteState& remote, std::atomic<uint64_t>& requests);

// Serves one client at a time, as both servers do: the next one connects and then waits.
class Server {
 public:
  Server(Card& card, link::Listener listener, ServerOptions options);
  // Until stop(), or the end of the first client with `once`.
  void run();
  // From any thread.
  void stop();
  uint64_t requests() const { return requests_; }
  uint16_t port() const { return listener_.port(); }

 private:
  Card& card_;
  link::Listener listener_;
  ServerOptions options_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> requests_{0};
  std::mutex client_mutex_;
  link::Socket* client_ = nullptr;  // while one is served; guarded by client_mutex_
};

}  // namespace outboard::simulator::server
