// Links over a socket: TinyGPU.app's server and tinygrad's remote server (protocol.h).
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "link/guard.h"
#include "link/link.h"
#include "link/socket.h"

namespace outboard::link {

struct WireOptions {
  // A request that is not answered in this time fails. TinyGPU's server takes one client and lets
  // the next one connect and wait, so a busy card shows up as silence.
  std::chrono::milliseconds timeout{10000};
  // Whether a guard process stands between (guard.h), and the lock that it keeps, too.
  bool guarded = false;
  const CardLock* lock = nullptr;
  // Of the first request; zero: as the others.
  std::chrono::milliseconds first_timeout{0};
};

// TinyGPU.app's server behind its unix socket. System memory is mapped; at most 128 regions for the
// life of the connection, each at least 16 KiB and at most 32 segments.
std::unique_ptr<Link> connect_tinygpu(const std::string& path, WireOptions options = {});

// tinygrad's remote server. Takes the first RX 7900 (1002:744c, display class) that it lists.
// System memory stays there: reads are round trips.
std::unique_ptr<Link> connect_remote(const std::string& host, uint16_t port,
                                     WireOptions options = {});

// Over a socket that is connected already. name: of the link, for errors.
std::unique_ptr<Link> link_tinygpu(Socket socket, const std::string& name,
                                   WireOptions options = {});
std::unique_ptr<Link> link_remote(Socket socket, const std::string& name, WireOptions options = {});

}  // namespace outboard::link
