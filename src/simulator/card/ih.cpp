#include "simulator/card/ih.h"

#include <algorithm>
#include <cstring>

#include "hardware/amd/navi31/interrupts.h"
#include "hardware/amd/navi31/osssys.h"
#include "simulator/card/gmc.h"

namespace outboard::simulator::card {

namespace hw = hardware::amd::navi31;
namespace oss = hw::osssys;

Interrupts::Interrupts(Board& board) : board_(board) {
  board.registers.on_write<oss::IH_RB_CNTL>([this](uint32_t value) {
    const bool enabled = oss::IH_RB_CNTL::RB_ENABLE.get(value) != 0;
    if (enabled && !was_enabled_ && board_.is(Mood::kOldInterrupts)) raise_old();
    was_enabled_ = enabled;
    // A one clears the overflow; the bit is kept, and must be cleared before the next overflow can
    // be cleared (ih_v6_0.c, ih_v6_0_get_wptr).
    if (oss::IH_RB_CNTL::WPTR_OVERFLOW_CLEAR.get(value) != 0) {
      const uint32_t wptr = board_.registers.get<oss::IH_RB_WPTR>();
      board_.registers.set<oss::IH_RB_WPTR>(oss::IH_RB_WPTR::RB_OVERFLOW.put(wptr, 0));
    }
  });
}

// A page fault and a shader's error, of nobody who is still there.
void Interrupts::raise_old() {
  Entry fault;
  fault.client = hw::ih::SOC21_IH_CLIENTID_GFX;
  fault.source = hw::ih::GFX_11_0_0__SRCID__UTCL2_FAULT;
  raise(fault);
  Entry shader = fault;
  shader.source = hw::ih::GFX_11_0_0__SRCID__SQ_INTERRUPT_ID;
  raise(shader);
}

void Interrupts::raise(const Entry& entry) {
  using Layout = hw::ih::Entry;
  ++board_.counters.interrupts;
  RegisterFile& registers = board_.registers;
  const uint32_t control = registers.get<oss::IH_RB_CNTL>();
  if (oss::IH_RB_CNTL::RB_ENABLE.get(control) == 0) return;
  if (board_.fires("ih.lost-interrupt",
                   fmt::format("client {} source {}", entry.client, entry.source))) {
    return;
  }

  std::array<uint32_t, kEntryBytes / 4> words{};
  Layout::CLIENT_ID.put(words.data(), entry.client);
  Layout::SOURCE_ID.put(words.data(), entry.source);
  Layout::RING_ID.put(words.data(), entry.ring);
  Layout::VMID.put(words.data(), entry.vmid);
  Layout::VMID_TYPE.put(words.data(), entry.vmid_type);
  const uint64_t time = board_.clock();
  Layout::TIMESTAMP_LO.put(words.data(), static_cast<uint32_t>(time));
  Layout::TIMESTAMP_HI.put(words.data(), static_cast<uint32_t>(time >> 32));
  Layout::PASID.put(words.data(), entry.pasid);
  Layout::NODE_ID.put(words.data(), entry.node);
  Layout::CONTEXT_ID0.put(words.data(), entry.context[0]);
  Layout::CONTEXT_ID1.put(words.data(), entry.context[1]);
  Layout::CONTEXT_ID2.put(words.data(), entry.context[2]);
  Layout::CONTEXT_ID3.put(words.data(), entry.context[3]);

  // RB_SIZE: base 2 logarithm of the ring's dwords. The pointers reach no further than 256 KiB.
  const uint32_t ring_bytes =
      std::min<uint32_t>(4u << std::min(oss::IH_RB_CNTL::RB_SIZE.get(control), 16u), 256u << 10);
  const ControllerAddress base{
      (uint64_t{registers.get<oss::IH_RB_BASE_HI>()} << 32 | registers.get<oss::IH_RB_BASE>())
      << 8};
  uint32_t pointer = registers.get<oss::IH_RB_WPTR>();
  const uint32_t offset = oss::IH_RB_WPTR::OFFSET.get(pointer) * 4 % ring_bytes;
  const compute::Translation place = board_.mm_hub->resolve_physical(base + offset);
  if (place.host == nullptr || place.bytes < kEntryBytes) {
    board_.events.driver_error("ih", "the interrupt ring at {:#x} is no memory of the card", base);
    return;
  }
  std::memcpy(place.host, words.data(), kEntryBytes);

  const uint32_t next = (offset + kEntryBytes) % ring_bytes;
  pointer = oss::IH_RB_WPTR::OFFSET.put(pointer, next / 4);
  if (next == registers.get<oss::IH_RB_RPTR>() % ring_bytes &&
      oss::IH_RB_CNTL::WPTR_OVERFLOW_ENABLE.get(control) != 0) {
    pointer = oss::IH_RB_WPTR::RB_OVERFLOW.put(pointer, 1);
  }
  registers.set<oss::IH_RB_WPTR>(pointer);

  const ControllerAddress writeback{uint64_t{registers.get<oss::IH_RB_WPTR_ADDR_HI>()} << 32 |
                                    registers.get<oss::IH_RB_WPTR_ADDR_LO>()};
  if (oss::IH_RB_CNTL::WPTR_WRITEBACK_ENABLE.get(control) != 0 &&
      writeback != ControllerAddress{}) {
    const compute::Translation copy = board_.mm_hub->resolve_physical(writeback);
    if (copy.host == nullptr) {
      board_.events.driver_error("ih", "the write pointer's copy at {:#x} is no memory of the card",
                                 writeback);
    } else {
      std::memcpy(copy.host, &pointer, sizeof pointer);
    }
  }
}

}  // namespace outboard::simulator::card
