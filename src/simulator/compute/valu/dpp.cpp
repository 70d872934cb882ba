// Which lanes a DPP operand comes from. Source: RDNA3 ISA guide, 7.7 "Data parallel processing";
// dpp_ctrl values as in LLVM's AMDGPU assembler syntax.
#include <map>
#include <memory>
#include <mutex>

#include "simulator/compute/valu/general.h"

namespace outboard::simulator::compute::valu {
namespace {

constexpr int kRow = 16;
constexpr int kNoLane = -1;

// The lane of a row that lane `lane` of it reads.
int source_in_row(uint32_t control, int lane) {
  const int amount = static_cast<int>(control & 0xf);
  if (control <= 0xff) return (lane & ~3) | static_cast<int>(control >> (2 * (lane & 3)) & 3);
  switch (control & ~0xfU) {
    case 0x100:  // row_shl: from higher lanes
      return lane + amount < kRow ? lane + amount : kNoLane;
    case 0x110:  // row_shr
      return lane - amount >= 0 ? lane - amount : kNoLane;
    case 0x120:  // row_ror
      return (lane - amount) & (kRow - 1);
    case 0x140:  // row_mirror, row_half_mirror
      return amount == 0 ? kRow - 1 - lane : lane ^ 7;
    case 0x150:  // row_share
      return amount;
    default:  // 0x160, row_xmask
      return lane ^ amount;
  }
}

}  // namespace

bool is_dpp_control(uint32_t control) {
  if (control <= 0xff) return true;
  switch (control & ~0xfU) {
    case 0x100:
    case 0x110:
    case 0x120:
      return (control & 0xf) != 0;
    case 0x140:
      return control <= 0x141;
    default:
      return control >= 0x150 && control <= 0x16f;
  }
}

Swizzle swizzle_of(const Instruction& i, uint32_t exec, int bank) {
  Swizzle out{};
  const bool is_dpp8 = i.dpp == Instruction::Dpp::kDpp8;
  for (int lane = 0; lane < static_cast<int>(kLanesOfRegister); ++lane) {
    const uint32_t bit = 1U << lane;
    int from;
    if (is_dpp8) {
      from = (lane & ~7) | static_cast<int>(i.dpp8_lanes >> (3 * (lane & 7)) & 7);
    } else {
      const int row = lane / kRow;
      const int in_row = source_in_row(i.dpp_ctrl, lane % kRow);
      from = in_row == kNoLane ? kNoLane : row * kRow + in_row;
      const bool row_enabled = (i.row_mask >> (bank * 2 + row) & 1) != 0;
      const bool bank_enabled = (i.bank_mask >> (lane % kRow / 4) & 1) != 0;
      if (!row_enabled || !bank_enabled) out.disabled |= bit;
    }
    const bool readable = from != kNoLane && (i.fetch_inactive || (exec >> from & 1) != 0);
    if (readable) {
      out.from[static_cast<size_t>(lane)] = static_cast<uint32_t>(from) * 4;
    } else {
      out.zero |= bit;
      // Without BOUND_CTRL a lane that has nothing to read writes nothing.
      if (!is_dpp8 && !i.bound_ctrl) out.disabled |= bit;
    }
  }
  return out;
}

const Swizzle* kept_swizzle(const Instruction& i) {
  static std::mutex mutex;
  static std::map<uint64_t, std::unique_ptr<const Swizzle>> kept;
  constexpr size_t kMost = 1024;  // data that was decoded as if it were code brings many
  const bool is_dpp8 = i.dpp == Instruction::Dpp::kDpp8;
  const uint64_t lanes = is_dpp8 ? i.dpp8_lanes
                                 : static_cast<uint64_t>(i.dpp_ctrl) |
                                       static_cast<uint64_t>(i.row_mask) << 9 |
                                       static_cast<uint64_t>(i.bank_mask) << 13 |
                                       static_cast<uint64_t>(i.bound_ctrl) << 17;
  const uint64_t key =
      lanes << 2 | static_cast<uint64_t>(i.fetch_inactive) << 1 | static_cast<uint64_t>(is_dpp8);
  const std::lock_guard lock(mutex);
  const auto found = kept.find(key);
  if (found != kept.end()) return found->second.get();
  if (kept.size() == kMost) return nullptr;
  return (kept[key] = std::make_unique<const Swizzle>(swizzle_of(i, ~0U, 0))).get();
}

}  // namespace outboard::simulator::compute::valu
