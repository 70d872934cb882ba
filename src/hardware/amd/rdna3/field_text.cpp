// Immediate fields in LLVM's syntax. Field layouts: guide, chapter 16 (s_delay_alu, s_waitcnt,
// s_waitcnt_depctr, s_sendmsg, s_getreg_b32, ds_swizzle_b32), table "DPP_CTRL". Names: llvm-mc-19.
#include <array>
#include <iterator>

#include "hardware/amd/rdna3/encodings.h"
#include "hardware/amd/rdna3/operand_text.h"

namespace outboard::hardware::amd::rdna3 {
namespace {

using encoding::Field;

std::string join(const std::string& left, const char* separator, const std::string& right) {
  return left.empty() ? right : left + separator + right;
}

std::string call(const char* name, uint32_t value) {
  return std::string(name) + "(" + std::to_string(value) + ")";
}

}  // namespace

std::string delay_alu_text(uint16_t field) {
  constexpr Field kId0{3, 0}, kSkip{6, 4}, kId1{10, 7};
  constexpr const char* kDependencies[] = {"NO_DEP",        "VALU_DEP_1",    "VALU_DEP_2",
                                           "VALU_DEP_3",    "VALU_DEP_4",    "TRANS32_DEP_1",
                                           "TRANS32_DEP_2", "TRANS32_DEP_3", "FMA_ACCUM_CYCLE_1",
                                           "SALU_CYCLE_1",  "SALU_CYCLE_2",  "SALU_CYCLE_3"};
  constexpr const char* kSkips[] = {"SAME", "NEXT", "SKIP_1", "SKIP_2", "SKIP_3", "SKIP_4"};
  const auto dependency = [&](uint32_t id) {
    return id < std::size(kDependencies) ? kDependencies[id] : "/* invalid instid value */";
  };
  std::string text;
  if (kId0(field) != 0) text = std::string("instid0(") + dependency(kId0(field)) + ")";
  if (const uint32_t skip = kSkip(field); skip != 0) {
    const char* name = skip < std::size(kSkips) ? kSkips[skip] : "/* invalid instskip value */";
    text = join(text, " | ", std::string("instskip(") + name + ")");
  }
  if (kId1(field) != 0) {
    text = join(text, " | ", std::string("instid1(") + dependency(kId1(field)) + ")");
  }
  return text.empty() ? "0" : text;
}

std::string waitcnt_text(uint16_t field) {
  constexpr Field kExp{2, 0}, kLgkm{9, 4}, kVm{15, 10};
  constexpr uint32_t kNoExp = 7, kNoLgkm = 63, kNoVm = 63;
  const bool nothing = kExp(field) == kNoExp && kLgkm(field) == kNoLgkm && kVm(field) == kNoVm;
  std::string text;
  if (kVm(field) != kNoVm || nothing) text = call("vmcnt", kVm(field));
  if (kExp(field) != kNoExp || nothing) text = join(text, " ", call("expcnt", kExp(field)));
  if (kLgkm(field) != kNoLgkm || nothing) text = join(text, " ", call("lgkmcnt", kLgkm(field)));
  return text;
}

std::string depctr_text(uint16_t field) {
  struct Counter {
    const char* name;
    Field field;
    uint32_t idle;
  };
  constexpr Counter kCounters[] = {
      {"depctr_hold_cnt", {7, 7}, 1},   {"depctr_sa_sdst", {0, 0}, 1},
      {"depctr_va_vdst", {15, 12}, 15}, {"depctr_va_sdst", {11, 9}, 7},
      {"depctr_va_ssrc", {8, 8}, 1},    {"depctr_va_vcc", {1, 1}, 1},
      {"depctr_vm_vsrc", {4, 2}, 7},
  };
  constexpr uint16_t kUnused = 0x60;
  bool idle = true;
  for (const Counter& c : kCounters) idle = idle && c.field(field) == c.idle;
  // A set unused bit has no name: the number says more.
  if ((field & kUnused) != 0) return hex_text(field);
  std::string text;
  for (const Counter& c : kCounters) {
    if (idle || c.field(field) != c.idle) text = join(text, " ", call(c.name, c.field(field)));
  }
  return text;
}

std::string sendmsg_text(uint16_t field) {
  constexpr Field kId{7, 0};
  struct Message {
    uint8_t id;
    const char* name;
  };
  constexpr Message kMessages[] = {
      {1, "MSG_INTERRUPT"},           {2, "MSG_HS_TESSFACTOR"},   {3, "MSG_DEALLOC_VGPRS"},
      {5, "MSG_STALL_WAVE_GEN"},      {6, "MSG_HALT_WAVES"},      {9, "MSG_GS_ALLOC_REQ"},
      {128, "MSG_RTN_GET_DOORBELL"},  {129, "MSG_RTN_GET_DDID"},  {130, "MSG_RTN_GET_TMA"},
      {131, "MSG_RTN_GET_REALTIME"},  {132, "MSG_RTN_SAVE_WAVE"}, {133, "MSG_RTN_GET_TBA"},
      {134, "MSG_RTN_GET_TBA_TO_PC"},
  };
  const uint32_t id = kId(field);
  for (const Message& message : kMessages) {
    if (message.id == id) return std::string("sendmsg(") + message.name + ")";
  }
  if (id != field) return std::to_string(field);
  return "sendmsg(" + std::to_string(id) + ", 0, 0)";
}

std::string hwreg_text(uint16_t field) {
  constexpr Field kId{5, 0}, kOffset{10, 6}, kSize{15, 11};
  struct Register {
    uint8_t id;
    const char* name;
  };
  constexpr Register kRegisters[] = {
      {1, "MODE"},
      {2, "STATUS"},
      {3, "TRAPSTS"},
      {5, "GPR_ALLOC"},
      {6, "LDS_ALLOC"},
      {7, "IB_STS"},
      {15, "SH_MEM_BASES"},
      {18, "PERF_SNAPSHOT_PC_LO"},
      {19, "PERF_SNAPSHOT_PC_HI"},
      {20, "FLAT_SCR_LO"},
      {21, "FLAT_SCR_HI"},
      {23, "HW_ID1"},
      {24, "HW_ID2"},
      {27, "PERF_SNAPSHOT_DATA"},
      {29, "SHADER_CYCLES"},
  };
  std::string text = "hwreg(";
  std::string name = std::to_string(kId(field));
  for (const Register& reg : kRegisters) {
    if (reg.id == kId(field)) name = std::string("HW_REG_") + reg.name;
  }
  text += name;
  constexpr uint32_t kWholeSize = 31;
  if (kOffset(field) != 0 || kSize(field) != kWholeSize) {
    text += ", " + std::to_string(kOffset(field)) + ", " + std::to_string(kSize(field) + 1);
  }
  return text + ")";
}

std::string version_text(uint16_t field) {
  constexpr Field kVersion{7, 0}, kW64{13, 13}, kW32{14, 14}, kMdp{15, 15}, kRest{12, 8};
  struct Name {
    uint8_t id;
    const char* name;
  };
  constexpr Name kNames[] = {{0, "UC_VERSION_GFX7"},
                             {4, "UC_VERSION_GFX10"},
                             {6, "UC_VERSION_GFX11"},
                             {9, "UC_VERSION_GFX12"}};
  if (kRest(field) != 0) return hex_text(field);
  std::string text = std::to_string(kVersion(field));
  for (const Name& name : kNames) {
    if (name.id == kVersion(field)) text = name.name;
  }
  // An expression: each sum is wrapped before the next term.
  bool sum = false;
  const auto add = [&](bool set, const char* name) {
    if (!set) return;
    text = (sum ? "(" + text + ")" : text) + "|" + name;
    sum = true;
  };
  add(kW64(field) != 0, "UC_VERSION_W64_BIT");
  add(kW32(field) != 0, "UC_VERSION_W32_BIT");
  add(kMdp(field) != 0, "UC_VERSION_MDP_BIT");
  return text;
}

std::string buffer_format_text(uint8_t format) {
  constexpr std::array<const char*, 64> kNames = {"INVALID",
                                                  "8_UNORM",
                                                  "8_SNORM",
                                                  "8_USCALED",
                                                  "8_SSCALED",
                                                  "8_UINT",
                                                  "8_SINT",
                                                  "16_UNORM",
                                                  "16_SNORM",
                                                  "16_USCALED",
                                                  "16_SSCALED",
                                                  "16_UINT",
                                                  "16_SINT",
                                                  "16_FLOAT",
                                                  "8_8_UNORM",
                                                  "8_8_SNORM",
                                                  "8_8_USCALED",
                                                  "8_8_SSCALED",
                                                  "8_8_UINT",
                                                  "8_8_SINT",
                                                  "32_UINT",
                                                  "32_SINT",
                                                  "32_FLOAT",
                                                  "16_16_UNORM",
                                                  "16_16_SNORM",
                                                  "16_16_USCALED",
                                                  "16_16_SSCALED",
                                                  "16_16_UINT",
                                                  "16_16_SINT",
                                                  "16_16_FLOAT",
                                                  "10_11_11_FLOAT",
                                                  "11_11_10_FLOAT",
                                                  "10_10_10_2_UNORM",
                                                  "10_10_10_2_SNORM",
                                                  "10_10_10_2_UINT",
                                                  "10_10_10_2_SINT",
                                                  "2_10_10_10_UNORM",
                                                  "2_10_10_10_SNORM",
                                                  "2_10_10_10_USCALED",
                                                  "2_10_10_10_SSCALED",
                                                  "2_10_10_10_UINT",
                                                  "2_10_10_10_SINT",
                                                  "8_8_8_8_UNORM",
                                                  "8_8_8_8_SNORM",
                                                  "8_8_8_8_USCALED",
                                                  "8_8_8_8_SSCALED",
                                                  "8_8_8_8_UINT",
                                                  "8_8_8_8_SINT",
                                                  "32_32_UINT",
                                                  "32_32_SINT",
                                                  "32_32_FLOAT",
                                                  "16_16_16_16_UNORM",
                                                  "16_16_16_16_SNORM",
                                                  "16_16_16_16_USCALED",
                                                  "16_16_16_16_SSCALED",
                                                  "16_16_16_16_UINT",
                                                  "16_16_16_16_SINT",
                                                  "16_16_16_16_FLOAT",
                                                  "32_32_32_UINT",
                                                  "32_32_32_SINT",
                                                  "32_32_32_FLOAT",
                                                  "32_32_32_32_UINT",
                                                  "32_32_32_32_SINT",
                                                  "32_32_32_32_FLOAT"};
  constexpr uint8_t kDefault = 1;
  if (format == kDefault) return "";
  if (format >= kNames.size()) return " format:" + std::to_string(format);
  return std::string(" format:[BUF_FMT_") + kNames[format] + "]";
}

std::string swizzle_text(uint16_t offset) {
  constexpr Field kMode{15, 8}, kAnd{4, 0}, kOr{9, 5}, kXor{14, 10}, kBitMode{15, 15};
  constexpr uint32_t kQuadMode = 0x80, kAll = 31;
  if (offset == 0) return "";
  if (kMode(offset) == kQuadMode) {
    std::string text = " offset:swizzle(QUAD_PERM";
    for (int lane = 0; lane < 4; ++lane) {
      text += "," + std::to_string(offset >> 2 * lane & 3);
    }
    return text + ")";
  }
  if (kBitMode(offset) != 0) return " offset:" + std::to_string(offset);
  const uint32_t and_mask = kAnd(offset), or_mask = kOr(offset), xor_mask = kXor(offset);
  const auto is_power = [](uint32_t v) { return v != 0 && (v & (v - 1)) == 0; };
  std::string text = " offset:swizzle(";
  if (and_mask == kAll && or_mask == 0 && is_power(xor_mask)) {
    return text + "SWAP," + std::to_string(xor_mask) + ")";
  }
  if (and_mask == kAll && or_mask == 0 && xor_mask > 0 && is_power(xor_mask + 1)) {
    return text + "REVERSE," + std::to_string(xor_mask + 1) + ")";
  }
  const uint32_t group = kAll - and_mask + 1;
  if (group > 1 && is_power(group) && or_mask < group && xor_mask == 0) {
    return text + "BROADCAST," + std::to_string(group) + "," + std::to_string(or_mask) + ")";
  }
  text += "BITMASK_PERM,\"";
  for (uint32_t bit = 16; bit != 0; bit >>= 1) {
    // What becomes of this bit of the lane number: kept, inverted, 0 or 1.
    const bool zero = (((0 & and_mask) | or_mask) ^ xor_mask) & bit;
    const bool one = (((kAll & and_mask) | or_mask) ^ xor_mask) & bit;
    text += zero == one ? (zero ? '1' : '0') : (zero ? 'i' : 'p');
  }
  return text + "\")";
}

namespace {

struct DppRow {
  uint16_t first, last;  // dpp_ctrl
  const char* name;
  bool counted;
};
constexpr DppRow kDppRows[] = {
    {0x101, 0x10f, "row_shl:", true},         {0x111, 0x11f, "row_shr:", true},
    {0x121, 0x12f, "row_ror:", true},         {0x140, 0x140, "row_mirror", false},
    {0x141, 0x141, "row_half_mirror", false}, {0x150, 0x15f, "row_share:", true},
    {0x160, 0x16f, "row_xmask:", true},
};
constexpr uint16_t kLastQuadPerm = 0xff;

std::string dpp_control_text(uint16_t control) {
  if (control <= kLastQuadPerm) {
    std::string text = "quad_perm:[";
    for (int lane = 0; lane < 4; ++lane) {
      text += std::to_string(control >> 2 * lane & 3) + (lane < 3 ? "," : "]");
    }
    return text;
  }
  for (const DppRow& row : kDppRows) {
    if (control < row.first || control > row.last) continue;
    return row.counted ? row.name + std::to_string(control & 15) : row.name;
  }
  return "?";
}

}  // namespace

bool is_dpp_control(uint16_t control) {
  if (control <= kLastQuadPerm) return true;
  for (const DppRow& row : kDppRows) {
    if (control >= row.first && control <= row.last) return true;
  }
  return false;
}

std::string dpp_text(const Instruction& instruction) {
  std::string text;
  if (instruction.dpp == Instruction::Dpp::kNone) return text;
  if (instruction.dpp == Instruction::Dpp::kDpp8) {
    text = " dpp8:[";
    for (int lane = 0; lane < 8; ++lane) {
      text += std::to_string(instruction.dpp8_lanes >> 3 * lane & 7) + (lane < 7 ? "," : "]");
    }
  } else {
    text = " " + dpp_control_text(instruction.dpp_ctrl) +
           " row_mask:" + hex_text(instruction.row_mask) +
           " bank_mask:" + hex_text(instruction.bank_mask);
    if (instruction.bound_ctrl) text += " bound_ctrl:1";
  }
  return instruction.fetch_inactive ? text + " fi:1" : text;
}

}  // namespace outboard::hardware::amd::rdna3
