#include "link/patience.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <thread>
#include <vector>

#include "link/protocol.h"
#include "link/socket.h"
#include "link/wire_link.h"
#include "support/error.h"

namespace outboard::link {
namespace {

using protocol::Command;
using protocol::Request;
using protocol::Response;
using std::chrono::milliseconds;

TEST(Patience, GrowsWithWhatIsUnderWay) {
  Patience patience(milliseconds(500));
  EXPECT_EQ(patience.limit(), milliseconds(500));
  patience.add(4096);  // not worth a thought
  EXPECT_EQ(patience.limit(), milliseconds(500));
  patience.add(64 << 20);
  EXPECT_EQ(patience.limit(), milliseconds(67500));
  patience.answered();
  EXPECT_EQ(patience.limit(), milliseconds(500));
}

// A server that takes a write, works on it for a while, and answers the request after it.
class SlowServer {
 public:
  SlowServer(Socket socket, milliseconds pause)
      : thread_([socket = std::move(socket), pause]() mutable { run(socket, pause); }) {}
  ~SlowServer() { thread_.join(); }

 private:
  static void run(Socket& socket, milliseconds pause) {
    Request request{};
    while (socket.receive(std::as_writable_bytes(std::span(&request, 1)))) {
      if (static_cast<Command>(request.command) == Command::kMmioWrite) {
        std::vector<std::byte> payload(request.arg1);
        if (!socket.receive(payload)) return;
        continue;
      }
      const bool bar = static_cast<Command>(request.command) == Command::kMapBar;
      if (!bar) std::this_thread::sleep_for(pause);
      const Response response{0, bar ? 0x1000U : 7U, bar ? 64U << 20 : 0U};
      if (!socket.send(std::as_bytes(std::span(&response, 1)))) return;
    }
  }
  std::thread thread_;
};

TEST(Patience, WaitsForASlowServer) {
  for (const size_t bytes : {size_t{4} << 20, size_t{4} << 10}) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    const SlowServer server{Socket{ends[0]}, milliseconds(1500)};
    const auto link = link_tinygpu(Socket{ends[1]}, "test", {milliseconds(500)});
    link->write(0, BarOffset{0}, std::vector<std::byte>(bytes));
    if (bytes > 1 << 20) {
      EXPECT_EQ(link->config_read(0, 4), 7U);
      EXPECT_THROW(link->config_read(0, 4), LinkLost);  // nothing is under way any more
    } else {
      EXPECT_THROW(link->config_read(0, 4), LinkLost);
    }
  }
}

}  // namespace
}  // namespace outboard::link
