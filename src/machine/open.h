// Devices by name, as people give them on the command line.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "devices/device.h"
#include "link/recording.h"

namespace outboard::machine {

class SimDevice;

struct OpenOptions {
  int threads = 0;  // of the CPU and of the simulated card; 0: one a core
  std::vector<std::filesystem::path> firmware;  // folders to look in; empty: the system's
  bool take = false;                            // Linux: take the card from its kernel driver
  // The simulated card: look for broken rules, or count what caches would see. Both cost time.
  bool strict = false;
  bool counters = false;
  std::string link;  // the simulated card: what lies before it (simulator/cost/link_model.h);
                     // empty: it takes no time
  std::shared_ptr<link::Recording> recording;       // of what passes over the link; null: none
  std::function<void(std::string_view)> on_stage;   // of the card's boot
  std::function<void(std::string_view)> on_notice;  // something that the person may want to know
};

// A device, and the simulated card behind it.
struct Opened {
  std::unique_ptr<devices::Device> device;
  SimDevice* simulated = nullptr;  // where the device is one; lives as long as `device`
};

// "cpu"; "amd" (the card: TinyGPU.app on a Mac), or where it is: "tinygpu:SOCKET",
// "remote:HOST:PORT", "pci:ADDRESS"; "sim" (the simulated card, an RX 7900 XTX), "sim:xt",
// "sim:gre"; "auto": a card if there is one, else the CPU. Throws Error for other names and when
// the device cannot be opened.
Opened open_device(const std::string& name, const OpenOptions& options = {});

// Bytes for a model's weights, keys and values and all else on a device that is not opened for
// that: "cpu" (this machine's memory as it is now; 0 when unknown), or the name of a simulated
// card: those of such a card.
uint64_t room_on(std::string_view device);

}  // namespace outboard::machine
