// FLAT, GLOBAL and SCRATCH. Guide: section 11 (flat memory instructions).
#include "simulator/compute/vmem.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <string_view>

#include "simulator/compute/handlers.h"
#include "simulator/compute/strict.h"
#include "simulator/compute/valu/tables.h"
#include "simulator/compute/worker.h"
#include "support/error.h"

namespace outboard::simulator::compute {
namespace {

constexpr uint32_t kFull = 0xffffffff;

template <typename F>
void for_lanes(uint32_t mask, F&& body) {
  for (uint32_t left = mask; left != 0; left &= left - 1) body(std::countr_zero(left));
}

const valu::Table& vectors() {
  static const valu::Table& table = valu::chosen_table();
  return table;
}

void violation(Wave& wave, const Op& op, uint64_t address, std::string_view what) {
  wave.stop(Stop::kMemoryViolation,
            fmt::format("{} at {:#x} by {} at {:#x}", what, address,
                        disassemble(*op.instruction, wave.pc_of(op)), wave.pc_of(op)),
            address);
}

void log_line(Workgroup& workgroup, uint64_t line, bool write, bool system) {
  if (write) {
    workgroup.lines.write(line, system);
  } else {
    workgroup.lines.read(line, system);
  }
}

// Lines that the lanes touch, lane after lane, into the workgroup's log.
template <typename AddressOf>
void log_lines_by_lane(Workgroup& workgroup, AddressOf address_of, uint32_t bytes, bool write,
                       bool system) {
  uint64_t before = ~uint64_t{0};
  for (size_t lane = 0; lane < 32; ++lane) {
    const uint64_t address = address_of(lane);
    const uint64_t end = (address + bytes - 1) >> LineLog::kLineShift;
    for (uint64_t line = address >> LineLog::kLineShift; line <= end; ++line) {
      if (line != before) log_line(workgroup, line, write, system);
      before = line;
    }
  }
}

// Lines that lanes at base + offset[i] touch, into the workgroup's log; low, high: least and
// greatest offset. Lanes mostly stand close together, so the lines are gathered as bits of a window
// first.
void log_lines(Workgroup& workgroup, uint64_t base, const uint32_t* offset, uint32_t low,
               uint32_t high, uint32_t bytes, bool write, bool system) {
  if (!workgroup.worker->shared->options->cache_model) return;
  const uint64_t first = (base + low) >> LineLog::kLineShift;
  const uint64_t last = (base + high + bytes - 1) >> LineLog::kLineShift;
  if (last - first < 64) {
    const auto start = static_cast<uint32_t>((first << LineLog::kLineShift) - base);
    uint64_t window = vectors().memory->lines(offset, start, bytes, LineLog::kLineShift);
    for (; window != 0; window &= window - 1)
      log_line(workgroup, first + static_cast<uint64_t>(std::countr_zero(window)), write, system);
    return;
  }
  log_lines_by_lane(
      workgroup, [&](size_t lane) { return base + offset[lane]; }, bytes, write, system);
}

template <typename Word>
Word exchange(std::byte* host, const MemoryOp& memory, Word data, Word compare) {
  std::atomic_ref<Word> word(*reinterpret_cast<Word*>(host));
  Word old = word.load(std::memory_order_relaxed);
  for (;;) {
    const Word next =
        static_cast<Word>(apply_atomic(memory.atomic, sizeof(Word) == 8, old, data, compare));
    if (word.compare_exchange_weak(old, next, std::memory_order_acq_rel)) return old;
  }
}

void lane_atomic(Wave& wave, const MemoryOp& memory, int bank, int lane, std::byte* host, int data,
                 int result) {
  VectorRegister* v = wave.bank[bank];
  if (memory.bytes == 8) {
    const auto read = [&](int r) {
      return v[r].lane[lane] | static_cast<uint64_t>(v[r + 1].lane[lane]) << 32;
    };
    const bool compares = memory.atomic == Atomic::kCompareSwap;
    const uint64_t old =
        exchange<uint64_t>(host, memory, read(data), compares ? read(data + 2) : 0);
    if (result < 0) return;
    v[result].lane[lane] = static_cast<uint32_t>(old);
    v[result + 1].lane[lane] = static_cast<uint32_t>(old >> 32);
    return;
  }
  const bool compares =
      memory.atomic == Atomic::kCompareSwap || memory.atomic == Atomic::kCompareSwapF;
  const uint32_t old =
      exchange<uint32_t>(host, memory, v[data].lane[lane], compares ? v[data + 1].lane[lane] : 0);
  if (result >= 0) v[result].lane[lane] = old;
}

// How all lanes load at once from memory that one range covers; null: one by one.
valu::LaneMemory::Load load_of(const MemoryOp& memory) {
  const valu::LaneMemory& m = *vectors().memory;
  switch (memory.bytes) {
    case 1:
      return memory.sign ? m.load_i8 : m.load_u8;
    case 2:
      return memory.sign ? m.load_i16 : m.load_u16;
    case 4:
    case 8:
    case 12:
    case 16:
      return m.load[memory.bytes / 4 - 1];
    default:
      return nullptr;
  }
}

// One lane, whatever the size, on host memory that holds it whole.
void lane_access(Wave& wave, const MemoryOp& memory, int bank, int lane, std::byte* host, int data,
                 int result) {
  switch (memory.kind) {
    case MemoryOp::Kind::kLoad: {
      std::array<uint32_t, 4> loaded{};
      std::memcpy(loaded.data(), host, memory.bytes);
      put_loaded(wave, memory, bank, lane, result, loaded);
      return;
    }
    case MemoryOp::Kind::kStore: {
      const std::array<uint32_t, 4> stored = take_stored(wave, memory, bank, lane, data);
      std::memcpy(host, stored.data(), memory.bytes);
      return;
    }
    case MemoryOp::Kind::kAtomic:
      lane_atomic(wave, memory, bank, lane, host, data, result);
      return;
  }
}

// A lane whose bytes lie in two ranges, byte by byte. Atomics never do: they are aligned.
bool lane_across(Wave& wave, const MemoryOp& memory, int bank, int lane, uint64_t address, int data,
                 int result) {
  Worker& worker = *wave.workgroup->worker;
  std::array<uint32_t, 4> words{};
  if (memory.kind == MemoryOp::Kind::kLoad) {
    if (!worker.read(address, words.data(), memory.bytes)) return false;
    put_loaded(wave, memory, bank, lane, result, words);
    return true;
  }
  words = take_stored(wave, memory, bank, lane, data);
  return worker.write(address, words.data(), memory.bytes);
}

void count(Workgroup& workgroup, const MemoryOp& memory, bool system, uint32_t lanes) {
  if (!system) return;
  const uint64_t bytes = uint64_t{memory.bytes} * lanes;
  if (memory.kind != MemoryOp::Kind::kStore) workgroup.counters.system_read_bytes += bytes;
  if (memory.kind != MemoryOp::Kind::kLoad) workgroup.counters.system_write_bytes += bytes;
}

int vgpr_or_none(const Operand& operand) { return operand.dwords == 0 ? -1 : operand.vgpr(); }

int data_register(const Instruction& i) { return vgpr_or_none(i.source[1]); }
int result_register(const Instruction& i) {
  return i.destinations == 0 ? -1 : vgpr_or_none(i.destination[0]);
}

const MemoryOp& memory_of(const Op& op) { return *static_cast<const MemoryOp*>(op.body); }

LaneAddresses global_addresses(const Wave& wave, const Instruction& i, int bank) {
  LaneAddresses out;
  out.mask = wave.exec(bank);
  const VectorRegister* v = wave.bank[bank] + i.source[0].vgpr();
  const Operand& scalar = i.source[2];
  const uint64_t offset = static_cast<uint64_t>(static_cast<int64_t>(i.offset));
  if (scalar.dwords != 0) {
    vectors().memory->add(out.at.data(), v[0].lane.data(), wave.read_scalar64(scalar) + offset);
  } else {
    vectors().memory->join(out.at.data(), v[0].lane.data(), v[1].lane.data(), offset);
  }
  return out;
}

bool global_at_once(Wave& wave, const Instruction& i, const MemoryOp& memory, int bank) {
  const VectorRegister* v = wave.bank[bank] + i.source[0].vgpr();
  const Operand& scalar = i.source[2];
  const uint32_t mask = wave.exec(bank);
  uint64_t base = static_cast<uint64_t>(static_cast<int64_t>(i.offset));
  if (scalar.dwords != 0) {
    base += wave.read_scalar64(scalar);
  } else {
    if (!vectors().memory->same(v[1].lane.data(), mask)) return false;
    base += uint64_t{v[1].lane[static_cast<size_t>(std::countr_zero(mask))]} << 32;
  }
  return access_at_once(wave, memory, bank, base, v[0].lane.data(), mask, data_register(i),
                        result_register(i));
}

void run_global(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  for (int bank = 0; bank < wave.banks(); ++bank) {
    if (wave.exec(bank) == 0 || global_at_once(wave, i, memory_of(op), bank)) continue;
    access_global(wave, op, memory_of(op), bank, global_addresses(wave, i, bank), 0,
                  data_register(i), result_register(i));
  }
}

// Memory by thread: base + lane * 4 (GLOBAL_LOAD_ADDTID_B32).
void run_global_addtid(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  uint64_t base = static_cast<uint64_t>(static_cast<int64_t>(i.offset));
  if (i.source[2].dwords != 0) base += wave.read_scalar64(i.source[2]);
  for (int bank = 0; bank < wave.banks(); ++bank) {
    LaneAddresses a;
    a.mask = wave.exec(bank);
    for (int lane = 0; lane < 32; ++lane)
      a.at[lane] = base + static_cast<uint64_t>(bank * 32 + lane) * 4;
    access_global(wave, op, memory_of(op), bank, a, 0, data_register(i), result_register(i));
  }
}

void run_scratch(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const Operand& scalar = i.source[2];
  const uint64_t base = static_cast<uint64_t>(static_cast<int64_t>(i.offset)) +
                        (scalar.dwords != 0 ? wave.read_scalar(scalar) : 0);
  for (int bank = 0; bank < wave.banks(); ++bank) {
    LaneAddresses a;
    a.mask = wave.exec(bank);
    if (a.mask == 0) continue;
    const bool vector = i.source[0].dwords != 0;
    for (int lane = 0; lane < 32; ++lane) {
      const uint64_t own = vector ? wave.bank[bank][i.source[0].vgpr()].lane[lane] : 0;
      a.at[lane] = (base + own) & 0xffffffff;
    }
    access_scratch(wave, op, memory_of(op), bank, a, data_register(i), result_register(i));
  }
}

// FLAT: the aperture that an address lies in decides lane by lane.
void run_flat(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const Dispatch& dispatch = *wave.workgroup->dispatch;
  const MemoryOp& memory = memory_of(op);
  for (int bank = 0; bank < wave.banks(); ++bank) {
    LaneAddresses all = global_addresses(wave, i, bank);
    LaneAddresses lds = all, scratch = all;
    lds.mask = scratch.mask = 0;
    for_lanes(all.mask, [&](int lane) {
      const uint64_t upper = all.at[lane] >> 32;
      if (upper == dispatch.shared_base >> 32) lds.mask |= 1U << lane;
      if (upper == dispatch.private_base >> 32) scratch.mask |= 1U << lane;
      lds.at[lane] = scratch.at[lane] = all.at[lane] & 0xffffffff;
    });
    all.mask &= ~(lds.mask | scratch.mask);
    const int data = data_register(i), result = result_register(i);
    if (all.mask != 0) access_global(wave, op, memory, bank, all, 0, data, result);
    if (lds.mask != 0) {
      const int compare = memory.kind == MemoryOp::Kind::kAtomic ? data + memory.bytes / 4 : -1;
      access_lds(wave, op, memory, bank, lds, data, compare, result);
    }
    if (scratch.mask != 0) access_scratch(wave, op, memory, bank, scratch, data, result);
  }
}

Class class_of(const MemoryOp& memory) {
  switch (memory.kind) {
    case MemoryOp::Kind::kLoad:
      return Class::kVmemLoad;
    case MemoryOp::Kind::kStore:
      return Class::kVmemStore;
    case MemoryOp::Kind::kAtomic:
      return Class::kVmemAtomic;
  }
  return Class::kOther;
}

bool prepare_with(Op& op, std::string_view name, std::string_view prefix, Handler run) {
  if (!name.starts_with(prefix)) return false;
  const MemoryOp* memory = find_memory_op(name.substr(prefix.size()));
  if (memory == nullptr) return false;
  op.run = run;
  op.body = memory;
  op.type = class_of(*memory);
  return true;
}

}  // namespace

void put_loaded(Wave& wave, const MemoryOp& memory, int bank, int lane, int first,
                const std::array<uint32_t, 4>& data) {
  VectorRegister* v = wave.bank[bank] + first;
  uint32_t value = data[0];
  if (memory.bytes == 1 && memory.sign)
    value = static_cast<uint32_t>(int32_t{static_cast<int8_t>(value)});
  if (memory.bytes == 2 && memory.sign) value = static_cast<uint32_t>(static_cast<int16_t>(value));
  if (memory.half) {
    uint32_t& reg = v[0].lane[lane];
    reg = memory.high ? (reg & 0xffff) | value << 16 : (reg & 0xffff0000) | (value & 0xffff);
    return;
  }
  v[0].lane[lane] = value;
  for (int d = 1; d < memory.bytes / 4; ++d) v[d].lane[lane] = data[d];
}

std::array<uint32_t, 4> take_stored(const Wave& wave, const MemoryOp& memory, int bank, int lane,
                                    int first) {
  const VectorRegister* v = wave.bank[bank] + first;
  std::array<uint32_t, 4> out{};
  out[0] = memory.high ? v[0].lane[lane] >> 16 : v[0].lane[lane];
  for (int d = 1; d < memory.bytes / 4; ++d) out[d] = v[d].lane[lane];
  return out;
}

bool can_move(const MemoryOp& memory) {
  if (memory.kind == MemoryOp::Kind::kLoad) return load_of(memory) != nullptr;
  return memory.kind == MemoryOp::Kind::kStore && !memory.half && memory.bytes >= 4;
}

void move_lanes(Wave& wave, const MemoryOp& memory, int bank, std::byte* host,
                const uint32_t* offset, uint32_t mask, int data, int result) {
  VectorRegister* v = wave.bank[static_cast<size_t>(bank)];
  const size_t dwords = std::max(memory.bytes / 4, 1);
  if (memory.kind == MemoryOp::Kind::kStore) {
    vectors().memory->store[dwords - 1](host, offset, v[data].lane.data(), mask);
    return;
  }
  const valu::LaneMemory::Load load = load_of(memory);
  VectorRegister* to = v + result;
  if (mask == kFull && !memory.half) {
    load(to->lane.data(), host, offset);
    return;
  }
  std::array<VectorRegister, 4> loaded;
  load(loaded[0].lane.data(), host, offset);
  if (memory.half) vectors().merge_half(loaded[0].lane.data(), to->lane.data(), memory.high);
  for (size_t d = 0; d < dwords; ++d)
    vectors().blend(to[d].lane.data(), loaded[d].lane.data(), mask);
}

bool access_at_once(Wave& wave, const MemoryOp& memory, int bank, uint64_t base,
                    const uint32_t* offset, uint32_t mask, int data, int result) {
  Workgroup& workgroup = *wave.workgroup;
  if (workgroup.strict || !can_move(memory)) return false;
  // Lanes that do not take part stand where another one does.
  VectorRegister filled;
  if (mask != kFull) {
    vectors().memory->stand_in(filled.lane.data(), offset, mask);
    offset = filled.lane.data();
  }
  uint32_t low, high;
  vectors().memory->offset_bounds(offset, &low, &high);
  if (high > INT32_MAX) return false;
  const bool writes = memory.kind == MemoryOp::Kind::kStore;
  const Tlb::Range* range =
      workgroup.worker->tlb.find(base + low, writes ? Access::kWrite : Access::kRead);
  if (range == nullptr || !range->covers(base + low, uint64_t{high} - low + memory.bytes))
    return false;
  // Before the load, which may write where the offsets are.
  log_lines(workgroup, base, offset, low, high, memory.bytes, writes, range->system);
  move_lanes(wave, memory, bank, range->at(base + low) - low, offset, mask, data, result);
  count(workgroup, memory, range->system, static_cast<uint32_t>(std::popcount(mask)));
  return true;
}

void load_zero(Wave& wave, const MemoryOp& memory, int bank, uint32_t mask, int result) {
  if (mask == 0 || result < 0) return;
  static const VectorRegister kZero{};
  VectorRegister* to = wave.bank[static_cast<size_t>(bank)] + result;
  if (memory.half) {
    for_lanes(mask, [&](int lane) { put_loaded(wave, memory, bank, lane, result, {}); });
    return;
  }
  for (int d = 0; d < std::max(memory.bytes / 4, 1); ++d)
    vectors().blend(to[d].lane.data(), kZero.lane.data(), mask);
}

void access_global(Wave& wave, const Op& op, const MemoryOp& memory, int bank,
                   const LaneAddresses& given, uint32_t zero, int data, int result) {
  Workgroup& workgroup = *wave.workgroup;
  Worker& worker = *workgroup.worker;
  const uint32_t mask = given.mask & ~zero;
  load_zero(wave, memory, bank, given.mask & zero, result);
  if (mask == 0) return;
  const bool writes = memory.kind != MemoryOp::Kind::kLoad;
  const bool atomic = memory.kind == MemoryOp::Kind::kAtomic;
  // Lanes that do not take part stand where another one does.
  LaneAddresses filled;
  const LaneAddresses& a = mask == kFull ? given : filled;
  if (mask != kFull) {
    filled = given;
    const uint64_t some = given.at[static_cast<size_t>(std::countr_zero(mask))];
    for_lanes(~mask, [&](int lane) { filled.at[static_cast<size_t>(lane)] = some; });
  }
  uint64_t low, high;
  vectors().memory->bounds(a.at.data(), &low, &high);
  if (workgroup.strict) {
    workgroup.strict->global_access(wave, op, a.at.data(), mask, memory.bytes, writes, atomic);
  }
  const Tlb::Range* range = worker.tlb.find(low, writes ? Access::kWrite : Access::kRead);
  if (range == nullptr) return violation(wave, op, low, writes ? "write" : "read");
  const bool near = high - low <= INT32_MAX;
  VectorRegister offset;
  if (near) vectors().memory->offsets(offset.lane.data(), a.at.data(), low);
  const auto log = [&](bool system) {
    if (near) {
      log_lines(workgroup, low, offset.lane.data(), 0, static_cast<uint32_t>(high - low),
                memory.bytes, writes, system);
    } else if (workgroup.worker->shared->options->cache_model) {
      log_lines_by_lane(
          workgroup, [&](size_t lane) { return a.at[lane]; }, memory.bytes, writes, system);
    }
  };
  if (near && can_move(memory) && range->covers(low, high - low + memory.bytes)) {
    move_lanes(wave, memory, bank, range->at(low), offset.lane.data(), mask, data, result);
    log(range->system);
    count(workgroup, memory, range->system, static_cast<uint32_t>(std::popcount(mask)));
    return;
  }
  bool system = false;
  for_lanes(mask, [&](int lane) {
    if (wave.status == WaveStatus::kDone) return;
    const uint64_t address = a.at[lane];
    if (atomic && address % memory.bytes != 0)
      return violation(wave, op, address, "misaligned atomic");
    const Tlb::Range* own = worker.tlb.find(address, writes ? Access::kWrite : Access::kRead);
    if (own == nullptr) return violation(wave, op, address, writes ? "write" : "read");
    system = own->system;
    count(workgroup, memory, system, 1);
    if (own->covers(address, memory.bytes)) {
      lane_access(wave, memory, bank, lane, own->at(address), data, result);
    } else if (!lane_across(wave, memory, bank, lane, address, data, result)) {
      violation(wave, op, address + memory.bytes - 1, writes ? "write" : "read");
    }
  });
  log(system);
}

void access_scratch(Wave& wave, const Op& op, const MemoryOp& memory, int bank,
                    const LaneAddresses& offsets, int data, int result) {
  Workgroup& workgroup = *wave.workgroup;
  const Dispatch& dispatch = *workgroup.dispatch;
  const uint64_t lanes = wave.wave64 ? 64 : 32;
  const uint64_t own_bytes = dispatch.scratch_bytes_per_wave / lanes;
  const uint64_t base = dispatch.scratch_base + static_cast<uint64_t>(wave.scratch_slot()) *
                                                    dispatch.scratch_bytes_per_wave;
  // Which slot a wave gets depends on the host's threads; the caches are shown one that does not.
  const uint64_t number = uint64_t{workgroup.index} * workgroup.waves.size() + wave.index;
  const uint64_t shown = dispatch.scratch_base + number % std::max(dispatch.scratch_waves, 1U) *
                                                     dispatch.scratch_bytes_per_wave;
  const bool writes = memory.kind != MemoryOp::Kind::kLoad;
  for_lanes(offsets.mask, [&](int lane) {
    if (wave.status == WaveStatus::kDone) return;
    const uint64_t offset = offsets.at[lane];
    if (offset > own_bytes || memory.bytes > own_bytes - offset) {
      return violation(wave, op, offset,
                       fmt::format("scratch {} beyond the {} bytes of lane {}",
                                   writes ? "write" : "read", own_bytes, lane));
    }
    // Dwords of neighbouring lanes lie side by side (swizzled), so a lane's dwords are apart.
    const auto place = [&](uint64_t byte) {
      return base + byte / 4 * 4 * lanes + static_cast<uint64_t>(bank * 32 + lane) * 4 + byte % 4;
    };
    std::array<uint32_t, 4> words{};
    auto* bytes = reinterpret_cast<std::byte*>(words.data());
    bool good = true;
    if (memory.kind == MemoryOp::Kind::kAtomic) {
      const Tlb::Range* range = workgroup.worker->tlb.find(place(offset), Access::kWrite);
      if (range == nullptr || memory.bytes != 4 || offset % 4 != 0)
        return violation(wave, op, offset, "scratch atomic");
      lane_access(wave, memory, bank, lane, range->at(place(offset)), data, result);
      return;
    }
    if (writes) words = take_stored(wave, memory, bank, lane, data);
    for (uint64_t done = 0; done < memory.bytes && good;) {
      const uint64_t piece = std::min<uint64_t>(4 - (offset + done) % 4, memory.bytes - done);
      const uint64_t address = place(offset + done);
      good = writes ? workgroup.worker->write(address, bytes + done, piece)
                    : workgroup.worker->read(address, bytes + done, piece);
      const uint64_t line = (address - base + shown) >> LineLog::kLineShift;
      if (writes) {
        workgroup.lines.write(line, false);
      } else {
        workgroup.lines.read(line, false);
      }
      done += piece;
    }
    if (!good) return violation(wave, op, place(offset), "scratch");
    if (!writes) put_loaded(wave, memory, bank, lane, result, words);
  });
}

bool prepare_vector_memory(Op& op, const Instruction& instruction) {
  const std::string_view name = mnemonic(instruction.op);
  switch (instruction.format) {
    case Format::kGlobal:
      if (name == "global_load_addtid_b32")
        return prepare_with(op, "global_load_b32", "global_", run_global_addtid);
      if (name == "global_store_addtid_b32")
        return prepare_with(op, "global_store_b32", "global_", run_global_addtid);
      return prepare_with(op, name, "global_", run_global);
    case Format::kFlat:
      return prepare_with(op, name, "flat_", run_flat);
    case Format::kScratch:
      if (!prepare_with(op, name, "scratch_", run_scratch)) return false;
      op.type = Class::kScratch;
      return true;
    case Format::kMubuf:
    case Format::kMtbuf:
      return prepare_buffer(op, instruction);
    default:
      return false;
  }
}

}  // namespace outboard::simulator::compute
