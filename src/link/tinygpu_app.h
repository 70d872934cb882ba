// TinyGPU.app, whose signed driver extension gives programs on a Mac the card.
#pragma once

#include <chrono>
#include <string>

#include "link/socket.h"

namespace outboard::link {

struct TinyGpuApp {
  std::string program = "/Applications/TinyGPU.app/Contents/MacOS/TinyGPU";
  // How long its server may take to listen once it has been started.
  std::chrono::milliseconds patience{8000};
};

// Where the server listens: $APL_REMOTE_SOCK, else tinygpu.sock in $TMPDIR or /tmp, where tinygrad
// looks, too.
std::string tinygpu_socket_path();

// What to do about an app that is not there.
extern const char* const kInstallTinyGpu;
// Where the driver extension is allowed.
extern const char* const kApproveTinyGpu;

// Connects to the server at `path`; where nobody listens, starts the app's server once and waits
// for it. Throws Error saying what is missing.
Socket connect_tinygpu_app(const TinyGpuApp& app, const std::string& path);

}  // namespace outboard::link
