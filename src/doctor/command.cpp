#include "doctor/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>

#include "support/error.h"

extern char** environ;

namespace outboard::doctor {
namespace {
constexpr std::chrono::milliseconds kPatience{10000};
constexpr int kNotFound = 127, kTimedOut = 124;
}  // namespace

CommandResult run_command(const std::vector<std::string>& command) {
  std::array<int, 2> pipe{};
  if (::pipe(pipe.data()) != 0) throw system_error("make", "a pipe");
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  for (const int standard : {1, 2}) posix_spawn_file_actions_adddup2(&files, pipe[1], standard);
  for (const int end : pipe) posix_spawn_file_actions_addclose(&files, end);
  std::vector<std::string> copies = command;
  std::vector<char*> pointers;
  for (std::string& argument : copies) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, pointers[0], &files, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  ::close(pipe[1]);
  CommandResult result;
  if (error != 0) {
    ::close(pipe[0]);
    result.status = kNotFound;
    return result;
  }
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    pollfd wait{pipe[0], POLLIN, 0};
    if (left.count() <= 0 || ::poll(&wait, 1, static_cast<int>(left.count())) == 0) {
      ::kill(pid, SIGKILL);  // one that is stuck in the kernel stays; we don't wait for it
      ::close(pipe[0]);
      ::waitpid(pid, nullptr, WNOHANG);
      result.status = kTimedOut;
      return result;
    }
    std::array<char, 4096> text{};
    const ssize_t got = ::read(pipe[0], text.data(), text.size());
    if (got <= 0) break;
    result.output.append(text.data(), static_cast<size_t>(got));
  }
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace outboard::doctor
