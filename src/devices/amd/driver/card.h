// A card that is up: booted, with memory and queues; put to rest in order.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "devices/amd/driver/blocks.h"
#include "devices/amd/driver/memory.h"
#include "devices/amd/driver/queue.h"

namespace outboard::devices::amd::driver {

struct BootOptions {
  std::filesystem::path firmware;  // folder; empty: the system's
  bool cold = false;               // boot everything even where a warm boot would do
  // Called before each stage with its name, for progress.
  std::function<void(std::string_view)> on_stage;
};

// Owns the card behind a link from boot to finalize(). One thread.
class Card {
 public:
  // Boots. A card that an earlier run of ours left in order is booted warm: firmware stays, memory
  // and queues are set up anew. Any other that is alive is reset first (mode 1). Throws Error
  // naming the stage.
  Card(link::Link& link, const BootOptions& options);
  // Finalizes, if nobody did; what goes wrong then is of no more use to anyone.
  ~Card();
  Card(const Card&) = delete;
  Card& operator=(const Card&) = delete;

  // Queues stopped, clocks low, bus master off: after this the card touches no shared memory.
  void finalize();

  struct Stage {
    std::string name;
    double milliseconds = 0;
  };
  const std::vector<Stage>& stages() const { return stages_; }
  bool was_warm() const { return warm_; }
  const CardFacts& facts() const { return context_.facts; }
  Memory& memory() { return *memory_; }
  ComputeQueue& compute() { return *compute_; }
  CopyQueue& copies() { return *copies_; }
  link::Link& link() { return context_.link; }

  // Waits for a fence; a timeout's error says what the card reported (page faults by buffer).
  void wait(Queue& queue, Fence fence,
            std::chrono::milliseconds limit = std::chrono::milliseconds(30000));

  // Host memory to a buffer and back, through the copy queue and shared memory.
  void upload(const Buffer& to, uint64_t offset, std::span<const std::byte> bytes);
  void download(const Buffer& from, uint64_t offset, std::span<std::byte> bytes);

 private:
  void stage(std::string_view name, const std::function<void()>& body);
  void set_bus_master(bool on);
  void boot_cold();
  void boot_engines();
  std::string report();

  Context context_;
  BootOptions options_;
  Firmware firmware_;
  std::vector<Stage> stages_;
  bool warm_ = false;
  bool finalized_ = true;  // nothing to stop yet
  bool gc_hub_up_ = false;
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<link::SharedMemory> control_;  // rings, pointers, fences
  std::unique_ptr<link::SharedMemory> window_;   // what passes between host and VRAM
  Buffer control_buffer_, window_buffer_, end_of_pipe_;
  std::unique_ptr<ComputeQueue> compute_;
  std::unique_ptr<CopyQueue> copies_;
};

}  // namespace outboard::devices::amd::driver
