// The PM4 packets of the compute queues.
#include <algorithm>
#include <array>
#include <vector>

#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/interrupts.h"
#include "hardware/amd/navi31/pm4.h"
#include "simulator/card/atomics.h"
#include "simulator/card/gmc.h"
#include "simulator/card/mec.h"
#include "simulator/card/shader_arrays.h"
#include "simulator/compute/memory_order.h"

namespace outboard::simulator::card {

namespace hw = hardware::amd::navi31;
namespace gc = hw::gc;
namespace pm4 = hw::pm4;

namespace {

// Where a packet finds or puts data (nvd.h, WRITE_DATA_DST_SEL; COPY_DATA as tinygrad's ops_amd.py
// and the kernel's gfx_v11_0.c use it).
constexpr uint32_t kSelRegister = 0, kSelMemory = 1, kSelL2 = 2, kSelPerfCounter = 4;
constexpr uint32_t kSelMemoryAsync = 5, kSelImmediate = 5, kSelClock = 9;

// RELEASE_MEM: what is written, and when an interrupt is sent (nvd.h).
constexpr uint32_t kDataNone = 0, kData32 = 1, kData64 = 2, kDataClock = 3, kDataSystemClock = 4;
constexpr uint32_t kInterruptNone = 0;

constexpr uint32_t kScratchUnit = 256;  // bytes in COMPUTE_TMPRING_SIZE.WAVESIZE, GC 11

uint64_t join(uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; }

}  // namespace

std::optional<bool> compare(uint32_t function, uint64_t value, uint64_t reference) {
  switch (function) {
    case 0:
      return true;
    case 1:
      return value < reference;
    case 2:
      return value <= reference;
    case 3:
      return value == reference;
    case 4:
      return value != reference;
    case 5:
      return value >= reference;
    case 6:
      return value > reference;
    default:
      return std::nullopt;
  }
}

const Mec::Operation Mec::kOperations[] = {
    {pm4::NOP, "NOP", 1, &Mec::nop},
    {pm4::SET_SH_REG, "SET_SH_REG", 3, &Mec::set_sh_reg},
    {pm4::SET_SH_REG_INDEX, "SET_SH_REG_INDEX", 3, &Mec::set_sh_reg},
    {pm4::SET_UCONFIG_REG, "SET_UCONFIG_REG", 3, &Mec::set_uconfig_reg},
    {pm4::INDIRECT_BUFFER, "INDIRECT_BUFFER", 4, &Mec::indirect_buffer},
    {pm4::DISPATCH_DIRECT, "DISPATCH_DIRECT", 5, &Mec::dispatch_direct},
    {pm4::DISPATCH_INDIRECT, "DISPATCH_INDIRECT", 4, &Mec::dispatch_indirect},
    {pm4::RELEASE_MEM, "RELEASE_MEM", 8, &Mec::release_mem},
    {pm4::ACQUIRE_MEM, "ACQUIRE_MEM", 8, &Mec::acquire_mem},
    {pm4::WAIT_REG_MEM, "WAIT_REG_MEM", 7, &Mec::wait_reg_mem},
    {pm4::WRITE_DATA, "WRITE_DATA", 5, &Mec::write_data},
    {pm4::COPY_DATA, "COPY_DATA", 6, &Mec::copy_data},
    {pm4::COND_EXEC, "COND_EXEC", 5, &Mec::cond_exec},
    {pm4::PRED_EXEC, "PRED_EXEC", 2, &Mec::pred_exec},
    {pm4::EVENT_WRITE, "EVENT_WRITE", 2, &Mec::event_write},
    {pm4::DMA_DATA, "DMA_DATA", 7, &Mec::dma_data},
    {pm4::ATOMIC_MEM, "ATOMIC_MEM", 9, &Mec::atomic_mem},
};

Mec::Outcome Mec::execute(Queue& queue, Packet packet) {
  // A filler packet of type 2 is its header alone.
  if (pm4::Header::TYPE.get(packet.data()) == 2) return nop(queue, packet);
  const uint32_t opcode = pm4::Header::OPCODE.get(packet.data());
  const auto* const end = std::end(kOperations);
  const auto* operation =
      std::find_if(kOperations, end, [&](const Operation& o) { return o.opcode == opcode; });
  if (operation == end) {
    interrupt(queue, hw::ih::GFX_11_0_0__SRCID__CP_BAD_OPCODE_ERROR, opcode);
    return hang(queue,
                fmt::format("packet {:#010x} has the unknown opcode {:#x}", packet[0], opcode));
  }
  if (packet.size() < operation->least_dwords) {
    return hang(queue, fmt::format("{} of {} dwords, it takes {}", operation->name, packet.size(),
                                   operation->least_dwords));
  }
  if (const auto rule = board_.fires("mec.queue-hang", operation->name)) {
    queue.hung = true;
    return Outcome::kHang;
  }
  const Outcome outcome = (this->*operation->run)(queue, packet);
  if (outcome == Outcome::kDone) ++board_.counters.pm4_packets;
  return outcome;
}

Mec::Outcome Mec::nop(Queue& queue, Packet packet) {
  advance(queue, packet.size());
  return Outcome::kDone;
}

Mec::Outcome Mec::set_registers(Queue& queue, Packet packet, uint32_t start, uint32_t end) {
  const uint32_t first = start + pm4::SetReg::REG_OFFSET.get(packet.data());
  const auto count = static_cast<uint32_t>(packet.size() - 2);
  if (first + count > end) {
    return hang(queue, fmt::format("registers {:#x} to {:#x} are outside {:#x} to {:#x}", first,
                                   first + count, start, end));
  }
  for (uint32_t i = 0; i < count; ++i) board_.registers.write(first + i, packet[2 + i]);
  advance(queue, packet.size());
  return Outcome::kDone;
}

Mec::Outcome Mec::set_sh_reg(Queue& queue, Packet packet) {
  return set_registers(queue, packet, pm4::SET_SH_REG_START, pm4::SET_SH_REG_END);
}

Mec::Outcome Mec::set_uconfig_reg(Queue& queue, Packet packet) {
  // nvd.h ends the range at 0xc400, yet GRBM and performance registers beyond it are set this way
  // on GC 11; the packet's 16-bit offset is the limit that counts.
  constexpr uint32_t kReach = 1u << 16;
  return set_registers(queue, packet, pm4::SET_UCONFIG_REG_START,
                       pm4::SET_UCONFIG_REG_START + kReach);
}

Mec::Outcome Mec::indirect_buffer(Queue& queue, Packet packet) {
  using Ib = pm4::IndirectBuffer;
  constexpr size_t kDepth = 3;  // ring, first and second level, as on the card
  const uint64_t address = join(packet[Ib::IB_BASE_LO.dword], Ib::IB_BASE_HI.get(packet.data()));
  const uint32_t size = Ib::IB_SIZE.get(packet.data());
  if (Ib::VALID.get(packet.data()) == 0)
    return hang(queue, "INDIRECT_BUFFER without its valid bit");
  if (address % 4 != 0) return hang(queue, fmt::format("indirect buffer at {:#x}", address));
  const bool chain = Ib::CHAIN.get(packet.data()) != 0;
  advance(queue, packet.size());
  if (chain) {
    if (queue.buffers.empty()) return hang(queue, "a chained INDIRECT_BUFFER in the ring");
    queue.buffers.pop_back();
  }
  if (queue.buffers.size() + 1 >= kDepth) return hang(queue, "indirect buffers nested too deep");
  queue.buffers.push_back({address, size, 0});
  return Outcome::kDone;
}

Mec::Outcome Mec::dispatch_direct(Queue& queue, Packet packet) {
  using Direct = pm4::DispatchDirect;
  return dispatch(queue,
                  {Direct::DIM_X.get(packet.data()), Direct::DIM_Y.get(packet.data()),
                   Direct::DIM_Z.get(packet.data())},
                  Direct::INITIATOR.get(packet.data()));
}

Mec::Outcome Mec::dispatch_indirect(Queue& queue, Packet packet) {
  using Indirect = pm4::DispatchIndirect;
  const uint64_t address =
      join(Indirect::ADDR_LO.get(packet.data()), Indirect::ADDR_HI.get(packet.data()));
  std::array<uint32_t, 3> groups{};
  if (!load(queue, address, groups)) return hang(queue, "DISPATCH_INDIRECT cannot read its counts");
  return dispatch(queue, groups, Indirect::INITIATOR.get(packet.data()));
}

Mec::Outcome Mec::dispatch(Queue& queue, std::array<uint32_t, 3> groups, uint32_t initiator) {
  using Initiator = gc::COMPUTE_DISPATCH_INITIATOR;
  const RegisterFile& registers = board_.registers;
  const size_t packet_dwords = packet_.size();
  if (Initiator::COMPUTE_SHADER_EN.get(initiator) == 0) {
    board_.events.driver_error("mec", "{}: a dispatch without COMPUTE_SHADER_EN does nothing",
                               place(queue));
    advance(queue, packet_dwords);
    return Outcome::kDone;
  }
  compute::Dispatch work;
  work.program = registers.get64<gc::COMPUTE_PGM_LO, gc::COMPUTE_PGM_HI>() << 8;
  work.pgm_rsrc1 = registers.get<gc::COMPUTE_PGM_RSRC1>();
  work.pgm_rsrc2 = registers.get<gc::COMPUTE_PGM_RSRC2>();
  work.pgm_rsrc3 = registers.get<gc::COMPUTE_PGM_RSRC3>();
  for (uint32_t i = 0; i < work.user_data.size(); ++i) {
    work.user_data[i] = registers.peek(gc::COMPUTE_USER_DATA_0::kAddress + i);
  }
  work.wave32 = Initiator::CS_W32_EN.get(initiator) != 0;
  if (work.wave32 && board_.is(Mood::kUserSgprs) &&
      compute::initial_sgprs(work.pgm_rsrc2) < compute::kLeastSgprs) {
    for (uint32_t& word : work.user_data) word = ~word;
  }
  work.workgroup_size = {
      gc::COMPUTE_NUM_THREAD_X::NUM_THREAD_FULL.get(registers.get<gc::COMPUTE_NUM_THREAD_X>()),
      gc::COMPUTE_NUM_THREAD_Y::NUM_THREAD_FULL.get(registers.get<gc::COMPUTE_NUM_THREAD_Y>()),
      gc::COMPUTE_NUM_THREAD_Z::NUM_THREAD_FULL.get(registers.get<gc::COMPUTE_NUM_THREAD_Z>())};
  if (Initiator::FORCE_START_AT_000.get(initiator) == 0) {
    work.start = {registers.get<gc::COMPUTE_START_X>(), registers.get<gc::COMPUTE_START_Y>(),
                  registers.get<gc::COMPUTE_START_Z>()};
  }
  for (size_t i = 0; i < groups.size(); ++i) {
    if (work.workgroup_size[i] == 0) return hang(queue, "a dispatch with workgroups of no threads");
    uint32_t count = groups[i];
    if (Initiator::USE_THREAD_DIMENSIONS.get(initiator) != 0) {
      if (count % work.workgroup_size[i] != 0) {
        board_.events.not_simulated("mec", "a grid of threads that ends inside a workgroup");
        return hang(queue, "partial workgroups are not simulated");
      }
      count /= work.workgroup_size[i];
    }
    // The packet's numbers are ends, counted from zero.
    work.workgroups[i] = count > work.start[i] ? count - work.start[i] : 0;
  }
  work.scratch_base =
      registers.get64<gc::COMPUTE_DISPATCH_SCRATCH_BASE_LO, gc::COMPUTE_DISPATCH_SCRATCH_BASE_HI>()
      << 8;
  const uint32_t ring = registers.get<gc::COMPUTE_TMPRING_SIZE>();
  work.scratch_bytes_per_wave = gc::COMPUTE_TMPRING_SIZE::WAVESIZE.get(ring) * kScratchUnit;
  work.scratch_waves = gc::COMPUTE_TMPRING_SIZE::WAVES.get(ring);

  const CardModel& model = *board_.options.model;
  const std::array<uint32_t, 8> units{registers.get<gc::COMPUTE_STATIC_THREAD_MGMT_SE0>(),
                                      registers.get<gc::COMPUTE_STATIC_THREAD_MGMT_SE1>(),
                                      registers.get<gc::COMPUTE_STATIC_THREAD_MGMT_SE2>(),
                                      registers.get<gc::COMPUTE_STATIC_THREAD_MGMT_SE3>(),
                                      registers.get<gc::COMPUTE_STATIC_THREAD_MGMT_SE4>(),
                                      registers.get<gc::COMPUTE_STATIC_THREAD_MGMT_SE5>(),
                                      registers.get<gc::COMPUTE_STATIC_THREAD_MGMT_SE6>(),
                                      registers.get<gc::COMPUTE_STATIC_THREAD_MGMT_SE7>()};
  uint32_t enabled = 0;
  for (uint32_t engine = 0; engine < model.chip->die.engines; ++engine)
    enabled |= units.at(engine) & model.active_units(engine);
  if (enabled == 0)
    return hang(queue, "COMPUTE_STATIC_THREAD_MGMT enables no compute unit that the card has");
  if (!board_.arrays->is_broadcast()) {
    board_.events.driver_error(
        "mec", "{}: a dispatch while GRBM_GFX_INDEX selects one shader array", place(queue));
  }
  {
    // SH_MEM_* has a copy for each VMID.
    RegisterFile::Selection selection = queue.selection;
    selection.vmid = queue.vmid;
    const SelectionGuard guard(board_.registers, selection);
    const uint32_t bases = registers.get<gc::SH_MEM_BASES>();
    const auto aperture = [](uint32_t base) { return uint64_t{base} << 48; };
    work.shared_base = aperture(gc::SH_MEM_BASES::SHARED_BASE.get(bases));
    work.private_base = aperture(gc::SH_MEM_BASES::PRIVATE_BASE.get(bases));
  }

  if (work.workgroups[0] == 0 || work.workgroups[1] == 0 || work.workgroups[2] == 0) {
    advance(queue, packet_dwords);
    return Outcome::kDone;
  }
  const Outcome outcome = run_dispatch(queue, work);
  if (outcome == Outcome::kDone) advance(queue, packet_dwords);
  return outcome;
}

Mec::Outcome Mec::release_mem(Queue& queue, Packet packet) {
  using Release = pm4::ReleaseMem;
  const uint32_t* p = packet.data();
  if (board_.registers.get64<gc::CP_HQD_EOP_BASE_ADDR, gc::CP_HQD_EOP_BASE_ADDR_HI>() == 0) {
    return hang(queue, "RELEASE_MEM on a queue without an end-of-pipe buffer");
  }
  CacheActions actions;
  actions.glv_invalidate = Release::GCR_GLV_INV.get(p) != 0;
  actions.gl1_invalidate = Release::GCR_GL1_INV.get(p) != 0;
  actions.gl2_invalidate = Release::GCR_GL2_INV.get(p) != 0;
  actions.gl2_writeback = Release::GCR_GL2_WB.get(p) != 0;
  apply(actions);

  const uint64_t address = join(Release::ADDRESS_LO.get(p), Release::ADDRESS_HI.get(p));
  const uint64_t data = join(Release::DATA_LO.get(p), Release::DATA_HI.get(p));
  const uint32_t select = Release::DATA_SEL.get(p);
  const uint64_t alignment = select == kData32 ? 4 : 8;
  if (select != kDataNone && address % alignment != 0) {
    return hang(queue, fmt::format("RELEASE_MEM writes {} bytes at {:#x}", alignment, address));
  }
  bool stored = true;
  switch (select) {
    case kDataNone:
      break;
    case kData32:
      stored = store(queue, address, static_cast<uint32_t>(data));
      break;
    case kData64:
      stored = store(queue, address, data);
      break;
    case kDataClock:
    case kDataSystemClock:
      stored = store(queue, address, board_.clock());
      break;
    default:
      return hang(queue, fmt::format("RELEASE_MEM with data select {}", select));
  }
  if (!stored) return hang(queue, fmt::format("RELEASE_MEM cannot write {:#x}", address));
  released_ = true;
  if (Release::INT_SEL.get(p) != kInterruptNone) {
    const uint32_t control = board_.registers.get<gc::CP_ME1_PIPE0_INT_CNTL>();
    if (gc::CP_ME1_PIPE0_INT_CNTL::TIME_STAMP_INT_ENABLE.get(control) != 0) {
      interrupt(queue, hw::ih::GFX_11_0_0__SRCID__CP_EOP_INTERRUPT, Release::INT_CTXID.get(p));
    }
  }
  advance(queue, packet.size());
  return Outcome::kDone;
}

Mec::Outcome Mec::acquire_mem(Queue& queue, Packet packet) {
  using Acquire = pm4::AcquireMem;
  const uint32_t* p = packet.data();
  CacheActions actions;
  actions.gli_invalidate = Acquire::GCR_GLI_INV.get(p) != 0;
  actions.glk_invalidate = Acquire::GCR_GLK_INV.get(p) != 0;
  actions.glk_writeback = Acquire::GCR_GLK_WB.get(p) != 0;
  actions.glv_invalidate = Acquire::GCR_GLV_INV.get(p) != 0;
  actions.gl1_invalidate = Acquire::GCR_GL1_INV.get(p) != 0;
  actions.gl2_invalidate = Acquire::GCR_GL2_INV.get(p) != 0;
  actions.gl2_writeback = Acquire::GCR_GL2_WB.get(p) != 0;
  apply(actions);
  advance(queue, packet.size());
  return Outcome::kDone;
}

Mec::Outcome Mec::wait_reg_mem(Queue& queue, Packet packet) {
  using Wait = pm4::WaitRegMem;
  constexpr uint32_t kSpaceRegister = 0, kSpaceMemory = 1;
  constexpr uint32_t kOperationWait = 0, kOperationWriteThenWait = 1;
  const uint32_t* p = packet.data();
  const uint32_t low = Wait::POLL_ADDR_LO.get(p), high = Wait::POLL_ADDR_HI.get(p);
  const uint32_t reference = Wait::REFERENCE.get(p), mask = Wait::MASK.get(p);
  uint32_t value = 0;
  const uint32_t space = Wait::MEM_SPACE.get(p), operation = Wait::OPERATION.get(p);
  if (space == kSpaceMemory && operation == kOperationWait) {
    const uint64_t address = join(low, high);
    if (address % 4 != 0) return hang(queue, fmt::format("WAIT_REG_MEM at {:#x}", address));
    if (!load(queue, address, value, false)) {
      return hang(queue, fmt::format("WAIT_REG_MEM cannot read {:#x}", address));
    }
  } else if (space == kSpaceRegister && operation == kOperationWait) {
    value = board_.registers.read(low);
  } else if (space == kSpaceRegister && operation == kOperationWriteThenWait) {
    // The reference is written to the first register, then the second is looked at.
    board_.registers.write(low, reference);
    value = board_.registers.read(high);
  } else {
    return hang(queue, fmt::format("WAIT_REG_MEM in space {} with operation {}", space, operation));
  }
  const auto met = compare(Wait::FUNCTION.get(p), value & mask, reference);
  if (!met) return hang(queue, "WAIT_REG_MEM with an unknown function");
  if (!*met) return Outcome::kWait;
  if (space == kSpaceMemory && released_) work_complete();
  advance(queue, packet.size());
  return Outcome::kDone;
}

Mec::Outcome Mec::write_data(Queue& queue, Packet packet) {
  using Write = pm4::WriteData;
  const uint32_t* p = packet.data();
  const uint32_t select = Write::DST_SEL.get(p);
  const uint64_t address = join(Write::DST_ADDR_LO.get(p), Write::DST_ADDR_HI.get(p));
  const bool one_address = Write::WR_ONE_ADDR.get(p) != 0;
  const Packet data = packet.subspan(4);
  for (size_t i = 0; i < data.size(); ++i) {
    const uint64_t step = one_address ? 0 : i;
    if (select == kSelRegister) {
      board_.registers.write(static_cast<uint32_t>(address + step), data[i]);
    } else if (select == kSelMemory || select == kSelL2 || select == kSelMemoryAsync) {
      if (!store(queue, address + step * 4, data[i])) {
        return hang(queue, fmt::format("WRITE_DATA cannot write {:#x}", address + step * 4));
      }
    } else {
      return hang(queue, fmt::format("WRITE_DATA to destination {}", select));
    }
  }
  advance(queue, packet.size());
  return Outcome::kDone;
}

Mec::Outcome Mec::copy_data(Queue& queue, Packet packet) {
  using Copy = pm4::CopyData;
  const uint32_t* p = packet.data();
  const uint64_t source = join(Copy::SRC_ADDR_LO.get(p), Copy::SRC_ADDR_HI.get(p));
  const uint64_t target = join(Copy::DST_ADDR_LO.get(p), Copy::DST_ADDR_HI.get(p));
  const bool wide = Copy::COUNT_SEL.get(p) != 0;
  uint64_t value = 0;
  switch (Copy::SRC_SEL.get(p)) {
    case kSelRegister:
    case kSelPerfCounter:
      value = board_.registers.read(static_cast<uint32_t>(source));
      if (wide) value |= uint64_t{board_.registers.read(static_cast<uint32_t>(source) + 1)} << 32;
      break;
    case kSelMemory:
    case kSelL2: {
      uint32_t narrow = 0;
      const bool loaded = wide ? load(queue, source, value) : load(queue, source, narrow);
      if (!loaded) return hang(queue, fmt::format("COPY_DATA cannot read {:#x}", source));
      if (!wide) value = narrow;
      break;
    }
    case kSelImmediate:
      value = source;
      break;
    case kSelClock:
      value = board_.clock();
      break;
    default:
      return hang(queue, fmt::format("COPY_DATA from source {}", Copy::SRC_SEL.get(p)));
  }
  switch (Copy::DST_SEL.get(p)) {
    case kSelRegister:
    case kSelPerfCounter:
      board_.registers.write(static_cast<uint32_t>(target), static_cast<uint32_t>(value));
      if (wide) {
        board_.registers.write(static_cast<uint32_t>(target) + 1,
                               static_cast<uint32_t>(value >> 32));
      }
      break;
    case kSelMemory:
    case kSelL2:
    case kSelMemoryAsync: {
      const bool stored =
          wide ? store(queue, target, value) : store(queue, target, static_cast<uint32_t>(value));
      if (!stored) return hang(queue, fmt::format("COPY_DATA cannot write {:#x}", target));
      break;
    }
    default:
      return hang(queue, fmt::format("COPY_DATA to destination {}", Copy::DST_SEL.get(p)));
  }
  advance(queue, packet.size());
  return Outcome::kDone;
}

Mec::Outcome Mec::cond_exec(Queue& queue, Packet packet) {
  using Cond = pm4::CondExec;
  const uint32_t* p = packet.data();
  const uint64_t address = join(Cond::ADDR_LO.get(p), Cond::ADDR_HI.get(p));
  uint32_t flag = 0;
  if (!load(queue, address, flag)) return hang(queue, "COND_EXEC cannot read its flag");
  if (queue.buffers.empty() && board_.is(Mood::kConditionInRing)) {
    queue.hung = true;
    return Outcome::kHang;
  }
  const uint32_t skipped = flag != 0 ? 0 : Cond::EXEC_COUNT.get(p);
  if (skipped > available(queue) - packet.size()) {
    return hang(queue, "COND_EXEC skips more than there is");
  }
  advance(queue, packet.size() + skipped);
  return Outcome::kDone;
}

Mec::Outcome Mec::pred_exec(Queue& queue, Packet packet) {
  using Pred = pm4::PredExec;
  const uint32_t* p = packet.data();
  const bool mine = (Pred::DEVICE_SELECT.get(p) & 1) != 0;  // one card, one die: number 0
  const uint32_t skipped = mine ? 0 : Pred::EXEC_COUNT.get(p);
  if (skipped > available(queue) - packet.size()) {
    return hang(queue, "PRED_EXEC skips more than there is");
  }
  advance(queue, packet.size() + skipped);
  return Outcome::kDone;
}

Mec::Outcome Mec::event_write(Queue& queue, Packet packet) {
  // Dispatches run to their end before the next packet; performance and trace events have nobody to
  // hear them.
  if (pm4::EventWrite::EVENT_TYPE.get(packet.data()) == pm4::CS_PARTIAL_FLUSH) work_complete();
  advance(queue, packet.size());
  return Outcome::kDone;
}

Mec::Outcome Mec::dma_data(Queue& queue, Packet packet) {
  using Dma = pm4::DmaData;
  constexpr uint32_t kAddress = 0, kData = 2, kAddressL2 = 3;
  constexpr uint64_t kPiece = 1 << 16;
  const uint32_t* p = packet.data();
  const uint32_t from = Dma::SRC_SEL.get(p), to = Dma::DST_SEL.get(p);
  if ((to != kAddress && to != kAddressL2) || Dma::SAS.get(p) != 0 || Dma::DAS.get(p) != 0) {
    board_.events.not_simulated("mec", "DMA_DATA to or from registers or GDS");
    return hang(queue, "DMA_DATA of a kind that is not simulated");
  }
  uint64_t source = join(Dma::SRC_ADDR_LO.get(p), Dma::SRC_ADDR_HI.get(p));
  uint64_t target = join(Dma::DST_ADDR_LO.get(p), Dma::DST_ADDR_HI.get(p));
  uint64_t left = Dma::BYTE_COUNT.get(p);
  std::vector<std::byte> piece(std::min(left, kPiece));
  if (from == kData) {
    const uint32_t word = Dma::SRC_ADDR_LO.get(p);
    for (size_t i = 0; i < piece.size(); ++i)
      piece[i] = static_cast<std::byte>(word >> (8 * (i % 4)));
  } else if (from != kAddress && from != kAddressL2) {
    return hang(queue, fmt::format("DMA_DATA from source {}", from));
  }
  if (compute::MemoryOrder* order = board_.compute->order()) {
    order->engine_write("command processor", target, left);
  }
  Hub& hub = *board_.gc_hub;
  while (left > 0) {
    const std::span<std::byte> part(piece.data(), std::min<uint64_t>(left, piece.size()));
    if (from != kData && !hub.read(queue.vmid, source, part, Client::kCp)) {
      return hang(queue, fmt::format("DMA_DATA cannot read {:#x}", source));
    }
    if (!hub.write(queue.vmid, target, part, Client::kCp)) {
      return hang(queue, fmt::format("DMA_DATA cannot write {:#x}", target));
    }
    source += part.size();
    target += part.size();
    left -= part.size();
  }
  advance(queue, packet.size());
  return Outcome::kDone;
}

Mec::Outcome Mec::atomic_mem(Queue& queue, Packet packet) {
  using Atomic = pm4::AtomicMem;
  constexpr uint32_t kSinglePass = 0, kLoopUntilCompared = 1;
  const uint32_t* p = packet.data();
  const uint64_t address = join(Atomic::ADDR_LO.get(p), Atomic::ADDR_HI.get(p));
  const uint64_t source = join(Atomic::SRC_DATA_LO.get(p), Atomic::SRC_DATA_HI.get(p));
  const uint64_t comparand = join(Atomic::CMP_DATA_LO.get(p), Atomic::CMP_DATA_HI.get(p));
  const uint32_t operation = Atomic::ATOMIC.get(p), command = Atomic::COMMAND.get(p);
  const auto width = apply_atomic(operation, 0, 0, 0);
  if (!width || (command != kSinglePass && command != kLoopUntilCompared)) {
    return hang(queue,
                fmt::format("ATOMIC_MEM with operation {:#x}, command {}", operation, command));
  }
  if (address % static_cast<uint64_t>(width->bytes) != 0) {
    return hang(queue, fmt::format("ATOMIC_MEM at {:#x}", address));
  }
  uint64_t memory = 0;
  uint32_t narrow = 0;
  const bool loaded =
      width->bytes == 8 ? load(queue, address, memory, false) : load(queue, address, narrow, false);
  if (!loaded) return hang(queue, fmt::format("ATOMIC_MEM cannot read {:#x}", address));
  if (width->bytes == 4) memory = narrow;
  const uint64_t mask = width->bytes == 8 ? ~0ull : 0xffffffffull;
  if (command == kLoopUntilCompared && width->compare && memory != (comparand & mask)) {
    return Outcome::kWait;
  }
  const uint64_t value =
      apply_atomic(operation, memory, source, comparand).value_or(AtomicResult{}).value;
  const bool stored = width->bytes == 8 ? store(queue, address, value)
                                        : store(queue, address, static_cast<uint32_t>(value));
  if (!stored) return hang(queue, fmt::format("ATOMIC_MEM cannot write {:#x}", address));
  advance(queue, packet.size());
  return Outcome::kDone;
}

}  // namespace outboard::simulator::card
