// A card that is up: booted, with memory and queues; put to rest in order.
#pragma once

#include <array>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "devices/amd/driver/blocks.h"
#include "devices/amd/driver/link_rate.h"
#include "devices/amd/driver/memory.h"
#include "devices/amd/driver/queue.h"
#include "devices/amd/driver/system_pool.h"

namespace outboard::devices::amd::driver {

struct BootOptions {
  Chips chips = hardware::amd::kChips;  // that are driven
  // Where firmware is looked for, in this order; empty: the system's folders.
  std::vector<std::filesystem::path> firmware;
  FirmwareFiles images;  // instead of any folder, when there are any (the simulated card's)
  bool cold = false;     // boot everything even where a warm boot would do
  uint64_t system_bytes = uint64_t{64} << 20;  // pooled at the start for share()
  // Every deadline and pause of the boot times this: less for tests of what goes wrong.
  double patience = 1;
  // How long wait() waits where nothing else is said.
  std::chrono::milliseconds wait{30000};
  // Called before each stage with its name, for progress.
  std::function<void(std::string_view)> on_stage;
  // For reports, as in Context; told of even where the boot fails.
  WaitObserver on_wait;
  std::function<void(std::span<const std::byte>)> on_table;
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

  // Queues stopped, clocks low, bus master off: after this the card touches no system memory.
  // Throws Error when the card does not answer; bus mastering is off even then, if the link lives.
  void finalize();

  struct Stage {
    std::string name;
    double milliseconds = 0;
  };
  const std::vector<Stage>& stages() const { return stages_; }
  // What was not as it should be, and did not stop anything: a line each.
  const std::vector<std::string>& notes() const { return context_.notes; }
  bool was_warm() const { return warm_; }
  const CardFacts& facts() const { return context_.facts; }
  Memory& memory() { return *memory_; }
  ComputeQueue& compute() { return *compute_; }
  CopyQueue& copies() { return *copies_; }
  link::Link& link() { return context_.link; }

  // System memory that both sides see, out of the pool. Contents: whatever was there.
  SystemBuffer share(uint64_t bytes, std::string name) {
    return pool_->take(bytes, std::move(name));
  }
  void unshare(const SystemBuffer& buffer) { pool_->give(buffer); }

  // Who is running, for reports of faults: called when a wait fails, and may look into system
  // memory. For example "decode, batch 1: kernel 17, attention".
  void set_running(std::function<std::string()> describe) { running_ = std::move(describe); }
  // What a GPU address belongs to; empty: nothing.
  std::string describe(GpuAddress address) const;

  // Waits for a fence; a timeout's error says what the card reported (page faults by buffer) and
  // what was running.
  void wait(Queue& queue, Fence fence, std::chrono::milliseconds limit);
  void wait(Queue& queue, Fence fence) { wait(queue, fence, options_.wait); }

  // What the card reported since it was last asked, a line each, without the ordinary.
  std::vector<std::string> take_interrupts() { return ih::drain(context_); }
  // Asks for an interrupt and looks for it.
  bool interrupts_arrive();

  // Throws Error when the copy engine does not keep to the doorbell alone: it would, sooner or
  // later, go back in its ring and copy what it has copied before (queue.h).
  void test_doorbells();

  // After a hang or a fault: mode 1 reset and a cold boot. Every buffer, of either memory,
  // keeps its address, and system memory its contents; what lay in video memory is lost and must be
  // uploaded again. Fences of before count as done. Throws Error when the card failed again with
  // nothing done since the last recovery: a failing card is not tried over and over.
  void recover();

  // A copy between system memory and VRAM that was submitted.
  struct Copy {
    Fence fence = 0;  // 0: none
    uint64_t bytes = 0;
    std::chrono::steady_clock::time_point submitted;
  };
  // Submits one. Its window, host memory included, must be left alone until it was waited for.
  Copy copy_to_card(GpuAddress to, GpuAddress from, uint64_t bytes);
  // However slow the link. Learns how fast it is.
  void wait(const Copy& copy);
  // How much to copy at once, of `most` at most (a power of two, at least 256 KiB).
  uint64_t copy_bytes(uint64_t most) const { return rate_.window(most); }

  // Host memory to a buffer and back, through the copy queue and system memory.
  void upload(const Buffer& to, uint64_t offset, std::span<const std::byte> bytes);
  void download(const Buffer& from, uint64_t offset, std::span<std::byte> bytes);

 private:
  void stage(std::string_view name, const std::function<void()>& body);
  void set_bus_master(bool on);
  void find_card();
  bool was_left_in_order();
  bool can_boot_warm();
  void flush();
  void load_firmware();
  void reset_if_alive();
  void boot_cold();
  void boot_engines();
  void make_queues();
  void quiet_down();
  std::string report();
  Queue::Watch watch();
  Copy submitted(Fence fence, uint64_t bytes) const;

  Context context_;
  BootOptions options_;
  Firmware firmware_;
  std::vector<Stage> stages_;
  bool warm_ = false;
  bool finalized_ = true;  // nothing to stop yet
  bool gc_hub_up_ = false;
  bool recovered_ = false;  // and nothing done since
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<SystemPool> pool_;
  SystemBuffer control_;  // rings, pointers, fences
  SystemBuffer window_;   // what passes between host and VRAM
  Buffer end_of_pipe_;
  std::unique_ptr<ComputeQueue> compute_;
  std::unique_ptr<CopyQueue> copies_;
  LinkRate rate_;
  std::chrono::steady_clock::time_point last_copied_;  // when the end of a copy was last seen
  std::function<std::string()> running_;
};

}  // namespace outboard::devices::amd::driver
