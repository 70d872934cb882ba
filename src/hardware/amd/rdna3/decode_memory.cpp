// Memory formats: DS, FLAT, GLOBAL, SCRATCH, MUBUF, MTBUF, MIMG; and EXP.
#include "hardware/amd/rdna3/decode_parts.h"
#include "hardware/amd/rdna3/encodings.h"
#include "hardware/amd/rdna3/operands.h"

namespace outboard::hardware::amd::rdna3 {
namespace {

using encoding::Field;

bool vgpr_source(uint64_t bits, Field field, isa::Role role, int index, Instruction& out) {
  if (role.dwords == 0) return true;
  out.sources = static_cast<uint8_t>(index + 1);
  return vector_register(static_cast<uint16_t>(field(bits)), role, out.source[index]);
}

bool vgpr_destination(uint64_t bits, Field field, isa::Role role, Instruction& out) {
  if (role.dwords == 0) return true;
  out.destinations = 1;
  return vector_register(static_cast<uint16_t>(field(bits)), role, out.destination[0]);
}

// What an atomic returns: a compare-and-swap's data are two values, of which one comes back.
isa::Role returned(const isa::Row& row, isa::Role data) {
  if (mnemonic(row.op).find("cmpswap") == std::string_view::npos) return data;
  const auto dwords = static_cast<uint8_t>(data.dwords / 2);
  return {dwords == 1 ? Type::kB32 : Type::kB64, dwords};
}

}  // namespace

bool decode_ds(uint64_t bits, Instruction& out) {
  using namespace encoding::ds;
  const isa::Row* row = find_row(Format::kDs, kOp(bits));
  if (!begin(row, Format::kDs, bits, out)) return false;
  out.gds = kGds(bits) != 0;
  if ((row->flags & isa::kGdsOnly) != 0 && !out.gds) return false;
  out.offset0 = static_cast<uint8_t>(kOffset0(bits));
  out.offset1 = static_cast<uint8_t>(kOffset1(bits));
  out.offset = out.offset0 | out.offset1 << 8;
  return vgpr_destination(bits, kVdst, row->destination, out) &&
         vgpr_source(bits, kAddr, row->source[0], 0, out) &&
         vgpr_source(bits, kData0, row->source[1], 1, out) &&
         vgpr_source(bits, kData1, row->source[2], 2, out);
}

bool decode_flat(uint64_t bits, Instruction& out) {
  using namespace encoding::flat;
  constexpr Format kSegments[3] = {Format::kFlat, Format::kScratch, Format::kGlobal};
  if (kSegment(bits) >= 3) return false;
  const Format format = kSegments[kSegment(bits)];
  const isa::Row* row = find_row(format, kOp(bits));
  if (!begin(row, format, bits, out)) return false;
  out.glc = kGlc(bits) != 0;
  out.slc = kSlc(bits) != 0;
  out.dlc = kDlc(bits) != 0;
  out.sve = kSve(bits) != 0;
  constexpr int32_t kOffsetSign = 1 << 12;
  out.offset = (static_cast<int32_t>(kOffset(bits)) ^ kOffsetSign) - kOffsetSign;
  const bool atomic = (row->flags & isa::kAtomic) != 0;
  if (!atomic || out.glc) {
    const isa::Role role = atomic ? returned(*row, row->source[1]) : row->destination;
    if (!vgpr_destination(bits, kVdst, role, out)) return false;
  }
  const auto saddr = static_cast<uint16_t>(kSaddr(bits));
  const bool has_saddr = saddr != code::kNull;
  if (format == Format::kFlat && has_saddr) return false;
  if (format == Format::kFlat) out.offset &= kOffsetSign - 1;  // 12 bits without sign
  isa::Role address = row->source[0];
  if (format == Format::kGlobal && has_saddr && address.dwords != 0) address = {Type::kB32, 1};
  if (format == Format::kScratch && !out.sve) address = {};
  if (!vgpr_source(bits, kAddr, address, 0, out)) return false;
  if (!vgpr_source(bits, kData, row->source[1], 1, out)) return false;
  if (!has_saddr) return true;
  out.sources = 3;
  const isa::Role base =
      format == Format::kGlobal ? isa::Role{Type::kB64, 2} : isa::Role{Type::kB32, 1};
  return saddr != code::kExecHi && scalar_register(saddr, base, out.source[2]);
}

bool decode_buffer(uint64_t bits, Instruction& out) {
  using namespace encoding::buffer;
  constexpr Field kTypedBit{27, 27};
  const bool typed = kTypedBit(bits) != 0;
  const Format format = typed ? Format::kMtbuf : Format::kMubuf;
  const isa::Row* row = find_row(format, typed ? kTypedOp(bits) : kOp(bits));
  if (!begin(row, format, bits, out)) return false;
  if (row->source[2].dwords == 0) return true;  // cache invalidates
  out.offset = static_cast<int32_t>(kOffset(bits));
  out.glc = kGlc(bits) != 0;
  out.slc = kSlc(bits) != 0;
  out.dlc = kDlc(bits) != 0;
  out.tfe = kTfe(bits) != 0;
  out.offen = kOffen(bits) != 0;
  out.idxen = kIdxen(bits) != 0;
  out.lds = row->destination.dwords == 0;
  if (typed) out.format_code = static_cast<uint8_t>(kFormat(bits));
  const int address_dwords = out.offen + out.idxen;
  if (address_dwords != 0) {
    const isa::Role address{address_dwords == 2 ? Type::kB64 : Type::kB32,
                            static_cast<uint8_t>(address_dwords)};
    if (!vgpr_source(bits, kVaddr, address, 0, out)) return false;
  }
  isa::Role data = row->destination;
  const bool atomic = (row->flags & isa::kAtomic) != 0;
  if (out.tfe) ++data.dwords;  // the status dword follows the data
  if ((row->flags & isa::kStore) != 0 || atomic) {
    if (!vgpr_source(bits, kVdata, data, 1, out)) return false;
    if (atomic && out.glc && !vgpr_destination(bits, kVdata, returned(*row, row->destination), out))
      return false;
  } else if (!vgpr_destination(bits, kVdata, data, out)) {
    return false;
  }
  out.sources = 4;
  const auto resource = static_cast<uint16_t>(kSrsrc(bits) * 4);  // in groups of four registers
  return scalar_register(resource, row->source[2], out.source[2]) &&
         source_operand(static_cast<uint16_t>(kSoffset(bits)), {Type::kB32, 1}, out.source[3]) &&
         out.source[3].code != code::kLiteral;
}

bool decode_export(uint64_t bits, Instruction& out) {
  using namespace encoding::exp;
  out.op = Opcode::kExp;
  out.format = Format::kExp;
  out.size = 8;
  out.export_.enabled = static_cast<uint8_t>(kEn(bits));
  out.export_.target = static_cast<uint8_t>(kTarget(bits));
  out.export_.done = kDone(bits) != 0;
  out.export_.row = kRow(bits) != 0;
  constexpr isa::Role kRole{Type::kB32, 1};
  return vgpr_source(bits, kVsrc0, kRole, 0, out) && vgpr_source(bits, kVsrc1, kRole, 1, out) &&
         vgpr_source(bits, kVsrc2, kRole, 2, out) && vgpr_source(bits, kVsrc3, kRole, 3, out);
}

}  // namespace outboard::hardware::amd::rdna3
