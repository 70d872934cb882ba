#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include "simulator/compute/cache_model.h"
#include "simulator/compute/code.h"
#include "simulator/compute/dispatch.h"
#include "simulator/compute/memory_order.h"
#include "simulator/compute/strict.h"
#include "simulator/compute/timeline.h"
#include "simulator/compute/workgroup.h"
#include "support/error.h"
#include "support/thread_team.h"

namespace outboard::simulator::compute {
namespace {

constexpr uint64_t Counters::* kCounterFields[] = {&Counters::dispatches,
                                                   &Counters::workgroups,
                                                   &Counters::waves,
                                                   &Counters::salu,
                                                   &Counters::smem,
                                                   &Counters::valu,
                                                   &Counters::transcendental,
                                                   &Counters::dot,
                                                   &Counters::wmma,
                                                   &Counters::lds,
                                                   &Counters::vmem_load,
                                                   &Counters::vmem_store,
                                                   &Counters::vmem_atomic,
                                                   &Counters::scratch,
                                                   &Counters::branch,
                                                   &Counters::barrier,
                                                   &Counters::waitcnt,
                                                   &Counters::other,
                                                   &Counters::valu_lanes,
                                                   &Counters::lds_bytes,
                                                   &Counters::lds_bank_conflicts,
                                                   &Counters::gl2_reads,
                                                   &Counters::gl2_writes,
                                                   &Counters::gl2_read_misses,
                                                   &Counters::vram_read_bytes,
                                                   &Counters::vram_write_bytes,
                                                   &Counters::gl2_miss_bytes,
                                                   &Counters::system_read_bytes,
                                                   &Counters::system_write_bytes};
static_assert(sizeof(kCounterFields) / sizeof(kCounterFields[0]) * sizeof(uint64_t) ==
              sizeof(Counters));

// Instructions that a wave executes before the others of its workgroup, and other workgroups, get
// their turn. Only waves that wait for each other through memory notice.
constexpr uint64_t kSlice = 1 << 18;
// Workgroups that one host thread keeps in flight when they wait for each other.
constexpr size_t kMaxActive = 64;

}  // namespace

uint32_t initial_sgprs(uint32_t rsrc2) {
  return std::min(rsrc2 >> 1 & 0x1fU, 16U) +
         static_cast<uint32_t>(std::popcount(rsrc2 >> 7 & 0xfU));
}

Counters& Counters::operator+=(const Counters& more) {
  for (const auto field : kCounterFields) this->*field += more.*field;
  return *this;
}

Counters& Counters::operator-=(const Counters& earlier) {
  for (const auto field : kCounterFields) this->*field -= earlier.*field;
  return *this;
}

std::string Violation::text() const {
  std::string out = fmt::format("{}: {}", rule, kernel);
  if (pc != 0) out += fmt::format(" at {:#x}", pc);
  if (!instruction.empty()) out += fmt::format(" `{}`", instruction);
  out += fmt::format(", dispatch {}, workgroup {}, wave {}", dispatch, workgroup, wave);
  if (lane >= 0) out += fmt::format(", lane {}", lane);
  if (address != 0) out += fmt::format(", address {:#x}", address);
  return out + ": " + detail;
}

struct ComputeUnits::State {
  State(Memory& m, Options o) : options(o), memory(m), code(m), team(static_cast<int>(o.threads)) {
    shared.memory = &memory;
    shared.code = &code;
    shared.options = &options;
    if (options.strict) order = std::make_unique<MemoryOrder>();
    if (options.cache_model)
      caches =
          std::make_unique<CacheModel>(options.second_level_bytes, options.infinity_cache_bytes);
    shared.order = order.get();
    for (int t = 0; t < team.size(); ++t) workers.push_back(std::make_unique<Worker>(shared));
  }

  Options options;
  Memory& memory;
  CodeCache code;
  ThreadTeam team;
  std::unique_ptr<MemoryOrder> order;
  std::unique_ptr<CacheModel> caches;
  Shared shared;
  std::vector<std::unique_ptr<Worker>> workers;
  Counters counters;
  std::vector<Violation> violations;
  uint64_t violation_count = 0;

  // Of the running dispatch.
  const Dispatch* dispatch = nullptr;
  uint64_t total = 0;
  std::atomic<uint64_t> next{0};
  std::mutex slots_mutex;
  std::vector<bool> slots;  // scratch memory in use
  // Finished workgroups leave in order, so that caches see the same sequence whoever ran them.
  struct Finished {
    std::vector<uint64_t> lines;
    std::vector<Violation> violations;
    std::unique_ptr<Timeline> timeline;
  };
  std::mutex finished_mutex;
  std::map<uint64_t, Finished> finished;
  uint64_t next_to_leave = 0;
  bool leaving = false;
  std::function<void(const LaunchProfile&)> on_launch;
  std::vector<GroupProfile> profiles;  // of workgroups that have left

  // Workgroups of a dispatch make the same mistake at the same place; one report will do.
  std::set<std::pair<std::string, uint64_t>> kept;

  void check_launch();
  void work(Worker& worker);
  void keep(const Violation& violation);
  uint32_t take_slot();
  void give_slot(uint32_t slot);
  void finish(Workgroup& workgroup);
  void tell_launch(const Counters& before, uint64_t threads);
};

uint32_t ComputeUnits::State::take_slot() {
  const std::lock_guard lock(slots_mutex);
  const auto free = std::find(slots.begin(), slots.end(), false);
  const auto slot = static_cast<uint32_t>(free - slots.begin());
  if (free == slots.end()) {
    slots.push_back(true);
  } else {
    *free = true;
  }
  return slot;
}

void ComputeUnits::State::give_slot(uint32_t slot) {
  const std::lock_guard lock(slots_mutex);
  slots[slot] = false;
}

void ComputeUnits::State::keep(const Violation& violation) {
  if (violations.size() < options.violation_limit &&
      kept.insert({violation.rule, violation.pc}).second) {
    violations.push_back(violation);
  }
}

void ComputeUnits::State::finish(Workgroup& workgroup) {
  Finished mine{std::move(workgroup.lines.entries()), std::move(workgroup.violations),
                std::move(workgroup.timeline)};
  workgroup.lines.entries().clear();
  workgroup.violations.clear();
  std::unique_lock lock(finished_mutex);
  counters += workgroup.counters;
  violation_count += workgroup.violation_count;
  finished.emplace(workgroup.index, std::move(mine));
  if (leaving) return;
  leaving = true;
  for (;;) {
    auto first = finished.find(next_to_leave);
    if (first == finished.end()) break;
    const Finished leaves = std::move(first->second);
    finished.erase(first);
    ++next_to_leave;
    lock.unlock();
    Counters seen;
    std::vector<Level> levels;
    if (leaves.timeline) levels.reserve(leaves.lines.size());
    if (caches) {
      for (const uint64_t entry : leaves.lines) {
        const Level level = caches->access(entry, seen);
        if (leaves.timeline) levels.push_back(level);
      }
    }
    if (leaves.timeline) profiles.push_back(leaves.timeline->profile(levels));
    lock.lock();
    counters += seen;
    for (const Violation& violation : leaves.violations) keep(violation);
  }
  leaving = false;
}

void ComputeUnits::State::check_launch() {
  const uint32_t sgprs = initial_sgprs(dispatch->pgm_rsrc2);
  if (!options.strict || !dispatch->wave32 || sgprs >= kLeastSgprs) return;
  ++violation_count;
  Violation v;
  v.rule = "few-initial-sgprs";
  v.kernel = dispatch->name;
  v.dispatch = dispatch->id;
  v.detail = fmt::format(
      "{} user and system SGPRs are loaded (COMPUTE_PGM_RSRC2 {:#x}); a launch of wave32 must load "
      "{} or more",
      sgprs, dispatch->pgm_rsrc2, kLeastSgprs);
  keep(v);
}

void ComputeUnits::State::tell_launch(const Counters& before, uint64_t threads) {
  LaunchProfile profile;
  profile.program = dispatch->program;
  profile.workgroups = total;
  const uint64_t lanes = dispatch->wave32 ? 32 : 64;
  profile.waves = static_cast<uint32_t>((threads + lanes - 1) / lanes);
  profile.vgprs = allocated_vgprs(*dispatch);
  profile.lds_bytes = allocated_lds(*dispatch);
  profile.wave32 = dispatch->wave32;
  profile.waited = dispatch->waited;
  profile.counters = counters;
  profile.counters -= before;
  profile.groups = std::move(profiles);
  on_launch(profile);
}

void ComputeUnits::State::work(Worker& worker) {
  std::vector<std::unique_ptr<Workgroup>> active, idle;
  bool waiting = false;  // all that are active used up their slices: they may wait for others
  const auto start = [&] {
    const uint64_t index = next.fetch_add(1);
    if (index >= total) return false;
    std::unique_ptr<Workgroup> workgroup;
    if (idle.empty()) {
      workgroup = std::make_unique<Workgroup>();
    } else {
      workgroup = std::move(idle.back());
      idle.pop_back();
    }
    workgroup->worker = &worker;
    begin_workgroup(*workgroup, *dispatch, static_cast<uint32_t>(index), take_slot());
    active.push_back(std::move(workgroup));
    return true;
  };
  while (!shared.stopping) {
    if (active.empty() || (waiting && active.size() < kMaxActive)) {
      if (!start() && active.empty()) break;
    }
    waiting = true;
    for (auto& workgroup : active) {
      run_workgroup(*workgroup, kSlice);
      if (!workgroup->done) continue;
      waiting = false;
      give_slot(workgroup->slot);
      finish(*workgroup);
      idle.push_back(std::move(workgroup));
    }
    std::erase(active, nullptr);
  }
  // Stopped early: what was counted so far still counts.
  for (auto& workgroup : active) {
    if (workgroup) {
      end_workgroup(*workgroup);
      finish(*workgroup);
    }
  }
}

ComputeUnits::ComputeUnits(Memory& memory, Options options)
    : state_(std::make_unique<State>(memory, options)) {}
ComputeUnits::~ComputeUnits() = default;

Result ComputeUnits::run(const Dispatch& given) {
  State& s = *state_;
  Dispatch dispatch = given;
  if (dispatch.name.empty()) dispatch.name = fmt::format("program at {:#x}", dispatch.program);
  s.dispatch = &dispatch;
  s.kept.clear();
  s.total = uint64_t{dispatch.workgroups[0]} * dispatch.workgroups[1] * dispatch.workgroups[2];
  const uint64_t threads = uint64_t{dispatch.workgroup_size[0]} * dispatch.workgroup_size[1] *
                           dispatch.workgroup_size[2];
  const Counters before = s.counters;
  ++s.counters.dispatches;
  if (s.total == 0 || threads == 0) return {};
  s.check_launch();
  constexpr uint64_t kMaxThreads = 1024;
  if (threads > kMaxThreads || s.total > UINT32_MAX) {
    return {
        Stop::kIllegalInstruction,
        fmt::format("{}: a workgroup of {} threads and {} workgroups; at most {} threads can run",
                    dispatch.name, threads, s.total, kMaxThreads),
        0};
  }
  s.next = 0;
  s.next_to_leave = 0;
  s.finished.clear();
  s.profiles.clear();
  s.slots.clear();
  s.shared.stopping = false;
  s.code.begin_dispatch();
  if (s.order) s.order->begin_dispatch(dispatch);
  for (auto& worker : s.workers) {
    worker->result = {};
    worker->forget_code();
  }
  s.team.run([&](int thread) { s.work(*s.workers[static_cast<size_t>(thread)]); });
  // Of the waves that stopped, the one of the lowest workgroup is reported.
  const Worker* first = nullptr;
  for (const auto& worker : s.workers) {
    if (worker->result.stop == Stop::kDone) continue;
    if (first == nullptr || worker->result_workgroup < first->result_workgroup)
      first = worker.get();
  }
  if (first != nullptr) return first->result;
  if (s.shared.stopping) return {Stop::kHang, dispatch.name + ": cancelled", 0};
  if (s.on_launch && s.caches) s.tell_launch(before, threads);
  return {};
}

void ComputeUnits::invalidate_instructions() { state_->code.invalidate(); }

void ComputeUnits::invalidate_translations() {
  for (auto& worker : state_->workers) worker->tlb.flush();
}

void ComputeUnits::observe(std::function<void(const LaunchProfile&)> on_launch) {
  state_->on_launch = std::move(on_launch);
  state_->shared.timed = state_->on_launch && state_->caches;
}

void ComputeUnits::cancel() { state_->shared.stopping = true; }

const std::vector<Violation>& ComputeUnits::violations() const { return state_->violations; }
uint64_t ComputeUnits::violation_count() const { return state_->violation_count; }
MemoryOrder* ComputeUnits::order() { return state_->order.get(); }
CacheModel* ComputeUnits::caches() { return state_->caches.get(); }
Counters& ComputeUnits::counters() { return state_->counters; }

}  // namespace outboard::simulator::compute
