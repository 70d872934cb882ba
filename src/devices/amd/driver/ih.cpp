// Interrupts: a ring in VRAM that is read when something went wrong; fences are watched in system
// memory instead. Source: Linux amdgpu ih_v6_0.c; tinygrad 0.14.0, runtime/support/am/ip.py
// (AM_IH).
#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "devices/amd/driver/blocks.h"
#include "devices/amd/driver/memory.h"
#include "hardware/amd/navi31/address_space.h"
#include "hardware/amd/navi31/bring_up.h"
#include "hardware/amd/navi31/interrupts.h"
#include "hardware/amd/navi31/osssys.h"
#include "support/error.h"

namespace outboard::devices::amd::driver::ih {
namespace {

namespace reg = hw::osssys;
namespace source = hw::ih;

constexpr uint32_t kRingBytes = 256 << 10;
constexpr uint32_t kRingDwords = kRingBytes / 4;
constexpr uint32_t kLogDwords = 16;
static_assert(1U << kLogDwords == kRingDwords);

std::string_view name_of(uint32_t id) {
  switch (id) {
    case source::GFX_11_0_0__SRCID__UTCL2_FAULT:
      return "page fault";
    case source::GFX_11_0_0__SRCID__SQ_INTERRUPT_ID:
      return "shader";
    case source::GFX_11_0_0__SRCID__CP_BAD_OPCODE_ERROR:
      return "command processor: bad opcode";
    case source::GFX_11_0_0__SRCID__CP_PRIV_REG_FAULT:
      return "command processor: privileged register";
    case source::GFX_11_0_0__SRCID__CP_PRIV_INSTR_FAULT:
      return "command processor: privileged packet";
    case source::GFX_11_0_0__SRCID__CP_ECC_ERROR:
      return "memory error (ECC)";
    case source::GFX_11_0_0__SRCID__SDMA_QUEUE_HANG:
      return "SDMA queue hangs";
    case source::GFX_11_0_0__SRCID__SDMA_PAGE_FAULT:
      return "SDMA page fault";
    default:
      return {};
  }
}

bool is_ordinary(uint32_t id) {
  return id == source::GFX_11_0_0__SRCID__CP_EOP_INTERRUPT ||
         id == source::GFX_11_0_0__SRCID__SDMA_TRAP ||
         id == source::GFX_11_0_0__SRCID__CP_CTX_BUSY_INTERRUPT ||
         id == source::GFX_11_0_0__SRCID__CP_CTX_EMPTY_INTERRUPT;
}

std::string describe(const uint32_t* entry) {
  const uint32_t id = source::Entry::SOURCE_ID.get(entry);
  std::string text =
      fmt::format("client {:#x}, source {:#x}", source::Entry::CLIENT_ID.get(entry), id);
  if (const std::string_view name = name_of(id); !name.empty()) text = name;
  if (source::Entry::CLIENT_ID.get(entry) == source::SOC21_IH_CLIENTID_BIF &&
      id == source::NBIF_7_4__SRCID__ERREVENT_ATHUB_INTERRUPT)
    return "memory error, reported by the bus interface";
  if (id == source::GFX_11_0_0__SRCID__SQ_INTERRUPT_ID) {
    static constexpr std::array<std::string_view, 4> kErrors = {
        "uncorrectable memory error", "illegal instruction", "memory violation",
        "detected memory error"};
    const uint32_t* context = entry + source::Entry::CONTEXT_ID0.dword;
    if (source::SqInterrupt::ENCODING.get(context) == source::kSqError) {
      text += fmt::format(": {}",
                          kErrors[source::SqInterrupt::ERROR_TYPE.get(context) % kErrors.size()]);
    }
  }
  return text;
}

// One that comes hundreds of times is said once.
std::vector<std::string> counted(const std::vector<std::string>& lines) {
  std::vector<std::pair<std::string, size_t>> counts;
  for (const std::string& line : lines) {
    const auto same = std::ranges::find(counts, line, &std::pair<std::string, size_t>::first);
    if (same != counts.end()) {
      ++same->second;
    } else {
      counts.emplace_back(line, 1);
    }
  }
  std::vector<std::string> out;
  for (const auto& [line, count] : counts)
    out.push_back(count == 1 ? line : fmt::format("{} ({} times)", line, count));
  return out;
}

}  // namespace

// As AM_IH.init_hw; ih_v6_0_irq_init.
void init(Context& c) {
  Registers& r = c.registers;
  using Cntl = reg::IH_RB_CNTL;
  using Cntl1 = reg::IH_RB_CNTL_RING1;
  const ControllerAddress ring = c.controller_address(layout::kInterruptRing);
  r.set_pair<reg::IH_RB_BASE, reg::IH_RB_BASE_HI>(value(ring) >> hw::kRingShift);
  r.set<Cntl>(Cntl::MC_SPACE(source::kMcSpace) | Cntl::WPTR_OVERFLOW_CLEAR(1) |
              Cntl::RB_SIZE(kLogDwords) | Cntl::MC_SNOOP(1) | Cntl::WPTR_OVERFLOW_ENABLE(1) |
              Cntl::RPTR_REARM(1));
  r.set_pair<reg::IH_RB_WPTR_ADDR_LO, reg::IH_RB_WPTR_ADDR_HI>(
      value(c.controller_address(layout::kInterruptPointer)));
  r.set<reg::IH_RB_WPTR>(0);
  r.set<reg::IH_RB_RPTR>(0);
  r.set<reg::IH_DOORBELL_RPTR>(0);
  r.set_pair<reg::IH_RB_BASE_RING1, reg::IH_RB_BASE_HI_RING1>(value(ring + kRingBytes) >>
                                                              hw::kRingShift);
  r.set<Cntl1>(Cntl1::MC_SPACE(source::kMcSpace) | Cntl1::WPTR_OVERFLOW_CLEAR(1) |
               Cntl1::RB_SIZE(kLogDwords) | Cntl1::MC_SNOOP(1) | Cntl1::RB_FULL_DRAIN_ENABLE(1));
  r.set<reg::IH_RB_WPTR_RING1>(0);
  r.set<reg::IH_RB_RPTR_RING1>(0);
  r.set<reg::IH_DOORBELL_RPTR_RING1>(0);
  // Fault storms must not drown the rest.
  r.update<reg::IH_STORM_CLIENT_LIST_CNTL>(
      {{reg::IH_STORM_CLIENT_LIST_CNTL::CLIENT18_IS_STORM_CLIENT, 1}});
  r.update<reg::IH_INT_FLOOD_CNTL>({{reg::IH_INT_FLOOD_CNTL::FLOOD_CNTL_ENABLE, 1}});
  r.update<reg::IH_MSI_STORM_CTRL>({{reg::IH_MSI_STORM_CTRL::DELAY, source::kStormDelay}});
  r.update<Cntl>({{Cntl::RB_ENABLE, 1}, {Cntl::ENABLE_INTR, 1}});
  r.update<Cntl1>({{Cntl1::RB_ENABLE, 1}});
}

bool has_entries(Context& c) {
  using Pointer = reg::IH_RB_WPTR;
  const uint32_t pointer = c.registers.get<Pointer>();
  return pointer != 0xffffffff &&
         Pointer::OFFSET.get(pointer) != Pointer::OFFSET.get(c.registers.get<reg::IH_RB_RPTR>());
}

// As AM_IH.interrupt_handler and .drain; ih_v6_0_get_wptr.
std::vector<std::string> drain(Context& c) {
  Registers& r = c.registers;
  std::vector<std::string> out;
  const uint32_t pointer = r.get<reg::IH_RB_WPTR>();
  if (pointer == 0xffffffff) return {"the card does not answer"};
  const uint32_t end = reg::IH_RB_WPTR::OFFSET.get(pointer) % kRingDwords;
  uint32_t at = reg::IH_RB_WPTR::OFFSET.get(r.get<reg::IH_RB_RPTR>()) % kRingDwords;
  while (at != end) {
    std::array<uint32_t, source::kEntryDwords> entry{};
    c.read_vram(layout::kInterruptRing + uint64_t{at} * 4,
                std::as_writable_bytes(std::span(entry)));
    if (!is_ordinary(source::Entry::SOURCE_ID.get(entry.data())))
      out.push_back(describe(entry.data()));
    at = (at + source::kEntryDwords) % kRingDwords;
  }
  r.set<reg::IH_RB_RPTR>(reg::IH_RB_WPTR::OFFSET(end));
  if (reg::IH_RB_WPTR::RB_OVERFLOW.get(pointer) != 0) {
    out.emplace_back("interrupts were lost: the ring ran over");
    r.update<reg::IH_RB_CNTL>({{reg::IH_RB_CNTL::WPTR_OVERFLOW_CLEAR, 1}});
    r.update<reg::IH_RB_CNTL>({{reg::IH_RB_CNTL::WPTR_OVERFLOW_CLEAR, 0}});
  }
  return counted(out);
}

}  // namespace outboard::devices::amd::driver::ih
