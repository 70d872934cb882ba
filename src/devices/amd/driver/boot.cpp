// How a card comes up, in its own order, and goes to rest.
#include <array>
#include <cstring>

#include "devices/amd/driver/card.h"
#include "devices/amd/driver/rest.h"
#include "devices/amd/driver/saved_config.h"
#include "hardware/amd/navi31/gc.h"
#include "support/error.h"

namespace outboard::devices::amd::driver {
namespace {

using ScratchVersion = hw::gc::SCRATCH_REG7;  // whose driver left the card in order
using ScratchInUse = hw::gc::SCRATCH_REG6;    // not zero: a run is under way, or ended badly

// Grows whenever what a warm boot relies on changes.
constexpr uint32_t kVersion = 0x0b0a0005;
constexpr uint64_t kRingBytes = 64 << 10;
constexpr uint64_t kPage = hw::pte::kPageBytes;
constexpr uint64_t kControlBytes = kPage + 2 * kRingBytes;
constexpr uint64_t kWindowBytes = uint64_t{16} << 20;

}  // namespace

Card::Card(link::Link& link, const BootOptions& options) : context_(link), options_(options) {
  context_.patience = options.patience;
  context_.on_wait = options.on_wait;
  context_.on_table = options.on_table;
  try {
    find_card();
    memory_ = std::make_unique<Memory>(link, context_.facts.vram_bytes, [this] { flush(); });
    pool_ = std::make_unique<SystemPool>(link, *memory_);
    if (!warm_) boot_cold();
    boot_engines();
    finalized_ = false;
  } catch (...) {
    quiet_down();
    throw;
  }
}

void Card::stage(std::string_view name, const std::function<void()>& body) {
  if (options_.on_stage) options_.on_stage(name);
  const auto start = std::chrono::steady_clock::now();
  try {
    body();
  } catch (Error& e) {
    e.add_context(fmt::format("boot, {}", name));
    if (!context_.notes.empty())
      e.add_detail(fmt::format("noted before: {}", fmt::join(context_.notes, "; ")));
    throw;
  }
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  stages_.push_back({std::string(name), time.count()});
}

void Card::set_bus_master(bool on) {
  link::Link& link = context_.link;
  const uint32_t before = link.config_read(pci::kCommand, 2);
  if (before == 0xffff) {
    throw Error("the card does not answer: its configuration space reads as ones",
                "Check that the enclosure is powered and its cable plugged in.");
  }
  const uint32_t command = before | pci::kMemory;
  link.config_write(pci::kCommand, on ? command | pci::kBusMaster : command & ~pci::kBusMaster, 2);
  if (on || (before & pci::kBusMaster) != 0)
    link.config_read(pci::kCommand, 2);  // it has arrived when it reads back
}

void Card::find_card() {
  // The driver extension turns memory decoding off when a client goes, and nobody turns it on
  // again. Before any register is read, the link must not fall asleep.
  stage("bus", [&] {
    context_.chip = &identify(context_.link, options_.chips);
    disable_aspm(context_.link);
    set_bus_master(false);
  });
  stage("discovery", [&] {
    warm_ = can_boot_warm() && recall(context_);
    if (!warm_) discover(context_);
    if (!warm_)
      context_.kept.revision = static_cast<uint16_t>(context_.link.config_read(pci::kClass, 1));
    context_.facts.name = context_.chip->card_name(context_.kept.revision);
  });
  stage("firmware", [&] { load_firmware(); });
}

bool Card::was_left_in_order() {
  return context_.registers.get<ScratchVersion>() == kVersion &&
         context_.registers.get<ScratchInUse>() == 0;
}

bool Card::can_boot_warm() {
  Context& c = context_;
  return !options_.cold && was_left_in_order() && psp::is_alive(c) && !gmc::has_fault(c);
}

// The engines with queues (compute, SDMA) go through the GC hub. What goes through the other one
// (PSP, interrupts, power management) uses the controller's own addresses, so its TLBs matter only
// as long as the GC hub is not up and a cold boot looks whether it answers.
void Card::flush() {
  context_.flush_host_writes();
  gmc::flush_tlb(context_, gc_hub_up_ ? gmc::Hub::kGc : gmc::Hub::kMm);
}

void Card::load_firmware() {
  if (!options_.images.empty()) {
    firmware_ = Firmware::load(options_.images, *context_.chip, "images in memory");
    return;
  }
  const Chip& chip = *context_.chip;
  const auto folder = find_firmware(
      options_.firmware.empty() ? system_firmware_folders() : options_.firmware, chip);
  firmware_ = Firmware::load(read_firmware(folder, chip), chip, folder.string());
}

void Card::reset_if_alive() {
  Context& c = context_;
  if (psp::is_alive(c) && smu::is_alive(c)) {
    // Somebody's driver is still up, or ours was asked for the whole way. Nothing of theirs may go
    // on writing to memory.
    stage(was_left_in_order() ? "restart" : "reset", [&] {
      set_bus_master(false);
      const SavedConfig config(c.link);
      smu::reset_card(c);
      config.restore(c.link);
    });
  } else if (!psp::is_alive(c) && boot_was_cut_off(c)) {
    // The boot loader stands in the middle of its list and takes nothing from the start.
    stage("function reset", [&] {
      const SavedConfig config(c.link);
      c.link.reset();
      config.restore(c.link);
    });
  }
}

void Card::boot_cold() {
  Context& c = context_;
  gc_hub_up_ = false;
  reset_if_alive();
  set_bus_master(true);
  stage("bus interface", [&] { nbio::init(c); });
  stage("memory hub", [&] {
    gmc::init_hub(c, gmc::Hub::kMm);
    memory_->reset();
  });
  stage("interrupts", [&] { ih::init(c); });
  stage("firmware boot", [&] {
    mark_boot(c, true);
    psp::init(c, firmware_);
    mark_boot(c, false);
  });
  stage("power management", [&] { smu::init(c); });
}

void Card::boot_engines() {
  Context& c = context_;
  stage("graphics core", [&] {
    if (warm_) {
      c.registers.set<ScratchInUse>(1);  // first: a run that ends from here on leaves a mess
      set_bus_master(true);
    }
    gfx::wait_for_autoload(c, warm_);
    if (!warm_ || !gmc::is_up(c)) gmc::init_hub(c, gmc::Hub::kGc);
    gc_hub_up_ = true;
    if (!warm_) {
      gfx::init(c, firmware_.mec_start);
      gfx::count_units(c);
    } else {
      // Its queue was stopped in order, or this would be no warm boot. The engine is restarted all
      // the same, as tinygrad does (ip.py, AM_GFX.reset_mec): a queue that was dequeued is not sure
      // to start again without.
      gfx::restart_mec(c, firmware_.mec_start);
    }
  });
  if (!warm_) c.registers.set<ScratchInUse>(1);
  if (!compute_) {
    stage("system memory", [&] {
      Memory::Batch batch(*memory_);
      if (warm_) memory_->reset();
      pool_->reserve(options_.system_bytes);
      control_ = pool_->take(kControlBytes, "rings and fences");
      window_ = pool_->take(kWindowBytes, "upload window");
      end_of_pipe_ = memory_->allocate(kPage, "end-of-pipe buffer");
      batch.finish();
    });
  }
  stage("queues", [&] { make_queues(); });
  // What an earlier client left in the ring, or a fresh card had to say, is nobody's fault now.
  if (!warm_) ih::drain(c);
  stage("clocks", [&] {
    if (!warm_) {
      smu::find_clocks(c);
      smu::raise_limits(c);
    }
    smu::set_clocks(c, smu::Clocks::kHighest);
    if (!warm_) {
      nbio::allow_clock_gating(c);
      gfx::allow_clock_gating(c);
    }
  });
  if (warm_) return;
  keep(c);
  c.registers.set<ScratchVersion>(kVersion);
}

void Card::make_queues() {
  Context& c = context_;
  if (compute_) {
    compute_->restart();
    copies_->restart();
  } else {
    compute_ = std::make_unique<ComputeQueue>(c, Queue::Place{control_, kPage, kRingBytes, 0});
    copies_ = std::make_unique<CopyQueue>(
        c, Queue::Place{control_, kPage + kRingBytes, kRingBytes, 1024});
  }
  compute_->set_doorbell(gfx::start_queue(c, compute_->ring(), end_of_pipe_.address));
  if (!warm_) {
    sdma::find_settings(c);
    sdma::enable_doorbell(c);
  }
  sdma::init(c);
  copies_->set_doorbell(sdma::start_queue(c, copies_->ring()));
}

void Card::recover() {
  if (recovered_) {
    throw Error(context_.link.name() + ": the card failed again right after it was reset",
                "It is not tried a third time. Power the enclosure off and on; `outboard doctor` "
                "says more.");
  }
  recovered_ = true;
  stages_.clear();
  warm_ = false;
  finalized_ = true;  // until it is up again, put_to_rest() is what can be done
  try {
    // Queues first: an engine that runs into a bus that is off is worse than one that hangs.
    quiet_down();
    set_bus_master(false);
    boot_cold();
    boot_engines();
    finalized_ = false;
  } catch (...) {
    quiet_down();
    throw;
  }
}

void Card::finalize() {
  if (finalized_) return;
  finalized_ = true;
  Context& c = context_;
  try {
    sdma::stop(c);
    const bool stopped = gfx::stop_queues(c);
    smu::set_clocks(c, smu::Clocks::kAny);
    ih::drain(c);
    // With a queue that did not stop, the next boot is a cold one.
    if (stopped) c.registers.set<ScratchInUse>(0);
    set_bus_master(false);
  } catch (...) {
    quiet_down();
    throw;
  }
}

// After an error that says more: what was shared must not go while the card could write there.
void Card::quiet_down() {
  try {
    put_to_rest(context_);
  } catch (const std::exception&) {  // the link is gone, too
  }
}

}  // namespace outboard::devices::amd::driver
