// Local data share. Guide: section 12 (data share) and 16.15 (LDS instructions).
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "simulator/compute/handlers.h"
#include "simulator/compute/strict.h"
#include "simulator/compute/valu/tables.h"
#include "simulator/compute/vmem.h"
#include "simulator/compute/worker.h"
#include "support/error.h"

namespace outboard::simulator::compute {
namespace {

constexpr int kBanks = 32;  // of 4 bytes

template <typename F>
void for_lanes(uint32_t mask, F&& body) {
  for (uint32_t left = mask; left != 0; left &= left - 1) body(std::countr_zero(left));
}

// Extra cycles: in each cycle the lanes move 128 bytes, and a bank serves one address. Lanes that
// read the same dword share it.
uint64_t bank_conflicts(const LaneAddresses& a, uint32_t bytes) {
  const int dwords = std::max(1, static_cast<int>(bytes) / 4);
  const int together = 32 / dwords;
  uint64_t extra = 0;
  for (int first = 0; first < 32; first += together) {
    std::array<std::array<uint32_t, 32>, kBanks> seen;  // distinct dwords by bank
    std::array<uint8_t, kBanks> count{};
    int worst = 1;
    for (int lane = first; lane < first + together && lane < 32; ++lane) {
      if ((a.mask >> lane & 1) == 0) continue;
      for (int d = 0; d < dwords; ++d) {
        const uint32_t dword = static_cast<uint32_t>(a.at[lane] / 4) + static_cast<uint32_t>(d);
        const uint32_t bank = dword % kBanks;
        const auto end = seen[bank].begin() + count[bank];
        if (std::find(seen[bank].begin(), end, dword) != end) continue;
        seen[bank][count[bank]++] = dword;
        worst = std::max<int>(worst, count[bank]);
      }
    }
    extra += static_cast<uint64_t>(worst - 1);
  }
  return extra;
}

// All lanes side by side, or all on one address: the usual cases, without conflict.
bool conflict_free(const LaneAddresses& a, uint32_t bytes) {
  if (a.mask == 0) return true;
  const int first = std::countr_zero(a.mask);
  const uint64_t start = a.at[first];
  bool side_by_side = start % 4 == 0;
  bool same = true;
  for_lanes(a.mask, [&](int lane) {
    side_by_side &= a.at[lane] == start + static_cast<uint64_t>(lane - first) * bytes;
    same &= a.at[lane] == start;
  });
  return side_by_side || same;
}

void count_bytes(Workgroup& workgroup, uint32_t mask, uint32_t bytes) {
  workgroup.counters.lds_bytes += uint64_t{bytes} * static_cast<uint64_t>(std::popcount(mask));
}

void count(Workgroup& workgroup, const LaneAddresses& a, uint32_t bytes) {
  count_bytes(workgroup, a.mask, bytes);
  // Conflicts are found out only where somebody wants to know how memory is used: it takes time.
  const Options& options = *workgroup.worker->shared->options;
  if ((options.cache_model || options.strict) && !conflict_free(a, bytes))
    workgroup.counters.lds_bank_conflicts += bank_conflicts(a, bytes);
}

// What kind of DS instruction it is.
struct LdsOp {
  MemoryOp memory;
  int stride = 0;                 // two addresses: bytes that an offset counts; 0: one address
  bool returns = false;           // atomics: the old value comes back
  bool by_lane = false;           // ..._addtid: address from the lane's number
  bool compare_in_data1 = false;  // a second data operand takes part
};

const LdsOp& lds_of(const Op& op) { return *static_cast<const LdsOp*>(op.body); }

LaneAddresses lane_addresses(const Wave& wave, const VectorRegister& own, int bank,
                             uint64_t offset) {
  LaneAddresses out;
  out.mask = wave.exec(bank);
  valu::chosen_table().memory->add(out.at.data(), own.lane.data(), offset);
  return out;
}
// By the lanes' numbers, from M0 on.
LaneAddresses numbered_addresses(const Wave& wave, int bank, uint64_t offset) {
  VectorRegister own;
  for (uint32_t lane = 0; lane < 32; ++lane)
    own.lane[lane] = (static_cast<uint32_t>(bank) * 32 + lane) * 4;
  return lane_addresses(wave, own, bank, offset + (wave.sgpr[code::kM0] & 0xffff));
}

int vgpr_or_none(const Operand& operand) { return operand.dwords == 0 ? -1 : operand.vgpr(); }

// The usual case at once: all lanes load or store inside the allocation, at base + offset[i], and
// nobody watches. False when it isn't that.
bool lds_at_once(Wave& wave, const MemoryOp& memory, int bank, uint64_t base,
                 const uint32_t* offset, int data, int result) {
  Workgroup& workgroup = *wave.workgroup;
  if (workgroup.strict || !can_move(memory)) return false;
  const valu::LaneMemory& lanes = *valu::chosen_table().memory;
  const uint32_t mask = wave.exec(bank);
  VectorRegister filled;
  if (mask != ~0U) {
    lanes.stand_in(filled.lane.data(), offset, mask);
    offset = filled.lane.data();
  }
  uint32_t low, high;
  lanes.offset_bounds(offset, &low, &high);
  if (base + high + memory.bytes > workgroup.lds.size()) return false;
  if (workgroup.worker->shared->options->cache_model) {
    LaneAddresses a;
    a.mask = mask;
    lanes.add(a.at.data(), offset, base);
    count(workgroup, a, memory.bytes);
  } else {
    count_bytes(workgroup, mask, memory.bytes);
  }
  move_lanes(wave, memory, bank, workgroup.lds.data() + base, offset, mask, data, result);
  return true;
}

void run_one_address(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const LdsOp& lds = lds_of(op);
  const int result = i.destinations != 0 ? i.destination[0].vgpr() : -1;
  for (int bank = 0; bank < wave.banks(); ++bank) {
    if (wave.exec(bank) == 0) continue;
    const auto offset = static_cast<uint32_t>(i.offset);
    const int data = vgpr_or_none(i.source[1]), compare = vgpr_or_none(i.source[2]);
    if (lds.by_lane) {
      access_lds(wave, op, lds.memory, bank, numbered_addresses(wave, bank, offset), data, compare,
                 result);
      continue;
    }
    const VectorRegister& own = wave.bank[bank][i.source[0].vgpr()];
    if (lds_at_once(wave, lds.memory, bank, offset, own.lane.data(), data, result)) continue;
    access_lds(wave, op, lds.memory, bank, lane_addresses(wave, own, bank, offset), data, compare,
               result);
  }
}

// Two accesses with offsets of their own. Both addresses are formed before anything is written.
void run_two_addresses(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const LdsOp& lds = lds_of(op);
  const int dwords = lds.memory.bytes / 4;
  const int result = i.destinations != 0 ? i.destination[0].vgpr() : -1;
  for (int bank = 0; bank < wave.banks(); ++bank) {
    if (wave.exec(bank) == 0) continue;
    const VectorRegister offsets = wave.bank[bank][i.source[0].vgpr()];
    const auto access = [&](int number, const Operand& stored, int to) {
      const uint64_t base = static_cast<uint64_t>(number) * static_cast<uint64_t>(lds.stride);
      const int data = vgpr_or_none(stored);
      if (lds_at_once(wave, lds.memory, bank, base, offsets.lane.data(), data, to)) return;
      access_lds(wave, op, lds.memory, bank, lane_addresses(wave, offsets, bank, base), data, -1,
                 to);
    };
    access(i.offset0, i.source[1], result);
    access(i.offset1, i.source[2], result < 0 ? -1 : result + dwords);
  }
}

// --- Lanes exchange data through the LDS hardware, without its memory ---

void run_permute(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  for (int bank = 0; bank < wave.banks(); ++bank) {
    VectorRegister* v = wave.bank[bank];
    const uint32_t exec = wave.exec(bank);
    std::array<uint32_t, 32> out{};
    for_lanes(exec, [&](int lane) {
      const uint32_t to =
          (v[i.source[0].vgpr()].lane[lane] + static_cast<uint32_t>(i.offset)) / 4 % 32;
      out[to] = v[i.source[1].vgpr()].lane[lane];  // the highest lane wins
    });
    for_lanes(exec, [&](int lane) { v[i.destination[0].vgpr()].lane[lane] = out[lane]; });
  }
}

void run_backward_permute(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  for (int bank = 0; bank < wave.banks(); ++bank) {
    VectorRegister* v = wave.bank[bank];
    valu::chosen_table().memory->permute(
        v[i.destination[0].vgpr()].lane.data(), v[i.source[1].vgpr()].lane.data(),
        v[i.source[0].vgpr()].lane.data(), static_cast<uint32_t>(i.offset), wave.exec(bank));
  }
}

// Where lane `i` reads, by the pattern in the offset field (guide, DS_SWIZZLE_B32).
uint32_t swizzled(uint32_t i, uint32_t pattern) {
  if (pattern >= 0xe000) {  // bit reversal, for FFTs
    const uint32_t mask = pattern & 0x1f;
    uint32_t reversed = 0;
    for (int bit = 0; bit < 5; ++bit) reversed |= (i >> bit & 1) << (4 - bit);
    return (reversed >> std::popcount(mask)) | (i & mask);
  }
  if (pattern >= 0xc000) {  // rotation
    const uint32_t mask = pattern & 0x1f;
    const uint32_t by = pattern >> 5 & 0x1f;
    const uint32_t turned = (pattern >> 10 & 1) != 0 ? i - by : i + by;
    return (i & mask) | (turned & ~mask & 0x1f);
  }
  if (pattern >= 0x8000) return (i & ~3U) | (pattern >> (2 * (i & 3)) & 3);  // within quads
  return ((i & (pattern & 0x1f)) | (pattern >> 5 & 0x1f)) ^ (pattern >> 10 & 0x1f);
}

void run_swizzle(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const uint32_t pattern = static_cast<uint32_t>(i.offset) & 0xffff;
  for (int bank = 0; bank < wave.banks(); ++bank) {
    VectorRegister* v = wave.bank[bank];
    const uint32_t exec = wave.exec(bank);
    const VectorRegister in = v[i.source[0].vgpr()];
    for_lanes(exec, [&](int lane) {
      const uint32_t from = swizzled(static_cast<uint32_t>(lane), pattern) & 31;
      v[i.destination[0].vgpr()].lane[lane] = (exec >> from & 1) != 0 ? in.lane[from] : 0;
    });
  }
}

// The whole wave adds (or takes away) its number of active lanes, and all get the old value.
template <bool kAppend>
void run_append(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  Workgroup& workgroup = *wave.workgroup;
  const uint64_t address = (wave.sgpr[code::kM0] >> 16) + static_cast<uint32_t>(i.offset);
  const auto lanes = static_cast<uint32_t>(std::popcount(wave.exec64()));
  if (lanes == 0) return;
  if (workgroup.strict) workgroup.strict->lds_access(wave, op, 0, -1, address, 4, true, true);
  uint32_t old = 0;
  if (address + 4 <= workgroup.lds.size()) {
    std::memcpy(&old, &workgroup.lds[address], 4);
    const uint32_t now = kAppend ? old + lanes : old - lanes;
    std::memcpy(&workgroup.lds[address], &now, 4);
  } else if (workgroup.strict) {
    workgroup.strict->lds_out_of_range(wave, op, -1, address);
  }
  for (int bank = 0; bank < wave.banks(); ++bank) {
    for_lanes(wave.exec(bank),
              [&](int lane) { wave.bank[bank][i.destination[0].vgpr()].lane[lane] = old; });
  }
}

// Two dwords side by side: where the data's top bit is set, the rest of it takes the dword's place
// (guide, DS_CONDXCHG32_RTN_B64). The old ones come back.
void run_conditional_exchange(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  Workgroup& workgroup = *wave.workgroup;
  for (int bank = 0; bank < wave.banks(); ++bank) {
    VectorRegister* v = wave.bank[bank];
    for_lanes(wave.exec(bank), [&](int lane) {
      const uint32_t first =
          (v[i.source[0].vgpr()].lane[lane] + static_cast<uint32_t>(i.offset)) & 0xfff8;
      std::array<uint32_t, 2> old{};
      if (workgroup.strict && first + sizeof(old) > workgroup.lds.size()) {
        workgroup.strict->lds_out_of_range(wave, op, lane, first);
      }
      for (size_t d = 0; d < old.size(); ++d) {
        const uint64_t address = first + 4 * d;
        if (address + 4 > workgroup.lds.size()) continue;
        const uint32_t data = v[i.source[1].vgpr() + static_cast<int>(d)].lane[lane];
        if (workgroup.strict) {
          workgroup.strict->lds_access(wave, op, bank, lane, address, 4, true, true);
        }
        std::memcpy(&old[d], &workgroup.lds[address], 4);
        const uint32_t now = data & 0x7fffffff;
        if (data >> 31 != 0) std::memcpy(&workgroup.lds[address], &now, 4);
      }
      v[i.destination[0].vgpr()].lane[lane] = old[0];
      v[i.destination[0].vgpr() + 1].lane[lane] = old[1];
    });
  }
}

// --- Names ---

std::optional<Atomic> atomic_of(std::string_view name) {
  static const std::unordered_map<std::string_view, Atomic> names = {
      {"add_u32", Atomic::kAdd},
      {"add_u64", Atomic::kAdd},
      {"add_f32", Atomic::kAddF},
      {"sub_u32", Atomic::kSub},
      {"sub_u64", Atomic::kSub},
      {"rsub_u32", Atomic::kReverseSub},
      {"rsub_u64", Atomic::kReverseSub},
      {"inc_u32", Atomic::kInc},
      {"inc_u64", Atomic::kInc},
      {"dec_u32", Atomic::kDec},
      {"dec_u64", Atomic::kDec},
      {"min_i32", Atomic::kMinI},
      {"min_i64", Atomic::kMinI},
      {"max_i32", Atomic::kMaxI},
      {"max_i64", Atomic::kMaxI},
      {"min_u32", Atomic::kMinU},
      {"min_u64", Atomic::kMinU},
      {"max_u32", Atomic::kMaxU},
      {"max_u64", Atomic::kMaxU},
      {"and_b32", Atomic::kAnd},
      {"and_b64", Atomic::kAnd},
      {"or_b32", Atomic::kOr},
      {"or_b64", Atomic::kOr},
      {"xor_b32", Atomic::kXor},
      {"xor_b64", Atomic::kXor},
      {"mskor_b32", Atomic::kMaskOr},
      {"mskor_b64", Atomic::kMaskOr},
      {"storexchg_b32", Atomic::kSwap},
      {"storexchg_b64", Atomic::kSwap},
      {"cmpstore_b32", Atomic::kCompareSwap},
      {"cmpstore_b64", Atomic::kCompareSwap},
      {"cmpstore_f32", Atomic::kCompareSwapF},
      {"cmpstore_f64", Atomic::kCompareSwapF},
      {"min_f32", Atomic::kMinF},
      {"min_f64", Atomic::kMinF},
      {"max_f32", Atomic::kMaxF},
      {"max_f64", Atomic::kMaxF},
      {"wrap_b32", Atomic::kWrap}};
  const auto found = names.find(name);
  if (found == names.end()) return std::nullopt;
  return found->second;
}

void erase(std::string& text, std::string_view part) {
  const size_t at = text.find(part);
  if (at != std::string::npos) text.erase(at, part.size());
}

// "ds_load_2addr_stride64_b32", "ds_add_rtn_u32", "ds_load_u8_d16_hi", ... into their parts.
std::optional<LdsOp> parse(std::string_view name) {
  constexpr std::string_view kPrefix = "ds_";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::string rest(name.substr(kPrefix.size()));
  LdsOp out;
  const bool far = rest.find("_stride64") != std::string::npos;
  const bool two = rest.find("_2addr") != std::string::npos;
  out.returns = rest.find("_rtn") != std::string::npos;
  out.by_lane = rest.find("_addtid") != std::string::npos;
  for (const std::string_view part : {"_stride64", "_2addr", "_rtn", "_addtid"}) erase(rest, part);
  // The d16 forms bear other names than in global memory.
  static const std::unordered_map<std::string_view, std::string_view> halves = {
      {"load_u8_d16", "load_d16_u8"},         {"load_u8_d16_hi", "load_d16_hi_u8"},
      {"load_i8_d16", "load_d16_i8"},         {"load_i8_d16_hi", "load_d16_hi_i8"},
      {"load_u16_d16", "load_d16_b16"},       {"load_u16_d16_hi", "load_d16_hi_b16"},
      {"store_b8_d16_hi", "store_d16_hi_b8"}, {"store_b16_d16_hi", "store_d16_hi_b16"}};
  const auto half = halves.find(rest);
  if (const MemoryOp* memory =
          find_memory_op(half == halves.end() ? std::string_view(rest) : half->second)) {
    out.memory = *memory;
  } else if (const auto atomic = atomic_of(rest)) {
    const uint8_t bytes = rest.ends_with("64") ? 8 : 4;
    out.memory = {"", MemoryOp::Kind::kAtomic, bytes, false, false, false, *atomic};
  } else {
    return std::nullopt;
  }
  if (two) out.stride = out.memory.bytes * (far ? 64 : 1);
  return out;
}

const LdsOp* find_lds_op(Opcode opcode) {
  static const auto table = [] {
    std::unordered_map<Opcode, LdsOp> out;
    for (int n = 1; n < kOpcodeCount; ++n) {
      const auto each = static_cast<Opcode>(n);
      if (const auto parsed = parse(mnemonic(each))) out[each] = *parsed;
    }
    return out;
  }();
  const auto found = table.find(opcode);
  return found == table.end() ? nullptr : &found->second;
}

template <typename T>
void lane_atomic(VectorRegister* v, const MemoryOp& memory, int lane, std::byte* at, int data,
                 int compare, int result) {
  const auto read = [&](int r) {
    uint64_t value = v[r].lane[lane];
    if (sizeof(T) == 8) value |= static_cast<uint64_t>(v[r + 1].lane[lane]) << 32;
    return value;
  };
  T old = 0;
  std::memcpy(&old, at, sizeof(T));
  const T now = static_cast<T>(apply_atomic(memory.atomic, sizeof(T) == 8, old, read(data),
                                            compare < 0 ? 0 : read(compare)));
  std::memcpy(at, &now, sizeof(T));
  if (result < 0) return;
  v[result].lane[lane] = static_cast<uint32_t>(old);
  if (sizeof(T) == 8)
    v[result + 1].lane[lane] = static_cast<uint32_t>(static_cast<uint64_t>(old) >> 32);
}

}  // namespace

void access_lds(Wave& wave, const Op& op, const MemoryOp& memory, int bank, const LaneAddresses& a,
                int data, int compare, int result) {
  Workgroup& workgroup = *wave.workgroup;
  const uint64_t size = workgroup.lds.size();
  const bool writes = memory.kind != MemoryOp::Kind::kLoad;
  const bool atomic = memory.kind == MemoryOp::Kind::kAtomic;
  count(workgroup, a, memory.bytes);
  for_lanes(a.mask, [&](int lane) {
    const uint64_t address = a.at[lane];
    const bool inside = address <= size && memory.bytes <= size - address;
    if (workgroup.strict) {
      if (inside) {
        workgroup.strict->lds_access(wave, op, bank, lane, address, memory.bytes, writes, atomic);
      } else {
        workgroup.strict->lds_out_of_range(wave, op, lane, address);
      }
    }
    // Outside its allocation a workgroup reads zero and writes nothing (guide, 12.1).
    std::array<std::byte, 16> nowhere{};
    std::byte* at = inside ? &workgroup.lds[address] : nowhere.data();
    switch (memory.kind) {
      case MemoryOp::Kind::kLoad: {
        std::array<uint32_t, 4> words{};
        std::memcpy(words.data(), at, memory.bytes);
        put_loaded(wave, memory, bank, lane, result, words);
        break;
      }
      case MemoryOp::Kind::kStore: {
        const std::array<uint32_t, 4> words = take_stored(wave, memory, bank, lane, data);
        std::memcpy(at, words.data(), memory.bytes);
        break;
      }
      case MemoryOp::Kind::kAtomic:
        if (memory.bytes == 8) {
          lane_atomic<uint64_t>(wave.bank[bank], memory, lane, at, data, compare, result);
        } else {
          lane_atomic<uint32_t>(wave.bank[bank], memory, lane, at, data, compare, result);
        }
        break;
    }
  });
}

bool prepare_lds(Op& op, const Instruction& instruction) {
  if (instruction.format != Format::kDs || instruction.gds) return false;
  op.type = Class::kLds;
  const std::string_view name = mnemonic(instruction.op);
  if (name == "ds_nop") {
    op.run = [](Wave&, const Op&) {};
  } else if (name == "ds_permute_b32") {
    op.run = run_permute;
  } else if (name == "ds_bpermute_b32") {
    op.run = run_backward_permute;
  } else if (name == "ds_swizzle_b32") {
    op.run = run_swizzle;
  } else if (name == "ds_append") {
    op.run = run_append<true>;
  } else if (name == "ds_consume") {
    op.run = run_append<false>;
  } else if (name == "ds_condxchg32_rtn_b64") {
    op.run = run_conditional_exchange;
  } else if (const LdsOp* lds = find_lds_op(instruction.op)) {
    op.body = lds;
    op.run = lds->stride != 0 ? run_two_addresses : run_one_address;
  } else {
    return false;
  }
  return true;
}

}  // namespace outboard::simulator::compute
