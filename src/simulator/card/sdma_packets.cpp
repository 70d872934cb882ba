// The packets of the SDMA engines.
#include <algorithm>
#include <array>
#include <cstring>

#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/interrupts.h"
#include "hardware/amd/navi31/sdma_packets.h"
#include "simulator/card/atomics.h"
#include "simulator/card/ih.h"
#include "simulator/card/mec.h"
#include "simulator/card/nbio.h"
#include "simulator/card/sdma.h"
#include "simulator/compute/cache_model.h"
#include "simulator/compute/memory_order.h"

namespace outboard::simulator::card {

namespace hw = hardware::amd::navi31;
namespace sd = hw::sdma;

namespace {

// Shaders must not see old copies of what the engine writes.
void tell_shaders(Board& board, uint64_t address, uint64_t bytes) {
  if (compute::MemoryOrder* order = board.compute->order())
    order->engine_write("sdma", address, bytes);
  if (compute::CacheModel* caches = board.compute->caches()) caches->forget(address, bytes);
}

uint64_t join(uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; }

}  // namespace

Sdma::Outcome Sdma::execute(Queue& queue, Packet packet) {
  switch (sd::Nop::HEADER_op.get(packet.data())) {
    case sd::OP_COPY:
      return copy(queue, packet);
    case sd::OP_WRITE:
      return write(queue, packet);
    case sd::OP_INDIRECT:
      return indirect(queue, packet);
    case sd::OP_FENCE:
      return fence(queue, packet);
    case sd::OP_TRAP:
      return trap(queue, packet);
    case sd::OP_POLL_REGMEM:
      return poll(queue, packet);
    case sd::OP_COND_EXE:
      return conditional(queue, packet);
    case sd::OP_ATOMIC:
      return atomic(queue, packet);
    case sd::OP_CONST_FILL:
      return fill(queue, packet);
    case sd::OP_TIMESTAMP:
      return timestamp(queue, packet);
    case sd::OP_SRBM_WRITE:
      return register_write(queue, packet);
    case sd::OP_PRE_EXE: {
      const bool mine = (sd::PreExe::HEADER_dev_sel.get(packet.data()) & 1) != 0;
      const uint32_t skipped = mine ? 0 : sd::PreExe::EXEC_COUNT_exec_count.get(packet.data());
      if (skipped > available(queue) - packet.size())
        return hang(queue, "PRE_EXE skips more than there is");
      advance(queue, packet.size() + skipped);
      return Outcome::kDone;
    }
    // The engine's accesses bypass the shaders' caches here, so there is nothing to flush.
    case sd::OP_GCR_REQ:
    case sd::OP_NOP:
      advance(queue, packet.size());
      return Outcome::kDone;
    default:
      return hang(queue, "a packet that is not simulated");
  }
}

Sdma::Outcome Sdma::copy(Queue& queue, Packet packet) {
  using Copy = sd::CopyLinear;
  constexpr size_t kPiece = 1 << 16;
  const uint32_t* p = packet.data();
  uint64_t source =
      join(Copy::SRC_ADDR_LO_src_addr_31_0.get(p), Copy::SRC_ADDR_HI_src_addr_63_32.get(p));
  uint64_t target =
      join(Copy::DST_ADDR_LO_dst_addr_31_0.get(p), Copy::DST_ADDR_HI_dst_addr_63_32.get(p));
  uint64_t left = uint64_t{Copy::COUNT_count.get(p)} + 1;
  if (Copy::HEADER_broadcast.get(p) != 0 || Copy::HEADER_backwards.get(p) != 0) {
    return hang(queue, "COPY with broadcast or backwards is not simulated");
  }
  if (source < target + left && target < source + left) {
    board_.events.note("sdma", "{}: COPY with overlapping source and target", place(queue));
  }
  if (queue.copied == 0) {
    board_.counters.sdma_bytes += left;
    tell_shaders(board_, target, left);
  }
  source += queue.copied;
  target += queue.copied;
  left -= queue.copied;
  std::vector<std::byte> piece(std::min<uint64_t>(left, kPiece));
  Hub& hub = *board_.gc_hub;
  while (left > 0) {
    const uint64_t read = board_.counters.dma_read_bytes;
    const uint64_t written = board_.counters.dma_write_bytes;
    const std::span<std::byte> part(piece.data(), std::min<uint64_t>(left, piece.size()));
    if (!hub.read(vmid(queue), source, part, client_)) {
      return hang(queue, fmt::format("COPY cannot read {:#x}", source));
    }
    if (!hub.write(vmid(queue), target, part, client_)) {
      return hang(queue, fmt::format("COPY cannot write {:#x}", target));
    }
    source += part.size();
    target += part.size();
    left -= part.size();
    queue.copied += part.size();
    if (board_.link.is_paced() &&
        crosses_link(queue, board_.counters.dma_read_bytes - read,
                     board_.counters.dma_write_bytes - written, left == 0))
      return Outcome::kWait;
  }
  queue.copied = 0;
  advance(queue, packet.size());
  return Outcome::kDone;
}

bool Sdma::crosses_link(Queue& queue, uint64_t read, uint64_t written, bool last) {
  // Pieces are moved a little ahead of their time, so that the engine needs no exact sleep.
  constexpr std::chrono::milliseconds kAhead{1};
  if (read + written == 0) return false;
  const auto there = board_.link.dma(read, written);
  queue.ready_at = last ? there : there - kAhead;
  if (last || !waits(queue)) return false;
  goes_on_at_ = std::min(goes_on_at_, queue.ready_at);
  return true;
}

Sdma::Outcome Sdma::write(Queue& queue, Packet packet) {
  using Write = sd::WriteUntiled;
  const uint32_t* p = packet.data();
  const uint64_t target =
      join(Write::DST_ADDR_LO_dst_addr_31_0.get(p), Write::DST_ADDR_HI_dst_addr_63_32.get(p));
  const Packet data = packet.subspan(4);
  if (target % 4 != 0) return hang(queue, fmt::format("WRITE to {:#x}", target));
  if (!board_.gc_hub->write(vmid(queue), target, std::as_bytes(data), client_)) {
    return hang(queue, fmt::format("WRITE cannot write {:#x}", target));
  }
  board_.counters.sdma_bytes += data.size_bytes();
  tell_shaders(board_, target, data.size_bytes());
  advance(queue, packet.size());
  return Outcome::kDone;
}

Sdma::Outcome Sdma::fill(Queue& queue, Packet packet) {
  using Fill = sd::ConstantFill;
  constexpr size_t kPiece = 1 << 14;  // dwords
  const uint32_t* p = packet.data();
  uint64_t target =
      join(Fill::DST_ADDR_LO_dst_addr_31_0.get(p), Fill::DST_ADDR_HI_dst_addr_63_32.get(p));
  // The count is bytes less one (sdma_v6_0_emit_fill_buffer); whole dwords are written, so that
  // runtimes that give the last dword's offset mean the same.
  uint64_t left = (uint64_t{Fill::COUNT_count.get(p)} | 3) + 1;
  constexpr uint32_t kHalfwords = 1;
  if (Fill::HEADER_fillsize.get(p) == kHalfwords)
    return hang(queue, "a fill of 16-bit words is not simulated");
  if (target % 4 != 0) return hang(queue, fmt::format("CONST_FILL of {:#x}", target));
  board_.counters.sdma_bytes += left;
  tell_shaders(board_, target, left);
  const std::vector<uint32_t> piece(std::min<uint64_t>(left / 4, kPiece),
                                    Fill::DATA_src_data_31_0.get(p));
  while (left > 0) {
    const auto part =
        std::as_bytes(std::span(piece).first(std::min<uint64_t>(left / 4, piece.size())));
    if (!board_.gc_hub->write(vmid(queue), target, part, client_)) {
      return hang(queue, fmt::format("CONST_FILL cannot write {:#x}", target));
    }
    target += part.size();
    left -= part.size();
  }
  advance(queue, packet.size());
  return Outcome::kDone;
}

Sdma::Outcome Sdma::fence(Queue& queue, Packet packet) {
  using Fence = sd::Fence;
  const uint64_t address = join(Fence::ADDR_LO_addr_31_0.get(packet.data()),
                                Fence::ADDR_HI_addr_63_32.get(packet.data()));
  if (address % 4 != 0) return hang(queue, fmt::format("FENCE at {:#x}", address));
  if (!board_.gc_hub->write_value(vmid(queue), address, Fence::DATA_data.get(packet.data()),
                                  client_)) {
    return hang(queue, fmt::format("FENCE cannot write {:#x}", address));
  }
  advance(queue, packet.size());
  return Outcome::kDone;
}

Sdma::Outcome Sdma::trap(Queue& queue, Packet packet) {
  const uint32_t control = board_.registers.peek(engine_control_);
  if (hw::gc::SDMA0_CNTL::TRAP_ENABLE.get(control) != 0) {
    Interrupts::Entry entry;
    entry.client = hw::ih::SOC21_IH_CLIENTID_GFX;
    entry.source = hw::ih::GFX_11_0_0__SRCID__SDMA_TRAP;
    // sdma_v6_0_process_trap_irq: queue below, engine above.
    entry.ring = static_cast<uint8_t>(queue.number | number_ << 4);
    entry.vmid = vmid(queue);
    entry.context[0] = sd::Trap::INT_CONTEXT_int_context.get(packet.data());
    board_.interrupts->raise(entry);
  }
  advance(queue, packet.size());
  return Outcome::kDone;
}

Sdma::Outcome Sdma::poll(Queue& queue, Packet packet) {
  using Poll = sd::PollRegmem;
  const uint32_t* p = packet.data();
  const uint32_t low = Poll::ADDR_LO_addr_31_0.get(p), high = Poll::ADDR_HI_addr_63_32.get(p);
  const uint32_t mask = Poll::MASK_mask.get(p), reference = Poll::VALUE_value.get(p);
  uint32_t value = 0;
  if (Poll::HEADER_hdp_flush.get(p) != 0) {
    // Request and done registers, as byte addresses (sdma_v6_0_ring_emit_hdp_flush).
    board_.registers.write(high / 4, reference);
    value = board_.registers.read(low / 4);
  } else if (Poll::HEADER_mem_poll.get(p) != 0) {
    if (!board_.gc_hub->read_value(vmid(queue), join(low, high), value, client_, false)) {
      return hang(queue, fmt::format("POLL_REGMEM cannot read {:#x}", join(low, high)));
    }
  } else {
    value = board_.registers.read(low / 4);
  }
  const auto met = compare(Poll::HEADER_func.get(p), value & mask, reference);
  if (!met) return hang(queue, "POLL_REGMEM with an unknown function");
  if (!*met) return Outcome::kWait;
  advance(queue, packet.size());
  return Outcome::kDone;
}

Sdma::Outcome Sdma::timestamp(Queue& queue, Packet packet) {
  using Get = sd::TimestampGet;
  const uint32_t kind = Get::HEADER_sub_op.get(packet.data());
  if (kind != sd::SUBOP_TIMESTAMP_GET && kind != sd::SUBOP_TIMESTAMP_GET_GLOBAL) {
    return hang(queue, fmt::format("TIMESTAMP of kind {} is not simulated", kind));
  }
  const uint64_t address = join(packet[Get::WRITE_ADDR_LO_write_addr_31_3.dword],
                                Get::WRITE_ADDR_HI_write_addr_63_32.get(packet.data()));
  if (address % 8 != 0) return hang(queue, fmt::format("TIMESTAMP at {:#x}", address));
  if (!board_.gc_hub->write_value(vmid(queue), address, board_.clock(), client_)) {
    return hang(queue, fmt::format("TIMESTAMP cannot write {:#x}", address));
  }
  advance(queue, packet.size());
  return Outcome::kDone;
}

Sdma::Outcome Sdma::indirect(Queue& queue, Packet packet) {
  using Ib = sd::Indirect;
  constexpr uint64_t kAlignment = 32, kGroup = 8;
  const uint32_t* p = packet.data();
  const uint64_t address = join(Ib::BASE_LO_ib_base_31_0.get(p), Ib::BASE_HI_ib_base_63_32.get(p));
  if (queue.buffer) return hang(queue, "INDIRECT inside an indirect buffer");
  if (hw::gc::SDMA0_QUEUE0_IB_CNTL::IB_ENABLE.get(board_.registers.peek(queue.ib_control)) == 0) {
    return hang(queue, "INDIRECT while indirect buffers are off");
  }
  if (address % kAlignment != 0)
    return hang(queue, fmt::format("indirect buffer at {:#x}", address));
  // The packet must end on a multiple of 8 dwords (sdma_v6_0_ring_emit_ib).
  if ((queue.read + packet.size()) % kGroup != 0) {
    board_.events.driver_error("sdma", "{}: INDIRECT does not end on a multiple of 8 dwords",
                               place(queue));
  }
  advance(queue, packet.size());
  queue.buffer = IndirectBuffer{address, Ib::IB_SIZE_ib_size.get(p), 0};
  return Outcome::kDone;
}

Sdma::Outcome Sdma::conditional(Queue& queue, Packet packet) {
  using Cond = sd::CondExe;
  const uint32_t* p = packet.data();
  const uint64_t address = join(Cond::ADDR_LO_addr_31_0.get(p), Cond::ADDR_HI_addr_63_32.get(p));
  uint32_t value = 0;
  if (!board_.gc_hub->read_value(vmid(queue), address, value, client_)) {
    return hang(queue, fmt::format("COND_EXE cannot read {:#x}", address));
  }
  const bool run = value == Cond::REFERENCE_reference.get(p);
  const uint32_t skipped = run ? 0 : Cond::EXEC_COUNT_exec_count.get(p);
  if (skipped > available(queue) - packet.size())
    return hang(queue, "COND_EXE skips more than there is");
  advance(queue, packet.size() + skipped);
  return Outcome::kDone;
}

Sdma::Outcome Sdma::atomic(Queue& queue, Packet packet) {
  using Atomic = sd::Atomic;
  const uint32_t* p = packet.data();
  const uint64_t address =
      join(Atomic::ADDR_LO_addr_31_0.get(p), Atomic::ADDR_HI_addr_63_32.get(p));
  const uint64_t source =
      join(Atomic::SRC_DATA_LO_src_data_31_0.get(p), Atomic::SRC_DATA_HI_src_data_63_32.get(p));
  const uint64_t comparand =
      join(Atomic::CMP_DATA_LO_cmp_data_31_0.get(p), Atomic::CMP_DATA_HI_cmp_data_63_32.get(p));
  const uint32_t operation = Atomic::HEADER_atomic_op.get(p);
  const auto width = apply_atomic(operation, 0, 0, 0);
  if (!width) return hang(queue, fmt::format("ATOMIC with operation {:#x}", operation));
  uint64_t memory = 0;
  const auto bytes =
      std::as_writable_bytes(std::span(&memory, 1)).first(static_cast<size_t>(width->bytes));
  if (address % bytes.size() != 0) return hang(queue, fmt::format("ATOMIC at {:#x}", address));
  Hub& hub = *board_.gc_hub;
  if (!hub.read(vmid(queue), address, bytes, client_, false)) {
    return hang(queue, fmt::format("ATOMIC cannot read {:#x}", address));
  }
  const uint64_t mask = width->bytes == 8 ? ~0ull : 0xffffffffull;
  if (Atomic::HEADER_loop.get(p) != 0 && width->compare && memory != (comparand & mask)) {
    return Outcome::kWait;
  }
  memory = apply_atomic(operation, memory, source, comparand).value_or(AtomicResult{}).value;
  if (!hub.write(vmid(queue), address, bytes, client_)) {
    return hang(queue, fmt::format("ATOMIC cannot write {:#x}", address));
  }
  advance(queue, packet.size());
  return Outcome::kDone;
}

Sdma::Outcome Sdma::register_write(Queue& queue, Packet packet) {
  using Write = sd::SrbmWrite;
  constexpr uint32_t kAllBytes = 0xf;
  const uint32_t* p = packet.data();
  if (Write::HEADER_byte_en.get(p) != kAllBytes)
    return hang(queue, "SRBM_WRITE of single bytes is not simulated");
  board_.registers.write(Write::ADDR_addr.get(p), Write::DATA_data.get(p));
  advance(queue, packet.size());
  return Outcome::kDone;
}

}  // namespace outboard::simulator::card
