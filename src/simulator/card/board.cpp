#include "simulator/card/board.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "hardware/amd/navi31/discovery.h"
#include "hardware/amd/navi31/gc.h"
#include "simulator/card/discovery_table.h"
#include "simulator/card/gmc.h"
#include "simulator/card/ih.h"
#include "simulator/card/mec.h"
#include "simulator/card/nbio.h"
#include "simulator/card/psp.h"
#include "simulator/card/rlc.h"
#include "simulator/card/sdma.h"
#include "simulator/card/shader_arrays.h"
#include "simulator/card/smu.h"
#include "simulator/compute/memory_order.h"

namespace outboard::simulator::card {

namespace hw = hardware::amd::navi31;

namespace {

constexpr uint64_t kHiddenVram = uint64_t{16} << 20;

bool fires(const CardOptions& options, std::string_view what) {
  return options.faults && options.faults->fires(what).has_value();
}

ConfigSpace::Options config_options(const CardOptions& options) {
  ConfigSpace::Options result;
  // A power of two that the card offers.
  result.bar0_bytes = std::clamp(std::bit_ceil(options.bar0_bytes), ConfigSpace::kSmallestBar0,
                                 options.model->bar0_bytes);
  result.chip = options.model->chip;
  result.revision = options.model->revision;
  if (fires(options, "bar.small")) result.bar0_bytes = ConfigSpace::kSmallestBar0;
  result.resizable = result.bar0_bytes > ConfigSpace::kSmallestBar0;
  result.unassigned = fires(options, "bar.unassigned");
  result.audio = fires(options, "pci.audio-function");
  result.absent = fires(options, "pci.absent");
  result.slow_link = fires(options, "pci.slow-link");
  result.posted = options.moods.has(Mood::kPosted);
  return result;
}

compute::Options compute_options(const CardOptions& options) {
  compute::Options result;
  result.threads = options.threads;
  result.strict = options.strict;
  result.cache_model = options.cache_model;
  result.second_level_bytes = options.model->chip->die.second_level_bytes;
  result.infinity_cache_bytes = options.model->infinity_cache_bytes;
  return result;
}

// What an earlier client may have left behind: tinygrad's marks of a session that did not end well.
constexpr uint32_t kDirtyVersion = 0xA0000008, kDirtyRunning = 1;

}  // namespace

Board::Board(CardOptions given)
    : options(std::move(given)),
      link(options.link),
      vram(options.vram_bytes),
      system(options.seed),
      registers(events),
      config(events, config_options(options)) {
  gc_hub = std::make_unique<Hub>(*this, Hub::Kind::kGc);
  mm_hub = std::make_unique<Hub>(*this, Hub::Kind::kMm);
  interrupts = std::make_unique<Interrupts>(*this);
  nbio = std::make_unique<Nbio>(*this);
  rlc = std::make_unique<Rlc>(*this);
  arrays = std::make_unique<ShaderArrays>(*this);
  smu = std::make_unique<Smu>(*this);
  psp = std::make_unique<Psp>(*this);
  mec = std::make_unique<Mec>(*this);
  for (int i = 0; i < 2; ++i) sdma.push_back(std::make_unique<Sdma>(*this, i));
  shader_memory = std::make_unique<ShaderMemory>(*this);
  compute = std::make_unique<compute::ComputeUnits>(*shader_memory, compute_options(options));

  const std::vector<std::byte> table = make_discovery_table(*options.model, options.moods);
  const VramOffset place{visible_vram() - hw::discovery::DISCOVERY_TMR_OFFSET};
  std::memcpy(vram.at(place), table.data(), table.size());
  if (const auto rule = fires("card.dirty")) {
    psp->leave_running();
    mec->leave_active();
    const auto version = rule->parameters.find("version");
    registers.set<hw::gc::SCRATCH_REG7>(
        version == rule->parameters.end() ? kDirtyVersion : static_cast<uint32_t>(version->second));
    registers.set<hw::gc::SCRATCH_REG6>(kDirtyRunning);
  }
}

Board::~Board() = default;

std::optional<FaultRule> Board::fires(std::string_view what, std::string_view where) {
  if (!options.faults) return std::nullopt;
  auto rule = options.faults->fires(what, where);
  if (rule) {
    events.fault("fault", "{}{}{}", what, where.empty() ? "" : " at ", where);
  }
  return rule;
}

uint64_t Board::visible_vram() const { return options.vram_bytes - kHiddenVram; }

bool Board::is_posted() {
  constexpr std::chrono::milliseconds kOwnFirmware{150};
  if (!is(Mood::kNotPosted)) return true;
  const auto now = std::chrono::steady_clock::now();
  if (!first_look_) first_look_ = now;
  return now - *first_look_ >= kOwnFirmware;
}

void Board::power_on() {
  first_look_.reset();
  vram.settle();
  config.power_on_link(is(Mood::kLinkPower));
  registers.reset();
  gc_hub->power_on();
  mm_hub->power_on();
  nbio->power_on();
  rlc->power_on();
  smu->power_on();
  psp->power_on();
  mec->power_on();
  for (const auto& engine : sdma) engine->power_on();
  compute->invalidate_instructions();
  compute->invalidate_translations();
  if (compute::MemoryOrder* order = compute->order()) order->clear();
}

void Board::forget_translations() {
  if (!compute) return;
  if (dispatch_running_) {
    translations_old_ = true;
  } else {
    compute->invalidate_translations();
  }
}

void Board::hard_reset(std::string_view why) {
  events.note("card", "{}", why);
  ++counters.resets;
  if (stepping_ && !dispatch_running_) {
    reset_wanted_ = true;
    return;
  }
  cancel_dispatch();
  power_on();
  wake();
}

void Board::end_step() {
  stepping_ = false;
  if (!reset_wanted_) return;
  reset_wanted_ = false;
  power_on();
}

uint64_t Board::clock() const {
  using Ticks = std::chrono::duration<uint64_t, std::ratio<1, 100000000>>;
  return std::chrono::duration_cast<Ticks>(std::chrono::steady_clock::now() - start_).count();
}

Board::Guard::Guard(Board& board) : board_(board), lock_(board.mutex_, std::defer_lock) {
  ++board.waiting_;
  lock_.lock();
  --board.waiting_;
  ++board.served_;
  board.was_served_.notify_one();
  before_ = board.held_;
  board.held_ = &lock_;
}

Board::Guard::~Guard() { board_.held_ = before_; }

void Board::give_way() {
  if (waiting_ == 0) return;
  release([&](std::unique_lock<std::mutex>& lock) {
    was_served_.wait(lock, [&, before = served_] { return served_ != before; });
  });
}

void Board::wake() {
  ++wakes_;
  work.notify_all();
}

Board::ComputeState Board::compute_state() const {
  return dispatch_running_ ? compute_before_ : snapshot();
}

Board::ComputeState Board::snapshot() const {
  return {compute->counters(), compute->violations(), compute->violation_count()};
}

compute::Result Board::run_dispatch(const compute::Dispatch& dispatch) {
  const auto selection = registers.engine_selection();
  registers.select_for_engine(std::nullopt);
  compute::Result result;
  compute_before_ = snapshot();
  dispatch_running_ = true;
  cancelled_ = false;
  release([&](std::unique_lock<std::mutex>& lock) {
    lock.unlock();
    result = compute->run(dispatch);
    lock.lock();
  });
  registers.select_for_engine(selection);
  dispatch_running_ = false;
  if (translations_old_ || !retired_.empty()) {
    compute->invalidate_translations();
    translations_old_ = false;
    retired_.clear();
  }
  idle.notify_all();
  return result;
}

void Board::cancel_dispatch() {
  if (!dispatch_running_) return;
  cancelled_ = true;
  compute->cancel();
  release([&](std::unique_lock<std::mutex>& lock) {
    idle.wait(lock, [&] { return !dispatch_running_; });
  });
}

void Board::retire(std::shared_ptr<SystemRegion> region) {
  if (!region) return;
  if (dispatch_running_) {
    retired_.push_back(std::move(region));
  } else {
    compute->invalidate_translations();
  }
}

}  // namespace outboard::simulator::card
