#include "simulator/compute/workgroup.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#include "simulator/compute/strict.h"
#include "simulator/compute/timeline.h"
#include "support/error.h"

namespace outboard::simulator::compute {
namespace {

// What registers and LDS hold before anybody writes them: nothing that computes well.
constexpr uint32_t kGarbage = 0xdeadbeef;
constexpr int kGarbageByte = 0xdb;

uint32_t bits(uint32_t word, int low, int width) { return word >> low & ((1U << width) - 1); }

Mode mode_of(const Dispatch& d) {
  Mode mode;
  mode.round = static_cast<uint8_t>(bits(d.pgm_rsrc1, 12, 4));
  mode.denorm = static_cast<uint8_t>(bits(d.pgm_rsrc1, 16, 4));
  mode.dx10_clamp = bits(d.pgm_rsrc1, 21, 1) != 0;
  mode.ieee = bits(d.pgm_rsrc1, 23, 1) != 0;
  return mode;
}

void set_sgprs(Wave& wave, const Dispatch& d, const Workgroup& workgroup, uint32_t waves) {
  const uint32_t user = std::min<uint32_t>(bits(d.pgm_rsrc2, 1, 5), 16);
  uint16_t next = 0;
  for (uint32_t i = 0; i < user; ++i) wave.sgpr[next++] = d.user_data[i];
  for (int axis = 0; axis < 3; ++axis) {
    if (bits(d.pgm_rsrc2, 7 + axis, 1) != 0) {
      wave.sgpr[next++] = workgroup.id[static_cast<size_t>(axis)];
    }
  }
  // TG_SIZE_EN: number of waves, and whether it is the first of them.
  if (bits(d.pgm_rsrc2, 10, 1) != 0) {
    wave.sgpr[next++] = waves | static_cast<uint32_t>(wave.index == 0) << 31;
  }
}

// Work-item ids, packed into v0: x [9:0], y [19:10], z [29:20].
void set_ids(Wave& wave, const Dispatch& d, uint32_t first_thread, uint32_t threads) {
  const uint32_t components = bits(d.pgm_rsrc2, 11, 2);
  const uint32_t lanes = d.wave32 ? 32 : 64;
  const uint32_t sx = d.workgroup_size[0], sy = d.workgroup_size[1];
  uint64_t exec = 0;
  for (uint32_t lane = 0; lane < lanes; ++lane) {
    const uint32_t t = first_thread + lane;
    if (t >= threads) break;
    exec |= uint64_t{1} << lane;
    uint32_t id = t % sx;
    if (components >= 1) id |= t / sx % sy << 10;
    if (components >= 2) id |= t / sx / sy << 20;
    if (wave.vgpr_count > 0) wave.bank[lane / 32][0].lane[lane % 32] = id;
  }
  wave.set_exec(exec);
}

// Waves of a workgroup run the same code, mostly at the same place. So many of them take each
// instruction together: the host decodes and predicts it once, and its work on one wave overlaps
// with that on the next.
constexpr size_t kTogether = 8;

bool is_ready(const Wave& wave) {
  return wave.status == WaveStatus::kRunning && wave.executed < wave.slice_end;
}

// Waves at the same instruction, and where another one waits on the same page; null: nowhere.
struct Group {
  std::array<Wave*, kTogether> member{};
  size_t size = 0;
  const Op* meeting = nullptr;
};

// Of waves that are ready, those at the lowest address: waves that part at a branch meet again
// behind it.
Group gather(std::span<Wave> waves) {
  Group group;
  uint64_t lowest = UINT64_MAX;
  for (const Wave& wave : waves) {
    if (is_ready(wave)) lowest = std::min(lowest, wave.next_pc());
  }
  for (Wave& wave : waves) {
    if (is_ready(wave) && wave.next_pc() == lowest) group.member[group.size++] = &wave;
  }
  if (group.size == 0) return group;
  const Wave& first = *group.member[0];
  for (const Wave& wave : waves) {
    if (!is_ready(wave) || wave.page != first.page || wave.next == first.next) continue;
    if (group.meeting == nullptr || wave.next < group.meeting) group.meeting = wave.next;
  }
  return group;
}

bool are_all_active(std::span<Wave* const> waves) {
  return std::all_of(waves.begin(), waves.end(),
                     [](const Wave* wave) { return wave->exec64() == 0xffffffff; });
}

// The inner loop: everything that the simulator does happens in op.run.
template <bool kStrict, bool kTimed>
void run_group(const Group& group, Strict* strict, Timeline* timeline) {
  const std::span waves = std::span(group.member).first(group.size);
  std::array<uint64_t, static_cast<size_t>(Class::kCount)> counts{};
  const Op* next = waves[0]->next;
  const Op* const page = waves[0]->page;
  uint64_t unsaid = 0;  // instructions that Wave::executed lacks
  bool together = true;
  bool all_active = are_all_active(waves);
  uint64_t lanes = 0;   // that Wave::valu_lanes lacks
  uint64_t clocks = 0;  // that the timeline lacks
  while (together && next != group.meeting) {
    const Op& op = *next;
    next += op.dwords;
    ++unsaid;
    ++counts[static_cast<size_t>(op.type)];
    if (op.type >= Class::kValu && op.type <= Class::kWmma) {
      if (all_active) {
        lanes += 32;
      } else {
        for (Wave* wave : waves)
          wave->valu_lanes += static_cast<uint64_t>(std::popcount(wave->exec64()));
      }
    }
    bool timed = false;
    if constexpr (kTimed) {
      clocks += Timeline::clocks_of(op.type);
      timed = Timeline::concerns(op.type);
    }
    if constexpr (!kStrict) {
      if (!timed && op.flow == Flow::kNothing) continue;
      if (!timed && op.flow == Flow::kOn) {
        const Handler run = op.run;
        for (Wave* wave : waves) run(*wave, op);
        if (!op.keeps_exec) all_active = are_all_active(waves);
        continue;
      }
    }
    for (Wave* wave : waves) {
      wave->next = next;
      wave->executed += unsaid;
      if constexpr (kStrict) strict->before(*wave, op);
      if (timed) timeline->before(*wave);
      op.run(*wave, op);
      if (timed) timeline->after(*wave, op, clocks);
      if constexpr (kStrict) strict->after(*wave, op);
    }
    next = waves[0]->next;
    for (const Wave* wave : waves) together &= is_ready(*wave) && wave->next == next;
    unsaid = 0;
    all_active = are_all_active(waves);
    // Somebody waits behind.
    if (waves[0]->page != page || (group.meeting != nullptr && next > group.meeting)) break;
  }
  for (Wave* wave : waves) {
    if (unsaid != 0) {
      wave->next = next;
      wave->executed += unsaid;
    }
    wave->valu_lanes += lanes;
    if constexpr (kTimed) timeline->passed(*wave, clocks);
    for (size_t i = 0; i < counts.size(); ++i) wave->counts[i] += counts[i];
  }
}

// All waves, until they wait, end or have used up their slices.
template <bool kStrict, bool kTimed>
void run_waves(Workgroup& workgroup) {
  const std::span<Wave> all = workgroup.waves;
  for (size_t first = 0; first < all.size(); first += kTogether) {
    const std::span waves = all.subspan(first, std::min(kTogether, all.size() - first));
    for (Group group = gather(waves); group.size != 0; group = gather(waves))
      run_group<kStrict, kTimed>(group, workgroup.strict.get(), workgroup.timeline.get());
  }
}

void add_counts(Workgroup& workgroup) {
  Counters& c = workgroup.counters;
  for (const Wave& wave : workgroup.waves) {
    const auto of = [&](Class type) { return wave.counts[static_cast<size_t>(type)]; };
    ++c.waves;
    c.salu += of(Class::kSalu);
    c.smem += of(Class::kSmem);
    c.valu += of(Class::kValu);
    c.transcendental += of(Class::kTranscendental);
    c.dot += of(Class::kDot);
    c.wmma += of(Class::kWmma);
    c.lds += of(Class::kLds);
    c.vmem_load += of(Class::kVmemLoad);
    c.vmem_store += of(Class::kVmemStore);
    c.vmem_atomic += of(Class::kVmemAtomic);
    c.scratch += of(Class::kScratch);
    c.branch += of(Class::kBranch);
    c.barrier += of(Class::kBarrier);
    c.waitcnt += of(Class::kWaitcnt);
    c.other += of(Class::kOther);
    c.valu_lanes += wave.valu_lanes;
  }
  ++c.workgroups;
}

}  // namespace

uint32_t allocated_vgprs(const Dispatch& d) {
  // GRANULATED_WORKITEM_VGPR_COUNT: registers in units of 8 (wave32) or 4 (wave64), less one.
  return (bits(d.pgm_rsrc1, 0, 6) + 1) * (d.wave32 ? 8 : 4);
}

uint32_t allocated_lds(const Dispatch& d) {
  return bits(d.pgm_rsrc2, 15, 9) * 512;  // LDS_SIZE counts 128 dwords (rsrc2, bits 23:15)
}

void begin_workgroup(Workgroup& workgroup, const Dispatch& d, uint32_t index, uint32_t slot) {
  workgroup.dispatch = &d;
  workgroup.index = index;
  workgroup.slot = slot;
  workgroup.id = {d.start[0] + index % d.workgroups[0],
                  d.start[1] + index / d.workgroups[0] % d.workgroups[1],
                  d.start[2] + index / d.workgroups[0] / d.workgroups[1]};
  workgroup.counters = {};
  workgroup.violations.clear();
  workgroup.violation_count = 0;
  workgroup.done = false;
  workgroup.lines.clear();

  const uint32_t lanes = d.wave32 ? 32 : 64;
  const uint32_t threads = d.workgroup_size[0] * d.workgroup_size[1] * d.workgroup_size[2];
  const uint32_t waves = (threads + lanes - 1) / lanes;
  const auto vgprs = static_cast<int>(allocated_vgprs(d));
  const size_t banks = d.wave32 ? 1 : 2;
  workgroup.lds.resize(allocated_lds(d));
  // Old contents are as good as any: only a strict card, which tells who reads them, takes the time
  // to put the same there each time.
  const bool strict = workgroup.worker->shared->options->strict;
  if (strict)
    std::fill(workgroup.lds.begin(), workgroup.lds.end(), static_cast<std::byte>(kGarbageByte));
  workgroup.registers.resize(size_t{waves} * banks * Wave::kVgprs);
  workgroup.waves.assign(waves, Wave());
  workgroup.initial_sgprs = static_cast<int>(std::min<uint32_t>(bits(d.pgm_rsrc2, 1, 5), 16) +
                                             bits(d.pgm_rsrc2, 7, 1) + bits(d.pgm_rsrc2, 8, 1) +
                                             bits(d.pgm_rsrc2, 9, 1) + bits(d.pgm_rsrc2, 10, 1));
  for (uint32_t w = 0; w < waves; ++w) {
    Wave& wave = workgroup.waves[w];
    wave.workgroup = &workgroup;
    wave.index = w;
    wave.wave64 = !d.wave32;
    wave.vgpr_count = vgprs;
    wave.mode = mode_of(d);
    for (size_t b = 0; b < banks; ++b) {
      wave.bank[b] = &workgroup.registers[(w * banks + b) * Wave::kVgprs];
      if (strict) std::fill_n(wave.bank[b]->lane.data(), static_cast<size_t>(vgprs) * 32, kGarbage);
    }
    std::fill(wave.sgpr.begin(), wave.sgpr.begin() + code::kNull, kGarbage);
    wave.sgpr[code::kNull] = 0;
    set_sgprs(wave, d, workgroup, waves);
    set_ids(wave, d, w * lanes, threads);
  }
  if (strict) {
    if (!workgroup.strict) workgroup.strict = std::make_unique<Strict>(workgroup);
    workgroup.strict->begin();
  }
  if (workgroup.worker->shared->timed) workgroup.timeline = std::make_unique<Timeline>(waves);
  for (Wave& wave : workgroup.waves) wave.jump(d.program);
}

void run_workgroup(Workgroup& workgroup, uint64_t slice) {
  const Options& options = *workgroup.worker->shared->options;
  bool used_up = false;
  while (!used_up && !workgroup.worker->shared->stopping.load(std::memory_order_relaxed)) {
    size_t running = 0, at_barrier = 0;
    for (Wave& wave : workgroup.waves) wave.slice_end = wave.executed + slice;
    if (workgroup.timeline) {
      workgroup.strict ? run_waves<true, true>(workgroup) : run_waves<false, true>(workgroup);
    } else {
      workgroup.strict ? run_waves<true, false>(workgroup) : run_waves<false, false>(workgroup);
    }
    for (Wave& wave : workgroup.waves) {
      if (wave.status == WaveStatus::kRunning) {
        used_up = true;
        if (options.instruction_limit != 0 && wave.executed > options.instruction_limit) {
          wave.stop(Stop::kHang, fmt::format("still running after {} instructions, at {:#x}",
                                             wave.executed, wave.next_pc()));
        }
      }
      running += wave.status == WaveStatus::kRunning ? 1 : 0;
      at_barrier += wave.status == WaveStatus::kAtBarrier ? 1 : 0;
    }
    if (running == 0 && at_barrier == 0) {
      add_counts(workgroup);
      workgroup.done = true;
      return;
    }
    if (running == 0) {  // those that ended do not count
      if (workgroup.strict) workgroup.strict->barrier();
      for (Wave& wave : workgroup.waves) {
        if (wave.status == WaveStatus::kAtBarrier) wave.status = WaveStatus::kRunning;
      }
    }
  }
}

void end_workgroup(Workgroup& workgroup) {
  add_counts(workgroup);
  workgroup.done = true;
}

}  // namespace outboard::simulator::compute
