// From what a person calls a card to a link to it.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "link/link.h"
#include "link/tinygpu_app.h"

namespace outboard::link {

struct ConnectOptions {
  // "amd": the first of find_cards();
  // "tinygpu", "tinygpu:SOCKET": TinyGPU.app's server, started when nobody listens;
  // "remote:HOST", "remote:HOST:PORT": tinygrad's remote server, or `outboard sim serve --tcp`;
  // "pci:0000:03:00.0": a card in this Linux machine.
  std::string spec = "amd";
  bool take = false;  // pci: unbind the kernel's driver, which may be driving a screen
  std::chrono::milliseconds timeout{10000};      // of one request
  std::chrono::milliseconds busy_timeout{3000};  // of the first, which a busy server lets wait
  TinyGpuApp app;
};

// Throws Error saying which layer is missing and what to do about it. The link holds the card's
// lock file, so that a second program is told who holds the card, and where set_guard_program() was
// called, a guard process keeps the connection should this program die.
std::unique_ptr<Link> connect(const ConnectOptions& options);

// Whether a name is one that connect() takes.
bool is_link_spec(const std::string& name);

struct FoundCard {
  std::string spec;         // for connect()
  std::string description;  // for people
  std::string driver;       // Linux: the kernel's driver that holds it; empty: none
};
// Cards that may be there: TinyGPU.app, where it is installed or its server listens; on Linux the
// cards on the bus. Nothing is opened or started.
std::vector<FoundCard> find_cards(const TinyGpuApp& app = {});

}  // namespace outboard::link
