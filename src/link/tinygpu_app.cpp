#include "link/tinygpu_app.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "support/error.h"

extern char** environ;

namespace outboard::link {

const char* const kInstallTinyGpu =
    "Get TinyGPU.zip from https://github.com/tinygrad/tinygpu_releases, put TinyGPU.app into "
    "/Applications, and run: /Applications/TinyGPU.app/Contents/MacOS/TinyGPU install";
const char* const kApproveTinyGpu =
    "Allow the extension TinyGPU in System Settings > General > Login Items & Extensions > Driver "
    "Extensions.";

namespace {

pid_t start_server(const std::string& program, const std::string& path) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  for (const int standard : {0, 1, 2})
    posix_spawn_file_actions_addopen(&files, standard, "/dev/null", O_RDWR, 0);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);  // it outlives this program
  std::array<std::string, 3> arguments = {program, "server", path};
  std::array<char*, 4> pointers = {arguments[0].data(), arguments[1].data(), arguments[2].data(),
                                   nullptr};
  pid_t pid = 0;
  const int error =
      ::posix_spawn(&pid, program.c_str(), &files, &attributes, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    errno = error;
    throw system_error("start", program);
  }
  return pid;
}

}  // namespace

std::string tinygpu_socket_path() {
  if (const char* given = std::getenv("APL_REMOTE_SOCK"); given != nullptr && *given != '\0')
    return given;
  const char* folder = std::getenv("TMPDIR");
  std::string path = folder != nullptr && *folder != '\0' ? folder : "/tmp";
  if (path.back() != '/') path += '/';
  return path + "tinygpu.sock";
}

Socket connect_tinygpu_app(const TinyGpuApp& app, const std::string& path) {
  if (Socket socket = Socket::try_connect_unix(path); socket.is_open()) return socket;
  if (::access(app.program.c_str(), F_OK) != 0) {
    throw Error(
        fmt::format("tinygpu:{}: nobody listens there, and {} is not installed", path, app.program),
        kInstallTinyGpu);
  }
  const pid_t pid = start_server(app.program, path);
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start < app.patience) {
    if (Socket socket = Socket::try_connect_unix(path); socket.is_open()) return socket;
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) == pid) {
      throw Error(fmt::format("tinygpu:{}: `{} server` ended with status {} before it listened",
                              path, app.program, WEXITSTATUS(status)),
                  std::string("Open TinyGPU.app to see why. ") + kApproveTinyGpu);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  throw Error(fmt::format("tinygpu:{}: `{} server` was started and does not listen after {} ms",
                          path, app.program, app.patience.count()),
              std::string("Open TinyGPU.app to see why. ") + kApproveTinyGpu);
}

}  // namespace outboard::link
