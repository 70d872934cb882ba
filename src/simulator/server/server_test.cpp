// Every way to reach the simulated card, held to one set of rules; then what is particular to each
// server.
#include "simulator/server/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <optional>
#include <random>
#include <thread>

#include "link/protocol.h"
#include "link/wire_link.h"
#include "simulator/card/simulated_link.h"
#include "support/error.h"

namespace outboard::simulator::server {
namespace {

using namespace card;  // NOLINT: the card that is served

using link::BarOffset;
using link::protocol::Command;
using link::protocol::Request;
using link::protocol::Response;
using ::testing::HasSubstr;

constexpr uint32_t kCardId = 0x744c1002;
constexpr int kVram = 0, kRegisters = 5;
constexpr std::chrono::milliseconds kPatience{2000};

CardOptions small_card() {
  CardOptions options;
  options.vram_bytes = uint64_t{256} << 20;
  options.bar0_bytes = uint64_t{256} << 20;
  options.threads = 1;
  return options;
}

std::span<std::byte> bytes_of(std::vector<uint8_t>& v) {
  return std::as_writable_bytes(std::span(v));
}

// A card behind a server that runs on a thread of its own.
class Served {
 public:
  explicit Served(Dialect dialect, CardOptions options = small_card())
      : card_(options),
        path_((std::filesystem::temp_directory_path() /
               fmt::format("outboard-test-{}-{}.sock", ::getpid(), next_++))
                  .string()),
        server_(card_,
                dialect == Dialect::kTinyGpu ? link::Listener::unix_socket(path_)
                                             : link::Listener::tcp("127.0.0.1", 0),
                {dialect, false, {}, {}}),
        thread_([this] { server_.run(); }) {}
  ~Served() {
    server_.stop();
    thread_.join();
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;

  Card& card() { return card_; }
  const std::string& path() const { return path_; }
  uint16_t port() const { return server_.port(); }

 private:
  static inline int next_ = 0;
  Card card_;
  std::string path_;
  Server server_;
  std::thread thread_;
};

enum class Way { kInProcess, kTinyGpu, kRemote };

class LinkTest : public ::testing::TestWithParam<Way> {
 protected:
  std::unique_ptr<link::Link> connect(CardOptions options = small_card()) {
    switch (GetParam()) {
      case Way::kInProcess:
        card_.emplace(options);
        return make_simulated_link(*card_);
      case Way::kTinyGpu:
        served_.emplace(Dialect::kTinyGpu, options);
        return link::connect_tinygpu(served_->path(), {kPatience});
      case Way::kRemote:
        served_.emplace(Dialect::kRemote, options);
        return link::connect_remote("127.0.0.1", served_->port(), {kPatience});
    }
    return nullptr;
  }
  Card& card() { return card_ ? *card_ : served_->card(); }

  std::optional<Card> card_;
  std::optional<Served> served_;
};

TEST_P(LinkTest, ReadsConfiguration) {
  const auto link = connect();
  EXPECT_EQ(link->config_read(0, 4), kCardId);
  EXPECT_EQ(link->config_read(0, 2), kCardId & 0xffff);
  EXPECT_EQ(link->config_read(2, 2), kCardId >> 16);
  EXPECT_EQ(link->config_read(0xb, 1), 3U);  // base class: display
}

TEST_P(LinkTest, WritesConfiguration) {
  const auto link = connect();
  const uint32_t command = link->config_read(4, 2);
  link->config_write(4, command & ~4U, 2);  // bus master off
  EXPECT_EQ(link->config_read(4, 2) & 4U, 0U);
  link->config_write(4, command | 4U, 2);
  EXPECT_EQ(link->config_read(4, 2) & 4U, 4U);
}

TEST_P(LinkTest, BarsAreAssigned) {
  const auto link = connect();
  EXPECT_EQ(link->bar(kVram).size, uint64_t{256} << 20);
  EXPECT_EQ(link->bar(2).size, uint64_t{2} << 20);
  EXPECT_EQ(link->bar(kRegisters).size, uint64_t{1} << 20);
  EXPECT_NE(link->bar(kVram).address, link::BusAddress{});
}

TEST_P(LinkTest, VideoMemoryKeepsWhatIsWritten) {
  const auto link = connect();
  std::mt19937 random(1);
  for (const size_t size : {1UL, 3UL, 4UL, 4096UL, 100001UL, 9UL << 20}) {
    std::vector<uint8_t> out(size), in(size);
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(random());
    const uint64_t offset = 12345 + size;
    link->write(kVram, BarOffset{offset}, bytes_of(out));
    link->read(kVram, BarOffset{offset}, bytes_of(in));
    EXPECT_EQ(in, out) << size;
  }
}

TEST_P(LinkTest, SystemMemoryIsWholeAndScattered) {
  const auto link = connect();
  const auto memory = link->share(uint64_t{1} << 20, false);
  ASSERT_GE(memory->size(), uint64_t{1} << 20);
  uint64_t covered = 0;
  for (const link::Segment& segment : memory->segments()) {
    EXPECT_EQ(value(segment.address) % 4096, 0U);
    EXPECT_LT(value(segment.address + segment.size), uint64_t{1} << 40);
    covered += segment.size;
  }
  EXPECT_EQ(covered, memory->size());
  EXPECT_GT(memory->segments().size(), 1U);
  std::vector<uint8_t> out(5000, 7), in(5000);
  memory->write(4096 * 3 + 5, bytes_of(out));
  memory->read(4096 * 3 + 5, bytes_of(in));
  EXPECT_EQ(in, out);
}

TEST_P(LinkTest, ContiguousSystemMemoryIsOneSegment) {
  const auto link = connect();
  EXPECT_EQ(link->share(uint64_t{1} << 20, true)->segments().size(), 1U);
}

TEST_P(LinkTest, AccessesOutsideABarAreRefused) {
  const auto link = connect();
  std::vector<uint8_t> bytes(16);
  EXPECT_THROW(link->read(kRegisters, BarOffset{(uint64_t{1} << 20) - 8}, bytes_of(bytes)), Error);
  EXPECT_THROW(link->read(kRegisters, BarOffset{~uint64_t{0} - 3}, bytes_of(bytes)), Error);
  EXPECT_THROW(link->write(kRegisters, BarOffset{(uint64_t{1} << 20) - 8}, bytes_of(bytes)), Error);
  EXPECT_THROW(link->write(kVram, BarOffset{~uint64_t{0} - 3}, bytes_of(bytes)), Error);
  EXPECT_EQ(card().counters().mmio_writes[kVram], 0U);
  // And the link is still usable.
  EXPECT_EQ(link->config_read(0, 4), kCardId);
}

TEST_P(LinkTest, ResetsTheCard) {
  const auto link = connect();
  link->config_write(4, 6, 2);
  link->reset();
  EXPECT_EQ(card().counters().resets, 1U);
  EXPECT_EQ(link->config_read(0, 4), kCardId);
  EXPECT_EQ(link->config_read(4, 2) & 4U, 0U);
}

TEST_P(LinkTest, ResizesABar) {
  CardOptions options = small_card();
  options.vram_bytes = options.bar0_bytes = uint64_t{512} << 20;
  const auto link = connect(options);
  link->resize_bar(kVram);
  EXPECT_EQ(link->bar(kVram).size, uint64_t{512} << 20);
}

TEST_P(LinkTest, SystemMemoryIsSeenByBothSides) {
  const auto link = connect();
  const auto memory = link->share(100, false);  // the least is more
  EXPECT_GE(memory->size(), 100U);
  std::vector<uint8_t> out(100, 9), in(100);
  memory->write(0, bytes_of(out));
  if (memory->host() != nullptr) {
    EXPECT_EQ(std::memcmp(memory->host(), out.data(), out.size()), 0);
  }
  memory->read(0, bytes_of(in));
  EXPECT_EQ(in, out);
}

TEST_P(LinkTest, WhatCannotBeSharedIsRefused) {
  const auto link = connect();
  EXPECT_THROW(link->share(uint64_t{1} << 60, false), Error);
  EXPECT_EQ(link->config_read(0, 4), kCardId);
}

TEST_P(LinkTest, ARefusalLeavesTheLinkUsable) {
  CardOptions options = small_card();
  options.faults = FaultPlan::parse(
      R"([{"what": "link.refuse", "where": "CFG_READ", "skip": 1, "count": 1}])", "test");
  const auto link = connect(options);
  EXPECT_EQ(link->config_read(0, 4), kCardId);
  EXPECT_THROW(link->config_read(0, 4), Error);
  EXPECT_EQ(link->config_read(0, 4), kCardId);
}

// After a failure nothing more passes: an answer could be that to another request.
TEST_P(LinkTest, ALostLinkStaysLost) {
  CardOptions options = small_card();
  options.faults = FaultPlan::parse(
      R"([{"what": "link.drop", "where": "CFG_READ", "skip": 1, "count": 1}])", "test");
  const auto link = connect(options);
  EXPECT_EQ(link->config_read(0, 4), kCardId);
  EXPECT_THROW(link->config_read(0, 4), Error);
  const auto start = std::chrono::steady_clock::now();
  std::vector<uint8_t> bytes(4);
  EXPECT_THROW(link->config_read(0, 4), Error);
  EXPECT_THROW(link->read(kRegisters, BarOffset{0}, bytes_of(bytes)), Error);
  EXPECT_THROW(link->share(4096, false), Error);
  EXPECT_LT(std::chrono::steady_clock::now() - start, kPatience);
}

TEST_P(LinkTest, CountsWhatPasses) {
  const auto link = connect();
  const uint64_t before = card().counters().config_reads;
  std::vector<uint8_t> bytes(64);
  link->config_read(0, 4);
  link->write(kVram, BarOffset{0}, bytes_of(bytes));
  link->read(kVram, BarOffset{0}, bytes_of(bytes));
  const CardCounters counters = card().counters();
  EXPECT_EQ(counters.config_reads, before + 1);
  EXPECT_EQ(counters.mmio_writes[kVram], 1U);
  EXPECT_EQ(counters.mmio_write_bytes[kVram], 64U);
  EXPECT_EQ(counters.mmio_reads[kVram], 1U);
}

// A dropped connection is an error that says so, and the card lives on.
TEST_P(LinkTest, DropsAtTheRequestThatTheRuleNames) {
  CardOptions options = small_card();
  options.faults = FaultPlan::parse(R"([{"what": "link.drop", "request": 6, "count": 1}])", "test");
  const auto link = connect(options);
  int requests = 0;
  std::string message;
  for (; requests < 20; ++requests) {
    try {
      link->config_read(0, 4);
    } catch (const Error& e) {
      message = e.message();
      break;
    }
  }
  // The remote server was asked for its devices first.
  EXPECT_EQ(requests, GetParam() == Way::kRemote ? 4 : 5);
  EXPECT_THAT(message, HasSubstr("connection"));
}

TEST_P(LinkTest, ATruncatedAnswerIsALostConnection) {
  CardOptions options = small_card();
  options.faults =
      FaultPlan::parse(R"([{"what": "link.cut-reply", "request": 3, "count": 1}])", "test");
  const auto link = connect(options);
  EXPECT_THROW(for (int i = 0; i < 5; ++i) link->config_read(0, 4), Error);
}

INSTANTIATE_TEST_SUITE_P(Every, LinkTest,
                         ::testing::Values(Way::kInProcess, Way::kTinyGpu, Way::kRemote),
                         [](const auto& each) {
                           return each.param == Way::kInProcess ? "InProcess"
                                  : each.param == Way::kTinyGpu ? "TinyGpu"
                                                                : "Remote";
                         });

// --- By hand, where the links would be too polite ---

// A response out of its packed form.
struct Answer {
  uint8_t status;
  uint64_t resp0, resp1;
};

class Raw {
 public:
  explicit Raw(link::Socket socket) : socket_(std::move(socket)) { socket_.set_timeout(kPatience); }

  void send(Command command, uint32_t bar = 0, uint64_t arg0 = 0, uint64_t arg1 = 0,
            uint64_t arg2 = 0, uint32_t device = 0) {
    const Request request{static_cast<uint8_t>(command), device, bar, arg0, arg1, arg2};
    ASSERT_TRUE(socket_.send(std::as_bytes(std::span(&request, 1))));
  }
  std::optional<Answer> answer() {
    Response response{};
    if (!socket_.receive(std::as_writable_bytes(std::span(&response, 1)))) return std::nullopt;
    return Answer{response.status, response.resp0, response.resp1};
  }
  std::string text(const Answer& response) {
    std::string out(response.resp0, '\0');
    EXPECT_TRUE(socket_.receive(std::as_writable_bytes(std::span(out))));
    return out;
  }
  // Status of a request, -1 when the connection closed.
  int status(Command command, uint32_t bar = 0, uint64_t arg0 = 0, uint64_t arg1 = 0,
             uint64_t arg2 = 0) {
    send(command, bar, arg0, arg1, arg2);
    const auto got = answer();
    return got ? got->status : -1;
  }
  link::Socket& socket() { return socket_; }

 private:
  link::Socket socket_;
};

class TinyGpuServer : public ::testing::Test {
 protected:
  Served served_{Dialect::kTinyGpu};
  Raw client_{link::Socket::connect_unix(served_.path())};
};

TEST_F(TinyGpuServer, RefusesWhatItDoesNotKnowWithoutAWord) {
  for (const Command command : {Command::kProbe, Command::kMapSysmem, Command::kSysmemRead,
                                Command::kSysmemWrite, Command::kPing, static_cast<Command>(200)}) {
    client_.send(command);
    const auto response = client_.answer();
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status, 1);
    EXPECT_EQ(response->resp0, 0U);
  }
}

TEST_F(TinyGpuServer, BarsMustBeMappedFirst) {
  EXPECT_EQ(client_.status(Command::kMmioRead, kRegisters, 0, 4), 1);
  EXPECT_EQ(client_.status(Command::kMapBar, kRegisters), 0);
  client_.send(Command::kMmioRead, kRegisters, 0, 4);
  const auto response = client_.answer();
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 0);
  EXPECT_EQ(client_.text(*response).size(), 4U);
  EXPECT_EQ(client_.status(Command::kMapBar, 1), 1);
  EXPECT_EQ(client_.status(Command::kMapBar, 6), 1);
}

TEST_F(TinyGpuServer, WritesOutsideVanish) {
  ASSERT_EQ(client_.status(Command::kMapBar, kVram), 0);
  client_.send(Command::kMmioWrite, kVram, uint64_t{256} << 20, 4);
  const std::array<std::byte, 4> data{};
  ASSERT_TRUE(client_.socket().send(data));
  EXPECT_EQ(client_.status(Command::kConfigRead, 0, 0, 4), 0);  // still in step
}

TEST_F(TinyGpuServer, AWriteThatOverrunsItsBufferEndsTheConnection) {
  ASSERT_EQ(client_.status(Command::kMapBar, kVram), 0);
  client_.send(Command::kMmioWrite, kVram, 0, (uint64_t{64} << 20) + 1);
  EXPECT_FALSE(client_.answer());
}

TEST_F(TinyGpuServer, ReadsOfMoreThanItsBufferAreRefused) {
  ASSERT_EQ(client_.status(Command::kMapBar, kVram), 0);
  EXPECT_EQ(client_.status(Command::kMmioRead, kVram, 0, (uint64_t{64} << 20) + 1), 1);
  EXPECT_EQ(client_.status(Command::kMmioRead, kVram, ~uint64_t{0}, 2), 1);
}

TEST_F(TinyGpuServer, HalfAHeaderEndsTheConnection) {
  const std::array<std::byte, 10> half{};
  ASSERT_TRUE(client_.socket().send(half));
  EXPECT_FALSE(client_.answer());
}

TEST_F(TinyGpuServer, Shares128RegionsAndNoMore) {
  for (int i = 0; i < 128; ++i) {
    client_.send(Command::kMapSysmemFd, 0, 1);
    Response response{};
    int descriptor = -1;
    ASSERT_TRUE(client_.socket().receive_with_descriptor(
        std::as_writable_bytes(std::span(&response, 1)), descriptor));
    ASSERT_EQ(response.status, 0) << i;
    EXPECT_EQ(uint64_t{response.resp0}, uint64_t{16} << 10);  // the least
    ASSERT_GE(descriptor, 0);
    ::close(descriptor);
  }
  client_.send(Command::kMapSysmemFd, 0, 1);
  Response response{};
  int descriptor = -1;
  ASSERT_TRUE(client_.socket().receive_with_descriptor(
      std::as_writable_bytes(std::span(&response, 1)), descriptor));
  EXPECT_EQ(response.status, 1);
  EXPECT_EQ(descriptor, -1);
}

TEST_F(TinyGpuServer, HugeRegionsAreRefused) {
  EXPECT_EQ(client_.status(Command::kMapSysmemFd, 0, uint64_t{1} << 62), 1);
  EXPECT_EQ(client_.status(Command::kMapSysmemFd, 0, ~uint64_t{0}), 1);
}

TEST_F(TinyGpuServer, OddConfigurationSizesReadZero) {
  client_.send(Command::kConfigRead, 0, 0, 3);
  const auto response = client_.answer();
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 0);
  EXPECT_EQ(response->resp0, 0U);
}

TEST_F(TinyGpuServer, TheSecondClientWaitsForTheFirst) {
  ASSERT_EQ(client_.status(Command::kConfigRead, 0, 0, 4), 0);
  Raw second(link::Socket::connect_unix(served_.path()));
  second.socket().set_timeout(std::chrono::milliseconds(300));
  second.send(Command::kConfigRead, 0, 0, 4);
  EXPECT_FALSE(second.answer());
  EXPECT_TRUE(second.socket().timed_out());
  client_.socket().shut_down();
  second.socket().set_timeout(kPatience);
  const auto response = second.answer();
  ASSERT_TRUE(response);
  EXPECT_EQ(response->resp0, kCardId);
}

TEST_F(TinyGpuServer, ALinkThatGetsNoAnswerSaysWhy) {
  ASSERT_EQ(client_.status(Command::kConfigRead, 0, 0, 4), 0);
  const auto second = link::connect_tinygpu(served_.path(), {std::chrono::milliseconds(200)});
  try {
    second->config_read(0, 4);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("no answer to CFG_READ in 200 ms"));
    EXPECT_THAT(e.hint(), HasSubstr("Another program may hold the card"));
  }
}

TEST_F(TinyGpuServer, MemoryAndBusMasterAreOffWhenAClientHasGone) {
  ASSERT_EQ(client_.status(Command::kConfigWrite, 0, 4, 2, 6), 0);
  client_.socket().shut_down();
  Raw next(link::Socket::connect_unix(served_.path()));
  next.send(Command::kConfigRead, 0, 4, 2);
  const auto response = next.answer();
  ASSERT_TRUE(response);
  EXPECT_EQ(response->resp0 & 6, 0U);
}

// A server that takes connections and hangs: the error comes in time and names the request.
TEST(HungServer, IsNoticed) {
  link::Listener tcp = link::Listener::tcp("127.0.0.1", 0);
  const auto start = std::chrono::steady_clock::now();
  try {
    link::connect_remote("127.0.0.1", tcp.port(), {std::chrono::milliseconds(200)});
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("no answer to PROBE in 200 ms"));
  }
  const std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("outboard-hung-{}.sock", ::getpid()))
          .string();
  const link::Listener unix_listener = link::Listener::unix_socket(path);
  const auto link = link::connect_tinygpu(path, {std::chrono::milliseconds(200)});
  EXPECT_THROW(link->bar(0), Error);
  try {
    link->config_read(0, 4);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr("the connection is lost: MAP_BAR was not answered"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, kPatience);
}

TEST(Listener, RefusesAPathThatIsTaken) {
  const Served served(Dialect::kTinyGpu);
  EXPECT_THROW(link::Listener::unix_socket(served.path()), Error);
  EXPECT_THROW(link::Listener::unix_socket(std::string(200, 'x')), Error);
}

class RemoteServer : public ::testing::Test {
 protected:
  Served served_{Dialect::kRemote};
  Raw client_{link::Socket::connect_tcp("127.0.0.1", served_.port(), kPatience)};

  void probe() {
    client_.send(Command::kProbe, 0, 3, 8, 0x1002);
    const std::array<uint32_t, 2> wanted = {0xffff, 0x744c};
    ASSERT_TRUE(client_.socket().send(std::as_bytes(std::span(wanted))));
    const auto response = client_.answer();
    ASSERT_TRUE(response);
    EXPECT_EQ(response->resp1, 1U);
    EXPECT_THAT(client_.text(*response), HasSubstr(":0"));
  }
};

TEST_F(RemoteServer, WantsAProbeFirst) {
  client_.send(Command::kConfigRead, 0, 0, 4);
  const auto response = client_.answer();
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 1);
  EXPECT_THAT(client_.text(*response), HasSubstr("not probed"));
  EXPECT_EQ(client_.status(Command::kPing), 0);
  probe();
  EXPECT_EQ(client_.status(Command::kConfigRead, 0, 0, 4), 0);
}

TEST_F(RemoteServer, ListsNothingForAnotherCard) {
  client_.send(Command::kProbe, 0, 3, 8, 0x10de);
  const std::array<uint32_t, 2> wanted = {0xffff, 0x744c};
  ASSERT_TRUE(client_.socket().send(std::as_bytes(std::span(wanted))));
  const auto response = client_.answer();
  ASSERT_TRUE(response);
  EXPECT_EQ(response->resp1, 0U);
  EXPECT_EQ(response->resp0, 0U);
}

TEST_F(RemoteServer, SaysWhatIsWrong) {
  probe();
  for (const auto& [command, bar, arg0, arg1] :
       {std::tuple{Command::kMapBar, 1U, uint64_t{0}, uint64_t{0}},
        std::tuple{Command::kMmioRead, 5U, uint64_t{0}, uint64_t{4}},
        std::tuple{Command::kSysmemRead, 7U, uint64_t{0}, uint64_t{4}},
        std::tuple{Command::kConfigRead, 0U, uint64_t{4096}, uint64_t{4}},
        std::tuple{Command::kMapSysmem, 0U, uint64_t{1} << 60, uint64_t{0}},
        std::tuple{Command::kMapSysmem, 0U, uint64_t{8} << 20, uint64_t{1}},
        std::tuple{static_cast<Command>(99), 0U, uint64_t{0}, uint64_t{0}}}) {
    client_.send(command, bar, arg0, arg1);
    const auto response = client_.answer();
    ASSERT_TRUE(response);
    EXPECT_EQ(response->status, 1);
    EXPECT_FALSE(client_.text(*response).empty());
  }
}

TEST_F(RemoteServer, AWriteThatFailsEndsTheConnection) {
  probe();
  client_.send(Command::kSysmemWrite, 3, 0, 4);
  EXPECT_FALSE(client_.answer());
}

TEST_F(RemoteServer, SystemMemoryOutlivesItsClient) {
  probe();
  client_.send(Command::kMapSysmem, 0, 4096, 0);
  const auto first = client_.answer();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->resp1, 0U);
  client_.text(*first);
  client_.socket().shut_down();
  Raw next(link::Socket::connect_tcp("127.0.0.1", served_.port(), kPatience));
  next.send(Command::kSysmemRead, 0, 0, 4);
  const auto response = next.answer();
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 0);
}

TEST(RemoteLink, SaysWhenThereIsNoCard) {
  CardOptions options = small_card();
  options.faults = FaultPlan::parse(R"([{"what": "pci.absent"}])", "test");
  const Served served(Dialect::kRemote, options);
  EXPECT_THROW(link::connect_remote("127.0.0.1", served.port(), {kPatience}), Error);
}

}  // namespace
}  // namespace outboard::simulator::server
