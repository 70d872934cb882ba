#include "devices/amd/driver/card.h"

#include <algorithm>
#include <cstring>

#include "devices/amd/hw/gc.h"
#include "support/error.h"

namespace outboard::devices::amd::driver {
namespace {

using ScratchVersion = hw::gc::SCRATCH_REG7;  // whose driver left the card in order
using ScratchInUse = hw::gc::SCRATCH_REG6;    // not zero: a run is under way, or ended badly

// Grows whenever what a warm boot relies on changes.
constexpr uint32_t kVersion = 0x0b0a0001;
constexpr uint64_t kRingBytes = 64 << 10;
constexpr uint64_t kPage = 4096;
constexpr uint64_t kControlBytes = kPage + 2 * kRingBytes;
constexpr uint64_t kWindowBytes = uint64_t{16} << 20;
constexpr uint32_t kCommandOffset = 4, kMemoryEnable = 2, kBusMaster = 4;  // PCI command register

}  // namespace

Card::Card(link::Link& link, const BootOptions& options) : context_(link), options_(options) {
  // The driver extension turns memory decoding off when a client goes, and nobody turns it on
  // again.
  stage("bus", [&] {
    identify(link);
    set_bus_master(false);
  });
  stage("discovery", [&] {
    context_.facts = discover(link, context_.registers);
    gmc::find_vram(context_);
  });
  stage("firmware", [&] { firmware_ = Firmware::load(find_firmware(options_.firmware)); });
  memory_ = std::make_unique<Memory>(link, context_.facts.vram_bytes, [this] {
    gmc::flush_tlb(context_, gmc::Hub::kMm);
    if (gc_hub_up_) gmc::flush_tlb(context_, gmc::Hub::kGc);
  });
  warm_ = !options_.cold && context_.registers.get<ScratchVersion>() == kVersion &&
          context_.registers.get<ScratchInUse>() == 0 && psp::is_alive(context_) &&
          !gmc::has_fault(context_);
  if (!warm_) boot_cold();
  finalized_ = false;
  boot_engines();
}

Card::~Card() {
  if (finalized_) return;
  try {
    finalize();
  } catch (const std::exception&) {  // the link is gone: nothing can be told to the card any more
  }
}

void Card::stage(std::string_view name, const std::function<void()>& body) {
  if (options_.on_stage) options_.on_stage(name);
  const auto start = std::chrono::steady_clock::now();
  try {
    body();
  } catch (Error& e) {
    e.add_context(fmt::format("boot, {}", name));
    throw;
  }
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  stages_.push_back({std::string(name), time.count()});
}

void Card::set_bus_master(bool on) {
  const uint32_t command = context_.link.config_read(kCommandOffset, 2) | kMemoryEnable;
  context_.link.config_write(kCommandOffset, on ? command | kBusMaster : command & ~kBusMaster, 2);
  context_.link.config_read(kCommandOffset, 2);  // it has arrived when it reads back
}

void Card::boot_cold() {
  Context& c = context_;
  if (psp::is_alive(c) && smu::is_alive(c)) {
    // Somebody's driver is still up. Nothing of theirs may go on writing to memory.
    stage("reset", [&] {
      set_bus_master(false);
      smu::reset_card(c);
    });
  }
  set_bus_master(true);
  stage("bus interface", [&] { nbio::init(c); });
  stage("memory hub", [&] {
    gmc::init_hub(c, gmc::Hub::kMm);
    memory_->reset();
  });
  stage("interrupts", [&] { ih::init(c); });
  stage("firmware boot", [&] { psp::init(c, firmware_); });
  stage("power management", [&] { smu::init(c); });
}

void Card::boot_engines() {
  Context& c = context_;
  if (warm_) set_bus_master(true);
  stage("graphics core", [&] {
    gfx::wait_for_autoload(c);
    gmc::init_hub(c, gmc::Hub::kGc);
    gc_hub_up_ = true;
    if (warm_) {
      memory_->reset();
      gfx::restart_mec(c, firmware_.mec_start);
    } else {
      gfx::init(c, firmware_.mec_start);
    }
  });
  c.registers.set<ScratchInUse>(1);
  stage("shared memory", [&] {
    control_ = c.link.share(kControlBytes, false);
    window_ = c.link.share(kWindowBytes, false);
    control_buffer_ = memory_->map(*control_, "rings and fences");
    window_buffer_ = memory_->map(*window_, "upload window");
    end_of_pipe_ = memory_->allocate(kPage, "end-of-pipe buffer");
  });
  stage("queues", [&] {
    compute_ = std::make_unique<ComputeQueue>(
        c, Queue::Place{control_.get(), control_buffer_.address, kPage, kRingBytes, 0});
    copies_ = std::make_unique<CopyQueue>(c, Queue::Place{control_.get(), control_buffer_.address,
                                                          kPage + kRingBytes, kRingBytes, 1024});
    compute_->set_doorbell(gfx::start_queue(c, compute_->ring(), end_of_pipe_.address));
    sdma::init(c);
    copies_->set_doorbell(sdma::start_queue(c, copies_->ring()));
  });
  stage("clocks", [&] {
    smu::set_clocks(c, smu::Clocks::kHighest);
    gfx::allow_clock_gating(c);
  });
  c.registers.set<ScratchVersion>(kVersion);
}

void Card::finalize() {
  if (finalized_) return;
  finalized_ = true;
  Context& c = context_;
  sdma::stop(c);
  gfx::stop_queues(c, true);
  smu::set_clocks(c, smu::Clocks::kLowest);
  ih::drain(c);
  c.registers.set<ScratchInUse>(0);
  set_bus_master(false);
}

std::string Card::report() {
  std::string out;
  for (const std::string& line : ih::drain(context_)) out += (out.empty() ? "" : "; ") + line;
  if (gmc::has_fault(context_)) {
    const gmc::Fault fault = gmc::read_fault(context_);
    const std::string place = memory_->describe(fault.address);
    out += fmt::format("{}{} of page {:#x}{}", out.empty() ? "" : "; ",
                       fault.write ? "write" : "read", fault.address,
                       place.empty() ? ", which belongs to nothing" : " (" + place + ")");
    gmc::clear_fault(context_);
  }
  return out;
}

void Card::wait(Queue& queue, Fence fence, std::chrono::milliseconds limit) {
  queue.wait(fence, limit, [this] { return report(); });
}

// In halves of the window: while the card copies one, the host fills the other.
void Card::upload(const Buffer& to, uint64_t offset, std::span<const std::byte> bytes) {
  if (offset > to.bytes || bytes.size() > to.bytes - offset)
    fail("upload of {} bytes at {} of {}", bytes.size(), offset, to.name);
  constexpr uint64_t kHalf = kWindowBytes / 2;
  std::array<Fence, 2> busy{};
  for (int half = 0; !bytes.empty(); half ^= 1) {
    if (busy[static_cast<size_t>(half)] != 0) wait(*copies_, busy[static_cast<size_t>(half)]);
    const auto piece = bytes.first(std::min<uint64_t>(bytes.size(), kHalf));
    const uint64_t at = static_cast<uint64_t>(half) * kHalf;
    window_->write(at, piece);
    busy[static_cast<size_t>(half)] = copies_->submit(
        CopyQueue::copy(to.address + offset, window_buffer_.address + at, piece.size()));
    offset += piece.size();
    bytes = bytes.subspan(piece.size());
  }
  for (const Fence fence : busy) {
    if (fence != 0) wait(*copies_, fence);
  }
}

void Card::download(const Buffer& from, uint64_t offset, std::span<std::byte> bytes) {
  if (offset > from.bytes || bytes.size() > from.bytes - offset)
    fail("download of {} bytes at {} of {}", bytes.size(), offset, from.name);
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min<uint64_t>(bytes.size(), kWindowBytes));
    wait(*copies_, copies_->submit(CopyQueue::copy(window_buffer_.address, from.address + offset,
                                                   piece.size())));
    window_->read(0, piece);
    offset += piece.size();
    bytes = bytes.subspan(piece.size());
  }
}

}  // namespace outboard::devices::amd::driver
