// Whatever a session is doing when its program dies or its link fails: no memory is unshared while
// the card could still write to it, and the next session works. OUTBOARD_EVERY_REQUEST=1 tries all
// requests instead of a sample.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "link/card_lock.h"
#include "simulator/server/server.h"
#include "support/error.h"

extern char** environ;

namespace outboard::devices::amd::driver {
namespace {

using simulator::card::CardEvent;
using ::testing::AnyOf;
using ::testing::HasSubstr;

// A session that neither ends nor is told why within this time has no deadline.
constexpr double kDeadlineSeconds = 30;

simulator::card::CardOptions card_options(const std::string& faults = {}) {
  simulator::card::CardOptions options;
  options.vram_bytes = uint64_t{256} << 20;
  options.bar0_bytes = uint64_t{256} << 20;
  options.threads = 1;
  options.strict = false;
  if (!faults.empty()) options.faults = simulator::card::FaultPlan::parse(faults, "test");
  return options;
}

// A card behind a server. Watches the command register: whether bus mastering was off each time a
// client, and with it the memory it shared, went.
class Served {
 public:
  explicit Served(simulator::server::Dialect dialect, const std::string& faults = {})
      : card_(card_options(faults)),
        path_((std::filesystem::temp_directory_path() /
               fmt::format("outboard-exit-{}-{}.sock", ::getpid(), next_++))
                  .string()),
        dialect_(dialect),
        server_(card_,
                dialect == simulator::server::Dialect::kTinyGpu
                    ? link::Listener::unix_socket(path_)
                    : link::Listener::tcp("127.0.0.1", 0),
                {dialect, false, [this](const std::string& line) { watch(line); },
                 [this](const std::string& text) { note(text); }}),
        thread_([this] { server_.run(); }) {}
  ~Served() {
    server_.stop();
    thread_.join();
    std::filesystem::remove(link::lock_path(spec()));
  }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;

  std::string spec() const {
    return dialect_ == simulator::server::Dialect::kTinyGpu
               ? "tinygpu:" + path_
               : fmt::format("remote:127.0.0.1:{}", server_.port());
  }
  // Waits until no client is served.
  bool is_left_alone() {
    const auto start = std::chrono::steady_clock::now();
    for (;;) {
      {
        const std::lock_guard lock(mutex_);
        if (came_ == gone_) return true;
      }
      if (std::chrono::steady_clock::now() - start > std::chrono::seconds(25)) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  int left_with_bus_master() {
    const std::lock_guard lock(mutex_);
    return left_with_bus_master_;
  }
  // That the server answered, those of connecting among them; faults count alike.
  uint64_t requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  // Whether a fault was met. How often a session polls differs a little: one may end before.
  bool struck() {
    const std::lock_guard lock(mutex_);
    return struck_;
  }
  std::string panics() {
    std::string out;
    for (const CardEvent& event : card_.events()) {
      if (event.text.find("kernel panic") != std::string::npos) out += event.text + "\n";
    }
    return out;
  }

 private:
  void watch(const std::string& line) {
    {
      const std::lock_guard lock(mutex_);
      ++requests_;
      struck_ |= line.find(": fault ") != std::string::npos;
    }
    if (line.find("CFG_WRITE") == std::string::npos ||
        line.find("arg0=0x4 ") == std::string::npos || line.find("-> refused") != std::string::npos)
      return;  // a refused write changes nothing
    const size_t value = line.find("arg2=");
    const std::lock_guard lock(mutex_);
    bus_master_ = (std::stoull(line.substr(value + 5), nullptr, 16) & 4) != 0;
  }
  void note(const std::string& text) {
    const std::lock_guard lock(mutex_);
    if (text == "client connected") ++came_;
    if (text == "client gone") {
      ++gone_;
      if (bus_master_) ++left_with_bus_master_;
      bus_master_ = false;  // the server's doing
    }
  }

  static inline int next_ = 0;
  simulator::card::Card card_;
  std::string path_;
  simulator::server::Dialect dialect_;
  std::mutex mutex_;
  bool bus_master_ = false;  // guarded by mutex_, as the following
  uint64_t requests_ = 0;
  bool struck_ = false;
  int came_ = 0, gone_ = 0, left_with_bus_master_ = 0;
  simulator::server::Server server_;
  std::thread thread_;
};

struct Outcome {
  int status = 0;    // as waitpid() has it
  std::string said;  // both outputs
  double seconds = 0;
  uint64_t requests() const { return std::stoull(said); }
};

Outcome run_session(const std::string& spec, const std::string& last, const std::string& signal) {
  std::array<int, 2> pipe{};
  EXPECT_EQ(::pipe(pipe.data()), 0);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  for (const int standard : {1, 2}) posix_spawn_file_actions_adddup2(&files, pipe[1], standard);
  for (const int end : pipe) posix_spawn_file_actions_addclose(&files, end);
  std::array<std::string, 4> arguments = {OUTBOARD_SESSION, spec, last, signal};
  std::array<char*, 5> pointers{};
  for (size_t i = 0; i < arguments.size(); ++i) pointers[i] = arguments[i].data();
  pid_t pid = 0;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(::posix_spawn(&pid, OUTBOARD_SESSION, &files, nullptr, pointers.data(), environ), 0);
  posix_spawn_file_actions_destroy(&files);
  ::close(pipe[1]);
  Outcome outcome;
  std::array<char, 4096> text{};
  while (true) {
    pollfd wait{pipe[0], POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(kDeadlineSeconds * 1000)) <= 0) {
      outcome.said += " (no end within the deadline)";
      ::kill(pid, SIGKILL);
      break;
    }
    const ssize_t got = ::read(pipe[0], text.data(), text.size());
    if (got <= 0) break;
    outcome.said.append(text.data(), static_cast<size_t>(got));
  }
  ::close(pipe[0]);
  ::waitpid(pid, &outcome.status, 0);
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

Outcome run_session(const std::string& spec, uint64_t last = 0, int signal = SIGKILL) {
  return run_session(spec, std::to_string(last), std::to_string(signal));
}

uint64_t requests_of_a_session(simulator::server::Dialect dialect) {
  Served served(dialect);
  const Outcome whole = run_session(served.spec());
  EXPECT_EQ(whole.status, 0) << whole.said;
  EXPECT_TRUE(served.is_left_alone());
  EXPECT_GT(served.requests(), whole.requests());
  return served.requests();
}

bool every_request() {
  const char* wish = std::getenv("OUTBOARD_EVERY_REQUEST");
  return wish != nullptr && std::string(wish) == "1";
}

// From `first` on every `stride`th of `all`, and the last ones, where the program is done and the
// guard looks; or all of them.
std::vector<uint64_t> requests_to_try(uint64_t first, uint64_t all, uint64_t stride) {
  constexpr uint64_t kLast = 6;
  std::vector<uint64_t> out;
  for (uint64_t n = first; n <= all; ++n) {
    if (every_request() || (n - first) % stride == 0 || n + kLast > all) out.push_back(n);
  }
  return out;
}

class ExitSafety : public ::testing::TestWithParam<simulator::server::Dialect> {};

TEST_P(ExitSafety, SurvivesAProgramKilledAtAnyRequest) {
  // A new card now and then: the remote server keeps what each client shared until it ends.
  constexpr int kSessions = 40;
  std::optional<Served> served(GetParam());
  const Outcome whole = run_session(served->spec());
  ASSERT_EQ(whole.status, 0) << whole.said;
  const uint64_t cold = whole.requests();
  int sessions = 0;
  for (const uint64_t n : requests_to_try(1, cold, 23)) {
    if (++sessions % kSessions == 0) {
      served.reset();
      served.emplace(GetParam());
    }
    const int signal = n % 3 == 0 ? SIGTERM : n % 3 == 1 ? SIGKILL : SIGINT;
    const Outcome killed = run_session(served->spec(), n, signal);
    // A boot after a killed one needs other requests; it may be done before number n.
    ASSERT_TRUE(WIFSIGNALED(killed.status) || killed.status == 0) << n << ": " << killed.said;
    ASSERT_TRUE(served->is_left_alone()) << n;
    ASSERT_LT(killed.seconds, kDeadlineSeconds) << n;
    ASSERT_EQ(served->left_with_bus_master(), 0) << "killed at request " << n << " of " << cold;
    ASSERT_EQ(served->panics(), "") << "killed at request " << n << " of " << cold;
    if (n % 5 != 1) continue;
    const Outcome next = run_session(served->spec());
    ASSERT_EQ(next.status, 0) << "after a kill at request " << n << ": " << next.said;
  }
  const Outcome last = run_session(served->spec());
  ASSERT_EQ(last.status, 0) << last.said;
  ASSERT_TRUE(served->is_left_alone());
  EXPECT_EQ(served->panics(), "");
}

// The server goes in the middle of a request. What it does with the memory is its own doing.
TEST_P(ExitSafety, SaysSoWhenTheLinkFailsAtAnyRequest) {
  const uint64_t all = requests_of_a_session(GetParam());
  for (const uint64_t n : requests_to_try(1, all, 61)) {
    const std::string what = n % 2 == 0 ? "link.drop" : "link.cut-reply";
    Served served(GetParam(),
                  fmt::format(R"([{{"what": "{}", "request": {}, "count": 1}}])", what, n));
    const Outcome failed = run_session(served.spec());
    ASSERT_LT(failed.seconds, kDeadlineSeconds) << n;
    ASSERT_TRUE(WIFEXITED(failed.status)) << n;
    if (!served.struck()) {
      ASSERT_EQ(failed.status, 0) << n << ": " << failed.said;
      continue;
    }
    EXPECT_THAT(failed.said, HasSubstr("connection")) << n;
    if (failed.status == 0) {  // the program was done with the card, and its guard looked after it
      EXPECT_THAT(failed.said, HasSubstr("before the card was seen at rest")) << n;
      EXPECT_EQ(served.left_with_bus_master(), 0) << n;
    } else {
      ASSERT_EQ(WEXITSTATUS(failed.status), 1) << what << " at " << n << ": " << failed.said;
      EXPECT_THAT(failed.said, AnyOf(HasSubstr("The server ended"), HasSubstr("held by"))) << n;
    }
    const Outcome next = run_session(served.spec());
    ASSERT_EQ(next.status, 0) << "after " << what << " at " << n << ": " << next.said;
  }
}

// A request that is refused leaves the link in order, so the program itself puts the card to rest.
TEST_P(ExitSafety, PutsTheCardToRestWhenARequestIsRefused) {
  const uint64_t all = requests_of_a_session(GetParam());
  for (const uint64_t n : requests_to_try(5, all, 61)) {
    Served served(GetParam(),
                  fmt::format(R"([{{"what": "link.refuse", "request": {}, "count": 1}}])", n));
    const Outcome refused = run_session(served.spec());
    ASSERT_TRUE(served.is_left_alone()) << n << ": " << refused.said;
    ASSERT_EQ(served.left_with_bus_master(), 0) << n << ": " << refused.said;
    ASSERT_EQ(served.panics(), "") << n;
    if (!served.struck()) continue;
    const Outcome next = run_session(served.spec());
    ASSERT_EQ(next.status, 0) << "after a refusal at " << n << ": " << next.said;
  }
}

TEST_P(ExitSafety, ASecondProgramIsToldWhoHoldsTheCard) {
  Served served(GetParam());
  const link::CardLock lock(link::lock_path(served.spec()), std::chrono::milliseconds(0));
  lock.sign("outboard chat");
  const Outcome second = run_session(served.spec());
  EXPECT_TRUE(WIFEXITED(second.status) && WEXITSTATUS(second.status) == 1);
  EXPECT_THAT(second.said, HasSubstr(fmt::format("held by process {}: outboard chat", ::getpid())));
}

#if defined(__linux__)
// A card without a server between: the guard turns bus mastering off.
TEST(ExitSafetyPci, TheGuardPutsTheCardToRest) {
  namespace fs = std::filesystem;
  const fs::path root = fs::temp_directory_path() / fmt::format("outboard-pci-{}", ::getpid());
  const fs::path device = root / "bus/pci/devices/0000:03:00.0";
  fs::create_directories(device);
  const auto write = [&](const char* name, const std::string& text) {
    std::ofstream(device / name, std::ios::binary) << text;
  };
  std::string config(4096, '\0');
  config.replace(0, 4, std::string("\x02\x10\x4c\x74", 4));
  write("config", config);
  write("enable", "1");
  std::string resources;
  for (int bar = 0; bar < 6; ++bar)
    resources += bar == 5 ? "0x80000000 0x800fffff 0x40200\n" : "0x0 0x0 0x0\n";
  write("resource", resources);
  write("resource5", std::string(1 << 20, '\0'));  // no firmware runs, no queue does
  const Outcome outcome = run_session("pci", root.string(), "0000:03:00.0");
  EXPECT_TRUE(WIFSIGNALED(outcome.status)) << outcome.said;
  const auto command = [&] {
    std::ifstream file(device / "config", std::ios::binary);
    file.seekg(4);
    return file.get();
  };
  const auto start = std::chrono::steady_clock::now();
  while (command() != 2 && std::chrono::steady_clock::now() - start < std::chrono::seconds(10))
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(command(), 2);  // memory decoding on, bus mastering off
  fs::remove_all(root);
}
#endif

INSTANTIATE_TEST_SUITE_P(Over, ExitSafety,
                         ::testing::Values(simulator::server::Dialect::kTinyGpu,
                                           simulator::server::Dialect::kRemote),
                         [](const auto& each) {
                           return each.param == simulator::server::Dialect::kTinyGpu ? "TinyGpu"
                                                                                     : "Remote";
                         });

}  // namespace
}  // namespace outboard::devices::amd::driver
