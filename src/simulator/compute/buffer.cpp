// MUBUF and MTBUF: memory through a buffer resource. Guide: section 9 (vector memory buffer
// instructions); format numbers: 9.5, as LLVM's assembler names them for gfx11.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>

#include "formats/quantize.h"
#include "simulator/compute/strict.h"
#include "simulator/compute/valu/tables.h"
#include "simulator/compute/vmem.h"
#include "simulator/compute/worker.h"
#include "support/error.h"

namespace outboard::simulator::compute {
namespace {

// The 128-bit buffer resource (guide, table 48).
struct Resource {
  uint64_t base;
  uint32_t stride, swizzle, records, format, index_stride;
  bool add_tid;
  uint32_t out_of_bounds;  // which rule: 0 index and offset, 1 index, 2 none but empty, 3 bytes
};

Resource read_resource(const Wave& wave, const Operand& operand) {
  const uint32_t* w = &wave.sgpr[operand.code];
  Resource r{};
  r.base = w[0] | static_cast<uint64_t>(w[1] & 0xffff) << 32;
  r.stride = w[1] >> 16 & 0x3fff;
  r.swizzle = w[1] >> 30;
  r.records = w[2];
  r.format = w[3] >> 12 & 0x3f;
  r.index_stride = 8U << (w[3] >> 21 & 3);
  r.add_tid = (w[3] >> 23 & 1) != 0;
  r.out_of_bounds = w[3] >> 28 & 3;
  return r;
}

bool refused(const Resource& r, uint64_t index, uint64_t offset, uint32_t bytes) {
  switch (r.out_of_bounds) {
    case 0:
      return index >= r.records || (r.stride != 0 && offset + bytes > r.stride);
    case 1:
      return index >= r.records;
    case 2:
      return r.records == 0;
    default:
      if (r.swizzle != 0 && r.stride != 0) return index >= r.records || offset + bytes > r.stride;
      return offset + bytes > r.records;
  }
}

struct Place {
  LaneAddresses addresses;
  uint32_t zero = 0;  // lanes that the resource refuses
};

Place find_place(const Wave& wave, const Instruction& i, int bank, uint32_t bytes) {
  const Resource r = read_resource(wave, i.source[2]);
  const uint64_t scalar = i.source[3].dwords != 0 ? wave.read_scalar(i.source[3]) : 0;
  const VectorRegister* v =
      i.source[0].dwords != 0 ? wave.bank[bank] + i.source[0].vgpr() : nullptr;
  Place place;
  place.addresses.mask = wave.exec(bank);
  for (int lane = 0; lane < 32; ++lane) {
    uint64_t index = i.idxen && v != nullptr ? v[0].lane[lane] : 0;
    uint64_t offset = static_cast<uint32_t>(i.offset);
    if (i.offen && v != nullptr) offset += v[i.idxen ? 1 : 0].lane[lane];
    if (r.add_tid) index += static_cast<uint64_t>(bank * 32 + lane);
    if (refused(r, index, offset, bytes)) place.zero |= 1U << lane;
    uint64_t within = index * r.stride + offset;
    if (r.swizzle != 0) {
      const uint64_t element = uint64_t{2} << r.swizzle;  // 4, 8 or 16 bytes
      within = index / r.index_stride * r.stride * r.index_stride +
               offset / element * element * r.index_stride + index % r.index_stride * element +
               offset % element;
    }
    place.addresses.at[lane] = r.base + scalar + within;
  }
  place.zero &= place.addresses.mask;
  return place;
}

const MemoryOp& memory_of(const Op& op) { return *static_cast<const MemoryOp*>(op.body); }

// Byte offsets in a raw buffer, which go by its size alone. False when it isn't one.
bool raw_at_once(Wave& wave, const Instruction& i, const MemoryOp& memory, int bank, int data,
                 int result) {
  const Resource r = read_resource(wave, i.source[2]);
  const bool raw = r.out_of_bounds == 3 && r.swizzle == 0 && !r.add_tid && i.offen && !i.idxen;
  if (!raw || wave.workgroup->strict) return false;
  const valu::LaneMemory& lanes = *valu::chosen_table().memory;
  const uint32_t* offset = wave.bank[static_cast<size_t>(bank)][i.source[0].vgpr()].lane.data();
  const uint32_t exec = wave.exec(bank);
  const uint64_t first = static_cast<uint32_t>(i.offset);
  const uint64_t end = first + memory.bytes;  // of the access at offset 0
  const uint32_t refused =
      end > r.records ? ~0U : lanes.above(offset, static_cast<uint32_t>(r.records - end));
  const uint32_t mask = exec & ~refused;
  if (mask != 0) {
    const uint64_t scalar = i.source[3].dwords != 0 ? wave.read_scalar(i.source[3]) : 0;
    // What the lanes load may lie where their offsets are: zeros come last.
    if (!access_at_once(wave, memory, bank, r.base + scalar + first, offset, mask, data, result))
      return false;
  }
  load_zero(wave, memory, bank, exec & refused, result);
  return true;
}

void run_buffer(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const int data = i.source[1].dwords != 0 ? i.source[1].vgpr() : -1;
  const int result = i.destinations != 0 ? i.destination[0].vgpr() : -1;
  for (int bank = 0; bank < wave.banks(); ++bank) {
    if (wave.exec(bank) == 0 || raw_at_once(wave, i, memory_of(op), bank, data, result)) continue;
    const Place place = find_place(wave, i, bank, memory_of(op).bytes);
    access_global(wave, op, memory_of(op), bank, place.addresses, place.zero, data, result);
  }
}

// --- Typed access ---

enum class Number : uint8_t { kUnorm, kSnorm, kUscaled, kSscaled, kUint, kSint, kFloat };

struct ElementFormat {
  uint8_t bits;   // of a component
  uint8_t count;  // components
  Number number;
};

// Formats whose components are equally wide; the packed ones (10_11_11, 10_10_10_2, ...) are not
// simulated.
std::optional<ElementFormat> element_format(uint32_t code) {
  struct Run {
    uint8_t first, bits, count,
        numbers;  // numbers: 6 = unorm..sint, 7 = and float, 2/3 = uint, sint (, float)
  };
  static constexpr Run runs[] = {{1, 8, 1, 6},   {7, 16, 1, 7}, {14, 8, 2, 6},  {20, 32, 1, 3},
                                 {23, 16, 2, 7}, {42, 8, 4, 6}, {48, 32, 2, 3}, {51, 16, 4, 7},
                                 {58, 32, 3, 3}, {61, 32, 4, 3}};
  for (const Run& run : runs) {
    if (code < run.first || code >= uint32_t{run.first} + run.numbers) continue;
    const uint32_t step = code - run.first;
    const uint32_t number = run.numbers == 3 ? step + static_cast<uint32_t>(Number::kUint) : step;
    return ElementFormat{run.bits, run.count, static_cast<Number>(number)};
  }
  return std::nullopt;
}

// A component as the bits of a 32-bit register: float, or integer for uint and sint.
uint32_t from_memory(uint32_t raw, const ElementFormat& f) {
  const double largest = std::ldexp(1.0, f.bits) - 1;
  const auto sign = static_cast<int32_t>(raw << (32 - f.bits)) >> (32 - f.bits);
  switch (f.number) {
    case Number::kUint:
      return raw;
    case Number::kSint:
      return static_cast<uint32_t>(sign);
    case Number::kFloat:
      return f.bits == 16
                 ? std::bit_cast<uint32_t>(formats::half_to_float(static_cast<uint16_t>(raw)))
                 : raw;
    case Number::kUnorm:
      return std::bit_cast<uint32_t>(static_cast<float>(raw / largest));
    case Number::kSnorm:
      return std::bit_cast<uint32_t>(
          static_cast<float>(std::max(-1.0, sign / std::floor(largest / 2))));
    case Number::kUscaled:
      return std::bit_cast<uint32_t>(static_cast<float>(raw));
    case Number::kSscaled:
      return std::bit_cast<uint32_t>(static_cast<float>(sign));
  }
  return 0;
}

uint32_t to_memory(uint32_t value, const ElementFormat& f) {
  const float real = std::bit_cast<float>(value);
  const double largest = std::ldexp(1.0, f.bits) - 1;
  const double half = std::floor(largest / 2);
  const auto clamp = [&](double low, double high, double x) {
    return std::isnan(real) ? 0.0 : std::nearbyint(std::min(high, std::max(low, x)));
  };
  switch (f.number) {
    case Number::kUint:
      return static_cast<uint32_t>(std::min<double>(value, largest));
    case Number::kSint:
      return static_cast<uint32_t>(static_cast<int64_t>(
          std::min(half, std::max(-half - 1, static_cast<double>(static_cast<int32_t>(value))))));
    case Number::kFloat:
      return f.bits == 16 ? formats::float_to_half(real) : value;
    case Number::kUnorm:
      return static_cast<uint32_t>(clamp(0, largest, real * largest));
    case Number::kSnorm:
      return static_cast<uint32_t>(static_cast<int64_t>(clamp(-half, half, real * half)));
    case Number::kUscaled:
      return static_cast<uint32_t>(clamp(0, largest, real));
    case Number::kSscaled:
      return static_cast<uint32_t>(static_cast<int64_t>(clamp(-half - 1, half, real)));
  }
  return 0;
}

struct Typed {
  bool store = false, half = false, high = false;
  int components = 0;
};

Typed typed_of(std::string_view name) {
  Typed t;
  t.store = name.find("_store_") != std::string_view::npos;
  t.half = name.find("_d16_") != std::string_view::npos;
  t.high = name.find("_hi_") != std::string_view::npos;
  const size_t at = name.rfind("format_");
  t.components = static_cast<int>(name.size() - at - std::string_view("format_").size());
  return t;
}

// Registers hold floats or integers of 32 bits, or of 16 packed in pairs (d16).
uint32_t narrow(uint32_t value, const ElementFormat& f) {
  const bool integer = f.number == Number::kUint || f.number == Number::kSint;
  return integer ? value & 0xffff : formats::float_to_half(std::bit_cast<float>(value));
}
uint32_t widen(uint32_t value, const ElementFormat& f) {
  if (f.number == Number::kUint) return value;
  if (f.number == Number::kSint) return static_cast<uint32_t>(static_cast<int16_t>(value));
  return std::bit_cast<uint32_t>(formats::half_to_float(static_cast<uint16_t>(value)));
}

void load_typed_lane(Wave& wave, const Typed& t, const ElementFormat& f, int bank, int lane,
                     int first, const std::byte* bytes) {
  VectorRegister* v = wave.bank[bank] + first;
  for (int c = 0; c < t.components; ++c) {
    uint32_t value = 0;
    if (c < f.count) {
      std::memcpy(&value, bytes + c * (f.bits / 8), f.bits / 8U);
      value = from_memory(value, f);
    } else if (c == 3) {  // a missing fourth component reads as one
      const bool integer = f.number == Number::kUint || f.number == Number::kSint;
      value = integer ? 1 : std::bit_cast<uint32_t>(1.0F);
    }
    if (!t.half) {
      v[c].lane[lane] = value;
      continue;
    }
    uint32_t& reg = v[c / 2].lane[lane];
    const bool upper = t.high || c % 2 == 1;
    value = narrow(value, f);
    reg = upper ? (reg & 0xffff) | value << 16 : (reg & 0xffff0000) | value;
  }
}

void store_typed_lane(const Wave& wave, const Typed& t, const ElementFormat& f, int bank, int lane,
                      int first, std::byte* bytes) {
  const VectorRegister* v = wave.bank[bank] + first;
  for (int c = 0; c < std::min<int>(t.components, f.count); ++c) {
    uint32_t value =
        t.half ? v[c / 2].lane[lane] >> (t.high || c % 2 == 1 ? 16 : 0) & 0xffff : v[c].lane[lane];
    if (t.half) value = widen(value, f);
    value = to_memory(value, f);
    std::memcpy(bytes + c * (f.bits / 8), &value, f.bits / 8U);
  }
}

void run_typed(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  Workgroup& workgroup = *wave.workgroup;
  Worker& worker = *workgroup.worker;
  const Typed t = typed_of(mnemonic(i.op));
  const uint32_t code =
      i.format == Format::kMtbuf ? i.format_code : read_resource(wave, i.source[2]).format;
  const auto f = element_format(code);
  if (!f) {
    return wave.stop(Stop::kIllegalInstruction,
                     fmt::format("not simulated: buffer format {} at {:#x}", code, wave.pc_of(op)));
  }
  const uint32_t bytes = uint32_t{f->bits} / 8 * f->count;
  const int reg = t.store ? i.source[1].vgpr() : i.destination[0].vgpr();
  for (int bank = 0; bank < wave.banks(); ++bank) {
    const Place place = find_place(wave, i, bank, bytes);
    for (uint32_t left = place.addresses.mask; left != 0; left &= left - 1) {
      const int lane = std::countr_zero(left);
      const uint64_t address = place.addresses.at[lane];
      std::array<std::byte, 16> data{};
      const bool zero = (place.zero >> lane & 1) != 0;
      if (!zero && workgroup.strict) {
        workgroup.strict->global_access(wave, op, place.addresses.at.data(), 1U << lane, bytes,
                                        t.store, false);
      }
      bool good = true;
      if (t.store) {
        // Components that the instruction has no data for stay as they are (guide,
        // BUFFER_STORE_FORMAT_X).
        store_typed_lane(wave, t, *f, bank, lane, reg, data.data());
        const uint32_t given = uint32_t{f->bits} / 8 *
                               std::min<uint32_t>(static_cast<uint32_t>(t.components), f->count);
        if (!zero) good = worker.write(address, data.data(), given);
        if (!zero) workgroup.lines.write(address >> LineLog::kLineShift, false);
      } else {
        if (!zero) good = worker.read(address, data.data(), bytes);
        if (!zero) workgroup.lines.read(address >> LineLog::kLineShift, false);
        load_typed_lane(wave, t, *f, bank, lane, reg, data.data());
      }
      if (!good) {
        return wave.stop(Stop::kMemoryViolation,
                         fmt::format("typed buffer access at {:#x} by the instruction at {:#x}",
                                     address, wave.pc_of(op)),
                         address);
      }
    }
  }
}

void invalidate_first_level(Wave& wave, const Op&) { wave.workgroup->lines.invalidate(); }

}  // namespace

bool prepare_buffer(Op& op, const Instruction& instruction) {
  const std::string_view name = mnemonic(instruction.op);
  if (name == "buffer_gl0_inv" || name == "buffer_gl1_inv") {
    op.run = invalidate_first_level;
    op.type = Class::kOther;
    return true;
  }
  if (name.find("format_") != std::string_view::npos) {
    op.run = run_typed;
    op.type = typed_of(name).store ? Class::kVmemStore : Class::kVmemLoad;
    return true;
  }
  constexpr std::string_view kPrefix = "buffer_";
  if (!name.starts_with(kPrefix)) return false;
  const MemoryOp* memory = find_memory_op(name.substr(kPrefix.size()));
  if (memory == nullptr) return false;
  op.run = run_buffer;
  op.body = memory;
  op.type = memory->kind == MemoryOp::Kind::kLoad    ? Class::kVmemLoad
            : memory->kind == MemoryOp::Kind::kStore ? Class::kVmemStore
                                                     : Class::kVmemAtomic;
  return true;
}

}  // namespace outboard::simulator::compute
