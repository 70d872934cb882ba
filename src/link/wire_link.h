// Links over a socket: TinyGPU.app's server and tinygrad's remote server (protocol.h).
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "link/link.h"

namespace outboard::link {

struct WireOptions {
  // A request that is not answered in this time fails. TinyGPU's server takes one client and lets
  // the next one connect and wait, so a busy card shows up as silence.
  std::chrono::milliseconds timeout{10000};
};

// TinyGPU.app's server behind its unix socket. Shared memory is mapped; at most 128 regions for the
// life of the connection, each at least 16 KiB and at most 32 segments.
std::unique_ptr<Link> connect_tinygpu(const std::string& path, WireOptions options = {});

// tinygrad's remote server. Takes the first RX 7900 XTX (1002:744c, display class) that it lists.
// Shared memory stays there: reads are round trips.
std::unique_ptr<Link> connect_remote(const std::string& host, uint16_t port,
                                     WireOptions options = {});

}  // namespace outboard::link
