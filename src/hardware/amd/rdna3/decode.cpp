// The entry of the decoder, and the scalar formats.
#include <algorithm>

#include "hardware/amd/rdna3/decode_parts.h"
#include "hardware/amd/rdna3/encodings.h"
#include "hardware/amd/rdna3/operands.h"

namespace outboard::hardware::amd::rdna3 {
namespace {

using encoding::Field;

// SOPK instructions that read the register named in their destination field.
bool sopk_reads(Opcode op) {
  switch (op) {
    case Opcode::kSCmpkEqI32:
    case Opcode::kSCmpkLgI32:
    case Opcode::kSCmpkGtI32:
    case Opcode::kSCmpkGeI32:
    case Opcode::kSCmpkLtI32:
    case Opcode::kSCmpkLeI32:
    case Opcode::kSCmpkEqU32:
    case Opcode::kSCmpkLgU32:
    case Opcode::kSCmpkGtU32:
    case Opcode::kSCmpkGeU32:
    case Opcode::kSCmpkLtU32:
    case Opcode::kSCmpkLeU32:
    case Opcode::kSSetregB32:
    case Opcode::kSWaitcntVscnt:
    case Opcode::kSWaitcntVmcnt:
    case Opcode::kSWaitcntExpcnt:
    case Opcode::kSWaitcntLgkmcnt:
    case Opcode::kSAddkI32:
    case Opcode::kSMulkI32:
    case Opcode::kSCmovkI32:
    case Opcode::kSSubvectorLoopBegin:
    case Opcode::kSSubvectorLoopEnd:
      return true;
    default:
      return false;
  }
}

bool sopk_writes(Opcode op) {
  return op == Opcode::kSAddkI32 || op == Opcode::kSMulkI32 || op == Opcode::kSCmovkI32 ||
         op == Opcode::kSSubvectorLoopBegin || op == Opcode::kSSubvectorLoopEnd || !sopk_reads(op);
}

bool scalar_source(uint64_t bits, Field field, const isa::Row& row, int index, Instruction& out) {
  if (row.source[index].dwords == 0) return true;
  out.sources = static_cast<uint8_t>(index + 1);
  return source_operand(static_cast<uint16_t>(field(bits)), row.source[index], out.source[index]);
}

bool scalar_destination(uint64_t bits, Field field, const isa::Row& row, Instruction& out) {
  if (row.destination.dwords == 0) return true;
  out.destinations = 1;
  return scalar_register(static_cast<uint16_t>(field(bits)), row.destination, out.destination[0]);
}

bool decode_sop1(std::span<const uint32_t> words, uint64_t bits, Instruction& out) {
  using namespace encoding::sop1;
  const isa::Row* row = find_row(Format::kSop1, kOp(bits));
  if (!begin(row, Format::kSop1, bits, out)) return false;
  if (!scalar_destination(bits, kSdst, *row, out)) return false;
  if (out.op == Opcode::kSSendmsgRtnB32 || out.op == Opcode::kSSendmsgRtnB64) {
    out.simm16 = static_cast<uint16_t>(kSsrc0(bits));
    return true;
  }
  if (!scalar_source(bits, kSsrc0, *row, 0, out)) return false;
  if ((row->flags & isa::kRegisterSource) != 0 && out.source[0].constant) return false;
  return finish_literal(words, false, out);
}

bool decode_sop2(std::span<const uint32_t> words, uint64_t bits, Instruction& out) {
  using namespace encoding::sop2;
  const isa::Row* row = find_row(Format::kSop2, kOp(bits));
  return begin(row, Format::kSop2, bits, out) && scalar_destination(bits, kSdst, *row, out) &&
         scalar_source(bits, kSsrc0, *row, 0, out) && scalar_source(bits, kSsrc1, *row, 1, out) &&
         finish_literal(words, false, out);
}

bool decode_sopc(std::span<const uint32_t> words, uint64_t bits, Instruction& out) {
  using namespace encoding::sopc;
  const isa::Row* row = find_row(Format::kSopc, kOp(bits));
  return begin(row, Format::kSopc, bits, out) && scalar_source(bits, kSsrc0, *row, 0, out) &&
         scalar_source(bits, kSsrc1, *row, 1, out) && finish_literal(words, false, out);
}

bool decode_sopk(std::span<const uint32_t> words, uint64_t bits, Instruction& out) {
  using namespace encoding::sopk;
  const isa::Row* row = find_row(Format::kSopk, kOp(bits));
  if (!begin(row, Format::kSopk, bits, out)) return false;
  out.simm16 = static_cast<uint16_t>(kSimm16(bits));
  if (out.op == Opcode::kSSetregImm32B32) {
    out.sources = 1;
    out.source[0] = {.code = code::kLiteral, .dwords = 1, .type = Type::kB32, .constant = true};
    return finish_literal(words, true, out);
  }
  if (row->destination.dwords == 0) return true;
  Operand reg;
  if (!scalar_register(static_cast<uint16_t>(kSdst(bits)), row->destination, reg)) return false;
  if (sopk_reads(out.op)) {
    out.source[0] = reg;
    out.sources = 1;
  }
  if (sopk_writes(out.op)) {
    out.destination[0] = reg;
    out.destinations = 1;
  }
  return true;
}

bool decode_sopp(uint64_t bits, Instruction& out) {
  using namespace encoding::sopp;
  if (!begin(find_row(Format::kSopp, kOp(bits)), Format::kSopp, bits, out)) return false;
  out.simm16 = static_cast<uint16_t>(kSimm16(bits));
  return true;
}

bool decode_smem(uint64_t bits, Instruction& out) {
  using namespace encoding::smem;
  const isa::Row* row = find_row(Format::kSmem, kOp(bits));
  if (!begin(row, Format::kSmem, bits, out)) return false;
  out.glc = kGlc(bits) != 0;
  out.dlc = kDlc(bits) != 0;
  if (row->source[0].dwords == 0) return true;  // cache invalidates
  constexpr uint32_t kOffsetSign = 1u << 20;
  out.offset =
      static_cast<int32_t>(kOffset(bits) ^ kOffsetSign) - static_cast<int32_t>(kOffsetSign);
  if (out.op == Opcode::kSAtcProbe || out.op == Opcode::kSAtcProbeBuffer) {
    out.simm16 = static_cast<uint16_t>(kSdata(bits));
  } else if (kSdata(bits) >= code::kM0 || !scalar_destination(bits, kSdata, *row, out)) {
    return false;
  }
  out.sources = 1;
  const auto base = static_cast<uint16_t>(kSbase(bits) * 2);  // in pairs of registers
  if (!scalar_register(base, row->source[0], out.source[0])) return false;
  const auto offset = static_cast<uint16_t>(kSoffset(bits));
  if (offset == code::kNull) return true;
  out.sources = 2;
  return scalar_register(offset, row->source[1], out.source[1]);
}

bool decode_64(std::span<const uint32_t> words, uint64_t bits, Instruction& out) {
  constexpr Field kEncoding6{31, 26}, kEncoding8{31, 24};
  switch (kEncoding6(bits)) {
    case 0b110010:
      return decode_vopd(words, bits, out);
    case 0b110011:
      if (kEncoding8(bits) == 0b11001100) return decode_vop3p(words, bits, out);
      return kEncoding8(bits) == 0b11001101 && decode_vinterp(bits, out);
    case 0b110101:
      return decode_vop3(words, bits, out);
    case 0b110110:
      return decode_ds(bits, out);
    case 0b110111:
      return decode_flat(bits, out);
    case 0b111000:
    case 0b111010:
      return decode_buffer(bits, out);
    case 0b111100:
      return decode_image(words, bits, out);
    case 0b111101:
      return decode_smem(bits, out);
    case 0b111110:
      return decode_export(bits, out);
    default:
      return false;
  }
}

bool decode_any(std::span<const uint32_t> words, Instruction& out) {
  const uint64_t low = words[0];
  constexpr Field kVector{31, 31}, kTwo{31, 30}, kFour{31, 28}, kNine{31, 23}, kEight{31, 24};
  if (kVector(low) == 0) {
    return decode_vector_short(words, words.size() > 1 ? low | uint64_t{words[1]} << 32 : low, out);
  }
  if (kTwo(low) == 0b10) {
    if (kNine(low) == 0b101111101) return decode_sop1(words, low, out);
    if (kNine(low) == 0b101111110) return decode_sopc(words, low, out);
    if (kNine(low) == 0b101111111) return decode_sopp(low, out);
    if (kFour(low) == 0b1011) return decode_sopk(words, low, out);
    return decode_sop2(words, low, out);
  }
  if (kEight(low) == 0b11001110) return decode_ldsdir(low, out);
  if (words.size() < 2) return false;
  return decode_64(words, low | uint64_t{words[1]} << 32, out);
}

}  // namespace

const isa::Row* find_row(Format format, uint32_t number) {
  const std::span<const isa::Row> rows = isa::rows(format);
  const auto row = std::lower_bound(rows.begin(), rows.end(), number,
                                    [](const isa::Row& r, uint32_t n) { return r.number < n; });
  return row != rows.end() && row->number == number ? &*row : nullptr;
}

const isa::DualRow* find_dual_row(uint32_t number) {
  for (const isa::DualRow& row : isa::dual_rows()) {
    if (row.number == number) return &row;
  }
  return nullptr;
}

bool begin(const isa::Row* row, Format format, uint64_t bits, Instruction& out) {
  if (row == nullptr) return false;
  out.op = row->op;
  out.format = format;
  const bool two_dwords = format >= Format::kVop3 || format == Format::kSmem;
  out.size = two_dwords && format != Format::kLdsDirect ? 8 : 4;
  return ((two_dwords ? bits : bits & 0xffffffff) & row->refused) == 0;
}

bool finish_literal(std::span<const uint32_t> words, bool always, Instruction& out) {
  bool wanted = always;
  for (const Operand& operand : out.source) wanted |= operand.code == code::kLiteral;
  if (!wanted) return true;
  const size_t index = out.size / 4;
  if (words.size() <= index) return false;
  out.literal = true;
  out.literal_value = words[index];
  out.size += 4;
  for (Operand& operand : out.source) {
    if (operand.code == code::kLiteral) {
      operand.value = literal_constant(out.literal_value, operand.type);
    }
  }
  return true;
}

bool decode(std::span<const uint32_t> words, Instruction& out) {
  out = Instruction{};
  if (!words.empty() && decode_any(words, out)) return true;
  out = Instruction{};
  return false;
}

std::string_view mnemonic(Opcode op) { return isa::mnemonics()[static_cast<size_t>(op)]; }

}  // namespace outboard::hardware::amd::rdna3
