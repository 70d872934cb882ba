// Feeds bytes to the servers as a client would. The first byte chooses the dialect.
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "simulator/server/client.h"
#include "simulator/server/server.h"
#include "support/error.h"

namespace sim = outboard::simulator;

namespace {

sim::card::Card& card() {
  static sim::card::Card instance([] {
    sim::card::CardOptions options;
    options.vram_bytes = uint64_t{64} << 20;
    options.bar0_bytes = uint64_t{64} << 20;
    options.threads = 1;
    return options;
  }());
  return instance;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
    throw outboard::system_error("socketpair", "fuzz");
  outboard::link::Socket server(ends[0]), client(ends[1]);
  sim::server::ServerOptions options;
  options.dialect =
      data[0] % 2 == 0 ? sim::server::Dialect::kTinyGpu : sim::server::Dialect::kRemote;
  std::thread reader([&] {  // answers must not fill the pipe
    std::byte buffer[65536];
    while (client.receive_some(buffer) != 0) {
    }
  });
  std::thread writer([&] {
    client.send(std::as_bytes(std::span(data + 1, size - 1)));
    ::shutdown(client.descriptor(), SHUT_WR);
  });
  std::atomic<uint64_t> requests{0};
  {
    sim::server::RemoteState remote;
    sim::server::serve_client(card(), server, options, remote, requests);
    for (const auto& region : remote.regions) card().unshare(region->id());
  }
  server.shut_down();
  writer.join();
  reader.join();
  return 0;
}
