// Instructions in LLVM's syntax (llvm-mc-19 -mcpu=gfx1100, wave32 names of VCC).
#include "hardware/amd/rdna3/decode_parts.h"
#include "hardware/amd/rdna3/isa_tables.h"
#include "hardware/amd/rdna3/operand_text.h"
#include "hardware/amd/rdna3/operands.h"

namespace outboard::hardware::amd::rdna3 {
namespace {

bool has_row(Format format, Opcode op) {
  for (const isa::Row& row : isa::rows(format)) {
    if (row.op == op) return true;
  }
  return false;
}

const isa::Row* row_of(const Instruction& in) {
  for (const isa::Row& row : isa::rows(in.format)) {
    if (row.op == in.op) return &row;
  }
  return nullptr;
}

// LLVM marks the encoding of operations that have a short and a long one.
std::string name_text(const Instruction& in) {
  const std::string name(mnemonic(in.op));
  const bool dpp = in.dpp != Instruction::Dpp::kNone;
  if (in.op == Opcode::kVMovB16) return dpp ? name + "_dpp" : name + "_e32";
  if (in.op == Opcode::kVNop || in.op == Opcode::kVPipeflush) return name;
  switch (in.format) {
    case Format::kVop1:
    case Format::kVop2:
    case Format::kVopc:
      if (dpp) return in.format == Format::kVopc ? name : name + "_dpp";
      return has_row(Format::kVop3, in.op) || has_row(Format::kVop3Sd, in.op) ? name + "_e32"
                                                                              : name;
    case Format::kVop3:
    case Format::kVop3Sd:
      if (dpp) return name + "_e64_dpp";
      return has_row(Format::kVop1, in.op) || has_row(Format::kVop2, in.op) ||
                     has_row(Format::kVopc, in.op)
                 ? name + "_e64"
                 : name;
    case Format::kVop3p:
      return dpp ? name + "_e64_dpp" : name;
    default:
      return name;
  }
}

class Writer {
 public:
  explicit Writer(std::string name) : text_(std::move(name)) {}
  // The next operand, behind a comma where one went before.
  Writer& operand(const std::string& text) {
    text_ += (first_ ? " " : ", ") + text;
    first_ = false;
    return *this;
  }
  Writer& tail(const std::string& text) {
    text_ += text;
    return *this;
  }
  Writer& flag(bool set, const char* name) {
    if (set) text_ += std::string(" ") + name;
    return *this;
  }
  std::string text() const { return text_; }

 private:
  std::string text_;
  bool first_ = true;
};

std::string bits_text(const char* name, uint32_t bits, int count) {
  std::string text = std::string(" ") + name + ":[";
  for (int i = 0; i < count; ++i) {
    text += std::to_string(bits >> i & 1) + (i + 1 < count ? "," : "]");
  }
  return text;
}

// With the signs around it; a minus before a number would read as another number.
std::string modified_text(const Operand& operand, std::string text) {
  if (operand.absolute) return (operand.negate ? "-|" : "|") + text + "|";
  if (!operand.negate) return text;
  return operand.constant ? "neg(" + text + ")" : "-" + text;
}

// LLVM writes what would be an inline integer in decimal.
std::string mixed_text(uint16_t field) {
  constexpr uint16_t kLastDecimal = 64;
  return field <= kLastDecimal ? std::to_string(field) : hex_text(field);
}

std::string sopp_text(const Instruction& in) {
  Writer out{std::string(mnemonic(in.op))};
  const uint16_t field = in.simm16;
  switch (in.op) {
    case Opcode::kSDelayAlu:
      return out.operand(delay_alu_text(field)).text();
    case Opcode::kSWaitcntDepctr:
      return out.operand(depctr_text(field)).text();
    case Opcode::kSWaitcnt:
      return out.operand(waitcnt_text(field)).text();
    case Opcode::kSSendmsg:
    case Opcode::kSSendmsghalt:
      return out.operand(sendmsg_text(field)).text();
    case Opcode::kSSetInstPrefetchDistance:
    case Opcode::kSClause:
    case Opcode::kSWaitEvent:
    case Opcode::kSRoundMode:
    case Opcode::kSTtracedataImm:
      return out.operand(hex_text(field)).text();
    case Opcode::kSEndpgm:
      return field == 0 ? out.text() : out.operand(std::to_string(field)).text();
    case Opcode::kSWaitIdle:
    case Opcode::kSCodeEnd:
    case Opcode::kSEndpgmSaved:
    case Opcode::kSWakeup:
    case Opcode::kSTtracedata:
    case Opcode::kSIcacheInv:
    case Opcode::kSBarrier:
      return out.text();
    case Opcode::kSBranch:
    case Opcode::kSCbranchScc0:
    case Opcode::kSCbranchScc1:
    case Opcode::kSCbranchVccz:
    case Opcode::kSCbranchVccnz:
    case Opcode::kSCbranchExecz:
    case Opcode::kSCbranchExecnz:
    case Opcode::kSCbranchCdbgsys:
    case Opcode::kSCbranchCdbguser:
    case Opcode::kSCbranchCdbgsysOrUser:
    case Opcode::kSCbranchCdbgsysAndUser:
      return out.operand(std::to_string(field)).text();
    default:
      return out.operand(mixed_text(field)).text();
  }
}

std::string sopk_text(const Instruction& in) {
  Writer out{std::string(mnemonic(in.op))};
  const Operand& reg = in.destinations != 0 ? in.destination[0] : in.source[0];
  const std::string name = operand_text(reg, 0);
  switch (in.op) {
    case Opcode::kSVersion:
      return out.operand(version_text(in.simm16)).text();
    case Opcode::kSGetregB32:
      return out.operand(name).operand(hwreg_text(in.simm16)).text();
    case Opcode::kSSetregB32:
      return out.operand(hwreg_text(in.simm16)).operand(name).text();
    case Opcode::kSSetregImm32B32:
      return out.operand(hwreg_text(in.simm16))
          .operand(literal_text(in.literal_value, Type::kB32))
          .text();
    case Opcode::kSCallB64:
    case Opcode::kSSubvectorLoopBegin:
    case Opcode::kSSubvectorLoopEnd:
      return out.operand(name).operand(std::to_string(in.simm16)).text();
    default:
      return out.operand(name).operand(hex_text(in.simm16)).text();
  }
}

std::string scalar_text(const Instruction& in) {
  Writer out{std::string(mnemonic(in.op))};
  if (in.destinations != 0) out.operand(operand_text(in.destination[0], 0));
  if (in.op == Opcode::kSSendmsgRtnB32 || in.op == Opcode::kSSendmsgRtnB64) {
    return out.operand(sendmsg_text(in.simm16)).text();
  }
  for (int i = 0; i < in.sources; ++i) out.operand(operand_text(in.source[i], in.literal_value));
  return out.text();
}

std::string smem_text(const Instruction& in) {
  Writer out{std::string(mnemonic(in.op))};
  if (in.sources == 0) return out.text();
  if (in.destinations != 0) out.operand(operand_text(in.destination[0], 0));
  if (in.destinations == 0) out.operand(mixed_text(in.simm16));  // s_atc_probe
  out.operand(operand_text(in.source[0], 0));
  if (in.sources == 2) {
    out.operand(operand_text(in.source[1], 0));
    if (in.offset != 0) out.tail(" offset:" + hex_text(in.offset));
  } else {
    out.operand(in.offset == 0 ? "null" : hex_text(in.offset));
  }
  return out.flag(in.glc, "glc").flag(in.dlc, "dlc").text();
}

const char* omod_name(uint8_t omod) {
  constexpr const char* kNames[] = {"", " mul:2", " mul:4", " div:2"};
  return kNames[omod];
}

// The constant of fmamk and fmaak, always all of it.
bool is_always_literal(const Operand& operand, Opcode op, int index) {
  if (op == Opcode::kVFmamkF32 || op == Opcode::kVFmamkF16) return index == 1;
  return (op == Opcode::kVFmaakF32 || op == Opcode::kVFmaakF16) && index == 2 &&
         operand.code == code::kLiteral;
}

// The accumulator is the destination; it is not written again.
int written_sources(const Instruction& in) {
  switch (in.op) {
    case Opcode::kVFmacF32:
    case Opcode::kVFmacF16:
    case Opcode::kVFmacDx9ZeroF32:
    case Opcode::kVDot2accF32F16:
    case Opcode::kVPkFmacF16:
      return 2;
    default:
      return in.sources;
  }
}

std::string vop_text(const Instruction& in) {
  Writer out{name_text(in)};
  // v_mov_b16 alone names the half of each VGPR in LLVM 19.
  const bool halves = in.op == Opcode::kVMovB16;
  const auto half = [&](const Operand& operand, std::string text) {
    return halves && operand.is_vgpr() && !operand.high ? text + ".l" : text;
  };
  const bool is_long = in.format == Format::kVop3 || in.format == Format::kVop3Sd;
  for (int i = 0; i < in.destinations; ++i) {
    Operand d = in.destination[i];
    if (is_long && !halves) d.high = false;  // written as op_sel
    out.operand(half(d, operand_text(d, 0)));
  }
  for (int i = 0; i < written_sources(in); ++i) {
    Operand s = in.source[i];
    if (is_long && !halves) s.high = false;
    std::string text = is_always_literal(s, in.op, i) ? hex_text(in.literal_value)
                                                      : half(s, operand_text(s, in.literal_value));
    out.operand(modified_text(s, text));
  }
  if (is_long) {
    const isa::Row* row = row_of(in);
    const uint8_t op_sel = row != nullptr ? in.op_sel & row->op_sel : 0;
    if (op_sel != 0) {
      constexpr uint8_t kDestinationBit = 8;
      const int sources = in.sources;
      const bool permlane = in.op == Opcode::kVPermlane16B32 || in.op == Opcode::kVPermlanex16B32;
      if (permlane) {
        out.tail(bits_text("op_sel", op_sel, 2));
      } else {
        const uint32_t low = op_sel & ((1u << sources) - 1);
        const uint32_t high = (op_sel & kDestinationBit) != 0 ? 1u << sources : 0;
        out.tail(bits_text("op_sel", low | high, sources + 1));
      }
    }
    out.flag(in.clamp, "clamp").tail(omod_name(in.omod));
  }
  return out.tail(dpp_text(in)).text();
}

std::string vop3p_text(const Instruction& in) {
  Writer out{name_text(in)};
  const bool mix = in.op == Opcode::kVFmaMixF32 || in.op == Opcode::kVFmaMixloF16 ||
                   in.op == Opcode::kVFmaMixhiF16;
  const bool wmma = in.source[0].type == Type::kWmma;
  out.operand(operand_text(in.destination[0], 0));
  for (int i = 0; i < in.sources; ++i) {
    Operand s = in.source[i];
    s.high = false;
    std::string text = operand_text(s, in.literal_value);
    if (wmma && s.code == code::kInverse2Pi && in.op != Opcode::kVWmmaF16_16x16x16F16) {
      text = "0.15915494309189532";  // LLVM takes these for 64-bit operands
    }
    out.operand(mix ? modified_text(s, text) : text);
  }
  const int count = in.sources;
  const uint32_t all = (1u << count) - 1;
  const isa::Row* row = row_of(in);
  constexpr uint64_t kOpSelBit = 1 << 11;
  const bool selects = !wmma || (row != nullptr && (row->refused & kOpSelBit) == 0);
  if (selects) {
    if (in.op_sel != 0) out.tail(bits_text("op_sel", in.op_sel, count));
    if (mix ? (in.op_sel_hi & all) != 0 : (in.op_sel_hi & all) != all) {
      out.tail(bits_text("op_sel_hi", in.op_sel_hi, count));
    }
  }
  if (!mix) {
    if (in.neg_lo != 0) out.tail(bits_text("neg_lo", in.neg_lo, count));
    if (in.neg_hi != 0) out.tail(bits_text("neg_hi", in.neg_hi, count));
  }
  return out.flag(in.clamp, "clamp").tail(dpp_text(in)).text();
}

std::string vinterp_text(const Instruction& in) {
  Writer out{std::string(mnemonic(in.op))};
  Operand d = in.destination[0];
  d.high = false;
  out.operand(operand_text(d, 0));
  for (int i = 0; i < in.sources; ++i) {
    Operand s = in.source[i];
    s.high = false;
    out.operand(modified_text(s, operand_text(s, 0)));
  }
  out.flag(in.clamp, "clamp");
  if (in.op_sel != 0) out.tail(bits_text("op_sel", in.op_sel, 4));
  return out.tail(" wait_exp:" + std::to_string(in.wait_exp)).text();
}

std::string dual_text(const Instruction& in, Opcode op, int half) {
  std::string name(mnemonic(op));
  Writer out{"v_dual_" + name.substr(2)};
  out.operand(operand_text(in.destination[half], 0));
  const bool third = op == Opcode::kVFmaakF32 || op == Opcode::kVFmamkF32;
  for (int i = 0; i < (third ? 3 : 2); ++i) {
    const Operand& s = in.source[half * 3 + i];
    if (s.dwords == 0) continue;
    out.operand(is_always_literal(s, op, i) ? hex_text(in.literal_value)
                                            : operand_text(s, in.literal_value));
  }
  return out.text();
}

std::string ds_text(const Instruction& in) {
  const std::string name(mnemonic(in.op));
  Writer out{name};
  if (in.destinations != 0) out.operand(operand_text(in.destination[0], 0));
  for (int i = 0; i < in.sources; ++i) {
    if (in.source[i].dwords != 0) out.operand(operand_text(in.source[i], 0));
  }
  if (name.find("2addr") != std::string::npos) {
    if (in.offset0 != 0) out.tail(" offset0:" + std::to_string(in.offset0));
    if (in.offset1 != 0) out.tail(" offset1:" + std::to_string(in.offset1));
  } else if (in.op == Opcode::kDsSwizzleB32) {
    out.tail(swizzle_text(static_cast<uint16_t>(in.offset)));
  } else if (in.offset != 0) {
    out.tail(" offset:" + std::to_string(in.offset));
  }
  return out.flag(in.gds, "gds").text();
}

std::string flat_text(const Instruction& in) {
  Writer out{std::string(mnemonic(in.op))};
  if (in.destinations != 0) out.operand(operand_text(in.destination[0], 0));
  const isa::Row* row = row_of(in);
  if (in.source[0].dwords != 0) {
    out.operand(operand_text(in.source[0], 0));
  } else if (row != nullptr && row->source[0].dwords != 0) {
    out.operand("off");
  }
  if (in.source[1].dwords != 0) out.operand(operand_text(in.source[1], 0));
  if (in.format != Format::kFlat) {
    out.operand(in.source[2].dwords != 0 ? operand_text(in.source[2], 0) : "off");
  }
  if (in.offset != 0) out.tail(" offset:" + std::to_string(in.offset));
  return out.flag(in.glc, "glc").flag(in.slc, "slc").flag(in.dlc, "dlc").text();
}

std::string buffer_text(const Instruction& in) {
  Writer out{std::string(mnemonic(in.op))};
  if (in.sources == 0) return out.text();
  if (in.source[1].dwords != 0) {
    out.operand(operand_text(in.source[1], 0));
  } else if (in.destinations != 0) {
    out.operand(operand_text(in.destination[0], 0));
  }
  out.operand(in.source[0].dwords != 0 ? operand_text(in.source[0], 0) : "off");
  out.operand(operand_text(in.source[2], 0)).operand(operand_text(in.source[3], 0));
  if (in.format == Format::kMtbuf) out.tail(buffer_format_text(in.format_code));
  out.flag(in.idxen, "idxen").flag(in.offen, "offen");
  if (in.offset != 0) out.tail(" offset:" + std::to_string(in.offset));
  return out.flag(in.glc, "glc").flag(in.slc, "slc").flag(in.dlc, "dlc").flag(in.tfe, "tfe").text();
}

std::string image_text(const Instruction& in) {
  Writer out{std::string(mnemonic(in.op))};
  const Operand& data = in.source[2].dwords != 0 ? in.source[2] : in.destination[0];
  out.operand(operand_text(data, 0));
  constexpr int kFirstAddress = 3;
  if (in.image.nsa) {
    std::string list = "[";
    for (int i = kFirstAddress; i < in.sources; ++i) {
      list += (i > kFirstAddress ? ", " : "") + operand_text(in.source[i], 0);
    }
    out.operand(list + "]");
  } else {
    out.operand(operand_text(in.source[kFirstAddress], 0));
  }
  out.operand(operand_text(in.source[0], 0));
  if (in.source[1].dwords != 0) out.operand(operand_text(in.source[1], 0));
  const bool rays =
      in.op == Opcode::kImageBvhIntersectRay || in.op == Opcode::kImageBvh64IntersectRay;
  if (!rays) {
    constexpr const char* kDims[] = {"1D",       "2D",       "3D",      "CUBE",
                                     "1D_ARRAY", "2D_ARRAY", "2D_MSAA", "2D_MSAA_ARRAY"};
    if (in.image.dmask != 0) out.tail(" dmask:" + hex_text(in.image.dmask));
    out.tail(std::string(" dim:SQ_RSRC_IMG_") + kDims[in.image.dim]);
    out.flag(in.image.unnormalized, "unorm");
    out.flag(in.glc, "glc").flag(in.slc, "slc").flag(in.dlc, "dlc").flag(in.image.r128, "r128");
  }
  out.flag(in.image.a16, "a16").flag(in.tfe, "tfe").flag(in.image.lwe, "lwe");
  return out.flag(in.image.d16, "d16").text();
}

std::string export_text(const Instruction& in) {
  constexpr const char* kTargets[] = {"mrt0",           "mrt1",
                                      "mrt2",           "mrt3",
                                      "mrt4",           "mrt5",
                                      "mrt6",           "mrt7",
                                      "mrtz",           nullptr,
                                      nullptr,          nullptr,
                                      "pos0",           "pos1",
                                      "pos2",           "pos3",
                                      "pos4",           nullptr,
                                      nullptr,          nullptr,
                                      "prim",           "dual_src_blend0",
                                      "dual_src_blend1"};
  const uint8_t target = in.export_.target;
  const char* name = target < std::size(kTargets) ? kTargets[target] : nullptr;
  std::string text = "exp ";
  text += name != nullptr ? name : "invalid_target_" + std::to_string(target);
  for (int i = 0; i < 4; ++i) {
    text += i == 0 ? " " : ", ";
    text += (in.export_.enabled >> i & 1) != 0 ? operand_text(in.source[i], 0) : "off";
  }
  if (in.export_.done) text += " done";
  return in.export_.row ? text + " row_en" : text;
}

std::string ldsdir_text(const Instruction& in) {
  Writer out{std::string(mnemonic(in.op))};
  out.operand(operand_text(in.destination[0], 0));
  if (in.op == Opcode::kLdsParamLoad) {
    constexpr const char* kChannels[] = {"x", "y", "z", "w"};
    out.operand("attr" + std::to_string(in.attribute) + "." + kChannels[in.channel]);
  }
  return out.tail(" wait_vdst:" + std::to_string(in.wait_exp)).text();
}

}  // namespace

std::string disassemble(const Instruction& in, [[maybe_unused]] uint64_t address) {
  switch (in.format) {
    case Format::kSopp:
      return in.op == Opcode::kInvalid ? "invalid" : sopp_text(in);
    case Format::kSopk:
      return sopk_text(in);
    case Format::kSop1:
    case Format::kSop2:
    case Format::kSopc:
      return scalar_text(in);
    case Format::kSmem:
      return smem_text(in);
    case Format::kVop1:
    case Format::kVop2:
    case Format::kVopc:
    case Format::kVop3:
    case Format::kVop3Sd:
      return vop_text(in);
    case Format::kVop3p:
      return vop3p_text(in);
    case Format::kVopd:
      return dual_text(in, in.op, 0) + " :: " + dual_text(in, in.op_y, 1);
    case Format::kVinterp:
      return vinterp_text(in);
    case Format::kLdsDirect:
      return ldsdir_text(in);
    case Format::kDs:
      return ds_text(in);
    case Format::kFlat:
    case Format::kGlobal:
    case Format::kScratch:
      return flat_text(in);
    case Format::kMubuf:
    case Format::kMtbuf:
      return buffer_text(in);
    case Format::kMimg:
      return image_text(in);
    case Format::kExp:
      return export_text(in);
  }
  return "invalid";
}

}  // namespace outboard::hardware::amd::rdna3
