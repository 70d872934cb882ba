#include "link/guard.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <mach-o/dyld.h>
#endif

#include <array>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdio>
#include <thread>
#include <utility>

#include "link/linux_link.h"
#include "link/patience.h"
#include "link/protocol.h"
#include "link/wire_link.h"
#include "support/error.h"

extern char** environ;

namespace outboard::link {
namespace {

using protocol::Command;
using protocol::Request;
using protocol::Response;
using std::chrono::milliseconds;

// Where a guard finds what it inherits.
constexpr int kProgramDescriptor = 3, kServerDescriptor = 4, kLockDescriptor = 5;
// A server that says nothing for so long hangs. Longer than programs wait, so that they speak
// first.
constexpr milliseconds kServerPatience{20000};
// A guard has this long to put the card to rest before its program goes on without waiting.
constexpr milliseconds kGuardPatience{20000};

std::string& guard_path() {
  static std::string path;
  return path;
}

bool has_payload(Command command) {
  return command == Command::kProbe || command == Command::kMmioWrite ||
         command == Command::kSysmemWrite;
}

bool has_answer(Command command) {
  return command != Command::kMmioWrite && command != Command::kSysmemWrite;
}

bool answers_with_bytes(Command command) {
  return command == Command::kProbe || command == Command::kMmioRead ||
         command == Command::kMapSysmem || command == Command::kSysmemRead;
}

template <typename T>
std::span<std::byte> bytes_of(T& value) {
  return std::as_writable_bytes(std::span(&value, 1));
}

// A descriptor that is closed again.
struct Owned {
  int descriptor = -1;
  ~Owned() {
    if (descriptor >= 0) ::close(descriptor);
  }
};

enum class Passed : uint8_t { kYes, kProgramGone, kServerGone };

Passed pass_answer(Socket& program, Socket& server, Command command) {
  Response response{};
  Owned memory;
  if (!server.receive_with_descriptor(bytes_of(response), memory.descriptor))
    return Passed::kServerGone;
  std::vector<std::byte> payload;
  if (response.status != 0 || answers_with_bytes(command)) {
    if (response.resp0 > protocol::kBulkBytes * 2) return Passed::kServerGone;
    payload.resize(response.resp0);
    if (!server.receive(payload)) return Passed::kServerGone;
  }
  const bool sent = memory.descriptor >= 0
                        ? program.send_with_descriptor(bytes_of(response), memory.descriptor)
                        : program.send(bytes_of(response));
  return sent && program.send(payload) ? Passed::kYes : Passed::kProgramGone;
}

Passed pass_request(Socket& program, Socket& server, Patience& patience) {
  Request request{};
  if (!program.receive(bytes_of(request))) return Passed::kProgramGone;
  const auto command = static_cast<Command>(request.command);
  std::vector<std::byte> payload;
  if (has_payload(command)) {
    const uint64_t size = request.arg1;
    if (size > protocol::kBulkBytes) return Passed::kProgramGone;  // the server would break
    payload.resize(size);
    if (!program.receive(payload)) return Passed::kProgramGone;
  }
  const auto before = patience.limit();
  patience.add(payload.size() + (answers_with_bytes(command) ? request.arg1 : 0));
  if (patience.limit() != before) server.set_timeout(patience.limit());
  // TinyGPU's server reads the header in one piece.
  if (!server.send(bytes_of(request)) || !server.send(payload)) return Passed::kServerGone;
  if (!has_answer(command)) return Passed::kYes;
  const Passed passed = pass_answer(program, server, command);
  const auto waited = patience.limit();
  patience.answered();
  if (patience.limit() != waited) server.set_timeout(patience.limit());
  return passed;
}

// Takes what comes uncalled until the server is quiet; false: it has gone.
bool drained(Socket& server) {
  constexpr int kQuietMilliseconds = 200;
  std::array<std::byte, 4096> late{};
  for (;;) {
    pollfd wait{server.descriptor(), POLLIN, 0};
    if (::poll(&wait, 1, kQuietMilliseconds) == 0) return true;
    if (server.receive_some(late) == 0) return false;
  }
}

// Nothing may be unshared while the card could write to it, so the connection is kept until the
// server itself goes.
void hold(Socket& server, const std::string& name, const Error& why) {
  std::fprintf(
      stderr,
      "outboard guard: %s: the card could not be put to rest: %s\n"
      "This process (%d) keeps the connection, so that no memory is released while the card "
      "could write to it. Power the enclosure off, then end it: kill %d\n",
      name.c_str(), why.what(), ::getpid(), ::getpid());
  std::signal(SIGTERM, SIG_DFL);
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  ::sigprocmask(SIG_UNBLOCK, &term, nullptr);
  for (;;) {
    pollfd wait{server.descriptor(), POLLIN, 0};
    if (::poll(&wait, 1, -1) <= 0) continue;
    std::array<std::byte, 4096> late{};
    if (server.receive_some(late) == 0 && !server.timed_out()) return;
  }
}

Guarded spawn_guard(int server, const CardLock& lock, std::vector<std::string> arguments) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) != 0)
    throw system_error("make", "a socket pair for the guard");
  Socket program(ends[0]), guard(ends[1]);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  // Through high numbers first: a source may be one of the targets.
  constexpr int kHigh = 200;
  const std::array<int, 3> sources = {guard.descriptor(), server, lock.descriptor()};
  for (int i = 0; i < 3; ++i) {
    if (sources[static_cast<size_t>(i)] >= 0)
      posix_spawn_file_actions_adddup2(&files, sources[static_cast<size_t>(i)], kHigh + i);
  }
  for (int i = 0; i < 3; ++i) {
    if (sources[static_cast<size_t>(i)] < 0) continue;
    posix_spawn_file_actions_adddup2(&files, kHigh + i, kProgramDescriptor + i);
    posix_spawn_file_actions_addclose(&files, kHigh + i);
  }
  for (const int standard :
       {0, 1})  // who waits for the program's output must not wait for the guard
    posix_spawn_file_actions_addopen(&files, standard, "/dev/null", O_RDWR, 0);
  // The signals that end a program (Ctrl-C, a terminal that closes) must not end its guard.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t blocked;
  sigfillset(&blocked);
  posix_spawnattr_setsigmask(&attributes, &blocked);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);

  const std::string& path = guard_path();
  arguments.insert(arguments.begin(), {path, "guard"});
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  pid_t pid = 0;
  const int error =
      ::posix_spawn(&pid, path.c_str(), &files, &attributes, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    errno = error;
    throw system_error("start the guard", path);
  }
  return {std::move(program), std::make_unique<GuardProcess>(pid)};
}

}  // namespace

void set_guard_program(std::string path) { guard_path() = std::move(path); }
const std::string& guard_program() { return guard_path(); }

std::string own_path() {
  std::array<char, PATH_MAX> path{};
#if defined(__APPLE__)
  uint32_t size = path.size();
  if (::_NSGetExecutablePath(path.data(), &size) != 0) fail("the path of this program is too long");
#else
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  if (length < 0) throw system_error("read", "/proc/self/exe");
#endif
  return path.data();
}

GuardProcess::~GuardProcess() {
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start < kGuardPatience) {
    if (::waitpid(pid_, nullptr, WNOHANG) != 0) return;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

Guarded start_guard(Socket server, Dialect dialect, const std::string& name, const CardLock& lock) {
  return spawn_guard(server.descriptor(), lock,
                     {dialect == Dialect::kTinyGpu ? "tinygpu" : "remote",
                      lock.descriptor() >= 0 ? "locked" : "unlocked", name});
}

Guarded start_keeper(const std::string& sysfs, const std::string& address, const CardLock& lock) {
  return spawn_guard(-1, lock,
                     {"pci", lock.descriptor() >= 0 ? "locked" : "unlocked", address, sysfs});
}

bool keep(Socket& keeper, int descriptor) {
  const std::array<std::byte, 1> note{};
  return keeper.send_with_descriptor(note, descriptor);
}

RelayEnd relay(Socket& program, Socket& server, std::chrono::milliseconds limit) {
  Patience patience(limit);
  server.set_timeout(limit);
  for (;;) {
    std::array<pollfd, 2> wait = {
        {{program.descriptor(), POLLIN, 0}, {server.descriptor(), POLLIN, 0}}};
    if (::poll(wait.data(), wait.size(), -1) < 0) continue;
    // Between requests a server has nothing to say: it is going, or out of step.
    if (wait[1].revents != 0)
      return drained(server) ? RelayEnd::kProgramGone : RelayEnd::kServerGone;
    if (wait[0].revents == 0) continue;
    const Passed passed = pass_request(program, server, patience);
    if (passed == Passed::kProgramGone) return RelayEnd::kProgramGone;
    if (passed == Passed::kServerGone)
      return server.timed_out() ? RelayEnd::kServerHangs : RelayEnd::kServerGone;
  }
}

namespace {

int run_keeper(const std::vector<std::string>& arguments,
               const std::function<std::string(Link&)>& rest) {
  Socket program(kProgramDescriptor);
  const CardLock lock =
      arguments[1] == "locked" ? CardLock::inherited(kLockDescriptor) : CardLock();
  std::vector<std::unique_ptr<Owned>> kept;
  for (;;) {
    std::array<std::byte, 1> note{};
    auto owned = std::make_unique<Owned>();
    if (!program.receive_with_descriptor(note, owned->descriptor)) break;
    kept.push_back(std::move(owned));
  }
  lock.sign("guard");
  const auto link = connect_linux({arguments[3], arguments[2], false, false, nullptr});
  rest(*link);
  return 0;
}

}  // namespace

int run_guard(const std::vector<std::string>& arguments,
              const std::function<std::string(Link&)>& rest) {
  if (arguments.size() == 4 && arguments[0] == "pci") return run_keeper(arguments, rest);
  if (arguments.size() != 3)
    throw Error("guard: this command is started by Outboard itself, not by people");
  const bool tinygpu = arguments[0] == "tinygpu";
  const std::string& name = arguments[2];
  Socket program(kProgramDescriptor), server(kServerDescriptor);
  const CardLock lock =
      arguments[1] == "locked" ? CardLock::inherited(kLockDescriptor) : CardLock();
  const RelayEnd end = relay(program, server, kServerPatience);
  program = Socket();  // the program, if it lives, sees its connection closed
  if (end == RelayEnd::kServerGone) return 1;
  lock.sign("guard");
  Socket keeper(::dup(server.descriptor()));
  const WireOptions options{kServerPatience};
  std::unique_ptr<Link> link;
  // Twice: a single request may be refused.
  for (int attempt = 0;; ++attempt) {
    try {
      if (end == RelayEnd::kServerHangs) fail("{}: the server does not answer", name);
      if (!link) {
        link = tinygpu ? link_tinygpu(std::move(server), name, options)
                       : link_remote(std::move(server), name, options);
      }
      rest(*link);
      return 0;
    } catch (const Error& e) {
      const bool server_went = link ? !link->is_open() : !drained(keeper);
      if (server_went) {
        std::fprintf(
            stderr,
            "outboard guard: %s: the server went before the card was seen at rest: %s\n"
            "If the card or this machine misbehaves now, power the enclosure off and on.\n",
            name.c_str(), e.what());
        return 1;
      }
      if (attempt == 0) {
        if (!link) server = Socket(::dup(keeper.descriptor()));  // the first request was refused
        continue;
      }
      hold(keeper, name, e);
      return 1;
    }
  }
}

}  // namespace outboard::link
