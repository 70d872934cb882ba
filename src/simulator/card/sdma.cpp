#include "simulator/card/sdma.h"

#include <algorithm>
#include <cstring>

#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/interrupts.h"
#include "hardware/amd/navi31/sdma_packets.h"
#include "simulator/card/ih.h"

namespace outboard::simulator::card {

namespace hw = hardware::amd::navi31;
namespace gc = hw::gc;
namespace sd = hw::sdma;

// All engines and queues have the fields of engine 0, queue 0.
using Control = gc::SDMA0_QUEUE0_RB_CNTL;
using Doorbell = gc::SDMA0_QUEUE0_DOORBELL;
using DoorbellOffset = gc::SDMA0_QUEUE0_DOORBELL_OFFSET;

namespace {
constexpr std::chrono::milliseconds kSlowStart{20};  // Mood::kCopiesSlow
}

bool goes_back(uint64_t before, uint64_t now, uint64_t ring) {
  if (now >= before) return false;
  // A driver may wrap its pointer itself: then it was near the end and is near the beginning.
  const bool wraps = before < ring && now < ring && before > ring / 2 && now < ring / 2;
  return !wraps;
}

Sdma::Sdma(Board& board, int number)
    : board_(board), number_(number), client_(number == 0 ? Client::kSdma0 : Client::kSdma1) {
  RegisterFile& registers = board.registers;
  const std::string engine = fmt::format("SDMA{}_", number);
  f32_control_ = registers.find(engine + "F32_CNTL");
  engine_control_ = registers.find(engine + "CNTL");
  registers.on_write(f32_control_, [this](uint32_t value) {
    if (gc::SDMA0_F32_CNTL::HALT.get(value) == 0 && !board_.power.gfx_loaded) {
      board_.events.driver_error("sdma", "SDMA{} is started before RLC autoload is complete",
                                 number_);
    }
    board_.wake();
  });
  for (int i = 0; i < kQueues; ++i) {
    Queue& queue = queues_[static_cast<size_t>(i)];
    const auto find = [&](std::string_view name) {
      return registers.find(fmt::format("SDMA{}_QUEUE{}_{}", number, i, name));
    };
    queue.number = i;
    queue.control = find("RB_CNTL");
    queue.base_low = find("RB_BASE");
    queue.base_high = find("RB_BASE_HI");
    queue.rptr_low = find("RB_RPTR");
    queue.rptr_high = find("RB_RPTR_HI");
    queue.wptr_low = find("RB_WPTR");
    queue.wptr_high = find("RB_WPTR_HI");
    queue.rptr_addr_low = find("RB_RPTR_ADDR_LO");
    queue.rptr_addr_high = find("RB_RPTR_ADDR_HI");
    queue.poll_low = find("RB_WPTR_POLL_ADDR_LO");
    queue.poll_high = find("RB_WPTR_POLL_ADDR_HI");
    queue.doorbell = find("DOORBELL");
    queue.doorbell_offset = find("DOORBELL_OFFSET");
    queue.ib_control = find("IB_CNTL");
    queue.status = find("CONTEXT_STATUS");
    registers.on_write(queue.control, [this, &queue](uint32_t value) { enable(queue, value); });
    const auto pointer = [this, &queue](uint32_t) {
      queue.write = board_.registers.peek64(queue.wptr_low, queue.wptr_high) / 4;
      board_.wake();
    };
    registers.on_write(queue.wptr_low, pointer);
    registers.on_write(queue.wptr_high, pointer);
    registers.on_read(queue.status, [this, &queue](uint32_t) {
      const bool busy = available(queue) != 0 || waits(queue);
      return gc::SDMA0_QUEUE0_CONTEXT_STATUS::IDLE(busy ? 0 : 1);
    });
  }
  power_on();
}

void Sdma::power_on() {
  for (Queue& queue : queues_) {
    queue.hung = queue.reported_short = false;
    queue.ready_at = {};
    queue.copied = 0;
    queue.read = queue.write = 0;
    queue.buffer.reset();
    board_.registers.poke(queue.control, 0);
  }
  board_.registers.poke(f32_control_, gc::SDMA0_F32_CNTL::HALT(1));
}

void Sdma::reset() { power_on(); }

bool Sdma::is_running() const {
  return board_.power.gfx_loaded &&
         gc::SDMA0_F32_CNTL::HALT.get(board_.registers.peek(f32_control_)) == 0;
}

bool Sdma::is_enabled(const Queue& queue) const {
  return Control::RB_ENABLE.get(board_.registers.peek(queue.control)) != 0;
}

uint64_t Sdma::ring_dwords(const Queue& queue) const {
  return uint64_t{1} << Control::RB_SIZE.get(board_.registers.peek(queue.control));
}

uint32_t Sdma::vmid(const Queue& queue) const {
  return Control::RB_VMID.get(board_.registers.peek(queue.control));
}

void Sdma::enable(Queue& queue, uint32_t control) {
  if (Control::RB_ENABLE.get(control) == 0) {
    queue.buffer.reset();
    queue.hung = false;
    return;
  }
  if (!is_running()) {
    board_.events.driver_error("sdma", "SDMA{} queue {} is enabled while the engine does not run",
                               number_, queue.number);
  }
  queue.read = board_.registers.peek64(queue.rptr_low, queue.rptr_high) / 4;
  queue.write = board_.registers.peek64(queue.wptr_low, queue.wptr_high) / 4;
  queue.hung = queue.reported_short = false;
  queue.copied = 0;
  board_.wake();
}

bool Sdma::wants_doorbell(uint32_t index) const {
  return std::any_of(queues_.begin(), queues_.end(), [&](const Queue& queue) {
    return is_enabled(queue) && Doorbell::ENABLE.get(board_.registers.peek(queue.doorbell)) != 0 &&
           DoorbellOffset::OFFSET.get(board_.registers.peek(queue.doorbell_offset)) == index;
  });
}

void Sdma::doorbell(uint32_t index, uint64_t value) {
  for (Queue& queue : queues_) {
    if (is_enabled(queue) &&
        DoorbellOffset::OFFSET.get(board_.registers.peek(queue.doorbell_offset)) == index) {
      set_write_pointer(queue, value);
      return;
    }
  }
}

void Sdma::set_write_pointer(Queue& queue, uint64_t bytes) {
  if (bytes % 4 != 0) {
    board_.events.driver_error("sdma", "{}: write pointer {:#x} is not a multiple of 4",
                               place(queue), bytes);
  }
  const uint64_t write = bytes / 4;
  if (goes_back(queue.write, write, ring_dwords(queue))) {
    board_.events.driver_error("sdma",
                               "{}: the write pointer goes back from {:#x} to {:#x}: the engine "
                               "takes what it has run already for new packets",
                               place(queue), queue.write * 4, bytes);
  }
  if (write > queue.read && write - queue.read > ring_dwords(queue)) {
    board_.events.driver_error("sdma", "{}: write pointer {:#x} runs over packets not yet read",
                               place(queue), bytes);
  }
  if (write != queue.write && board_.is(Mood::kCopiesSlow))
    queue.ready_at = std::max(queue.ready_at, std::chrono::steady_clock::now() + kSlowStart);
  queue.write = write;
  board_.registers.poke(queue.wptr_low, static_cast<uint32_t>(bytes));
  board_.registers.poke(queue.wptr_high, static_cast<uint32_t>(bytes >> 32));
  board_.wake();
}

std::string Sdma::place(const Queue& queue) const {
  std::string text = fmt::format("SDMA{} queue {}", number_, queue.number);
  if (!queue.buffer)
    return text + fmt::format(", ring dword {:#x}", queue.read % ring_dwords(queue));
  return text + fmt::format(", indirect buffer {:#x} dword {:#x}", queue.buffer->address,
                            queue.buffer->position);
}

Sdma::Outcome Sdma::hang(Queue& queue, const std::string& why) {
  queue.hung = true;
  board_.events.driver_error("sdma", "{}: {}; the queue hangs", place(queue), why);
  return Outcome::kHang;
}

uint64_t Sdma::available(const Queue& queue) const {
  if (queue.buffer) return queue.buffer->size - queue.buffer->position;
  return queue.write >= queue.read
             ? queue.write - queue.read
             // a driver that wraps its pointer itself
             : (queue.write + ring_dwords(queue) - queue.read % ring_dwords(queue)) %
                   ring_dwords(queue);
}

bool Sdma::read_dwords(Queue& queue, uint64_t ahead, std::span<uint32_t> out) {
  Hub& hub = *board_.gc_hub;
  if (queue.buffer) {
    const uint64_t address = queue.buffer->address + (queue.buffer->position + ahead) * 4;
    return hub.read(vmid(queue), address, std::as_writable_bytes(out), client_);
  }
  const uint64_t base = board_.registers.peek64(queue.base_low, queue.base_high) << 8;
  const uint64_t size = ring_dwords(queue);
  uint64_t at = (queue.read + ahead) % size;
  while (!out.empty()) {
    const size_t run = std::min<uint64_t>(out.size(), size - at);
    if (!hub.read(vmid(queue), base + at * 4, std::as_writable_bytes(out.first(run)), client_)) {
      return false;
    }
    out = out.subspan(run);
    at = 0;
  }
  return true;
}

void Sdma::advance(Queue& queue, uint64_t dwords) {
  if (queue.buffer) {
    queue.buffer->position += static_cast<uint32_t>(dwords);
    return;
  }
  queue.read += dwords;
  RegisterFile& registers = board_.registers;
  const uint64_t bytes = queue.read * 4;
  registers.poke(queue.rptr_low, static_cast<uint32_t>(bytes));
  registers.poke(queue.rptr_high, static_cast<uint32_t>(bytes >> 32));
  if (Control::RPTR_WRITEBACK_ENABLE.get(registers.peek(queue.control)) == 0) return;
  const uint64_t address = registers.peek64(queue.rptr_addr_low, queue.rptr_addr_high);
  if (address != 0) board_.gc_hub->write_value(vmid(queue), address, bytes, client_, false);
}

bool Sdma::waits(const Queue& queue) {
  using Clock = std::chrono::steady_clock;
  return queue.ready_at > Clock::time_point{} && Clock::now() < queue.ready_at;
}

bool Sdma::step() {
  goes_on_at_ = std::chrono::steady_clock::time_point::max();
  if (!is_running()) return false;
  bool progress = false;
  for (Queue& queue : queues_) {
    if (is_enabled(queue) && !queue.hung) progress |= step_queue(queue);
  }
  return progress;
}

bool Sdma::step_queue(Queue& queue) {
  if (queue.buffer && available(queue) == 0) queue.buffer.reset();
  if (waits(queue)) {
    goes_on_at_ = std::min(goes_on_at_, queue.ready_at);
    return false;
  }
  RegisterFile& registers = board_.registers;
  if (available(queue) == 0) {
    // The engine also looks at memory for its write pointer, when told to.
    if (Control::F32_WPTR_POLL_ENABLE.get(registers.peek(queue.control)) == 0) return false;
    const uint64_t address = registers.peek64(queue.poll_low, queue.poll_high);
    uint64_t bytes = 0;
    if (address == 0 || !board_.gc_hub->read_value(vmid(queue), address, bytes, client_, false)) {
      return false;
    }
    if (bytes / 4 <= queue.read) return false;
    set_write_pointer(queue, bytes);
  }
  // Most lengths stand in the header; a write's in its fourth dword.
  std::array<uint32_t, 4> first{};
  const size_t ahead = std::min<uint64_t>(first.size(), available(queue));
  if (!read_dwords(queue, 0, std::span(first).first(ahead))) {
    hang(queue, "the packet cannot be read");
    return true;
  }
  const size_t dwords = length(queue, first[0], Packet(first).first(ahead));
  if (dwords == 0) {
    hang(queue, fmt::format("packet {:#010x} has an unknown opcode", first[0]));
    return true;
  }
  if (dwords > available(queue)) {
    if (queue.buffer) {
      hang(queue, fmt::format("packet {:#010x} runs over the end of its buffer", first[0]));
      return true;
    }
    if (!queue.reported_short) {
      queue.reported_short = true;
      board_.events.driver_error("sdma",
                                 "{}: packet {:#010x} of {} dwords, but the write pointer is "
                                 "{} dwords ahead",
                                 place(queue), first[0], dwords, available(queue));
    }
    return false;
  }
  packet_.resize(dwords);
  if (!read_dwords(queue, 0, packet_)) {
    hang(queue, fmt::format("packet {:#010x} cannot be read", first[0]));
    return true;
  }
  if (const auto rule = board_.fires("sdma.hang", fmt::format("op {}", first[0] & 0xff))) {
    queue.hung = true;
    return true;
  }
  const Outcome outcome = execute(queue, packet_);
  if (outcome == Outcome::kDone) ++board_.counters.sdma_packets;
  return outcome != Outcome::kWait;
}

size_t Sdma::length(const Queue&, uint32_t header, Packet first) const {
  switch (sd::Nop::HEADER_op.field.get(header)) {
    case sd::OP_NOP:
      return 1 + sd::Nop::HEADER_count.field.get(header);
    case sd::OP_COPY:
      return sd::CopyLinear::HEADER_sub_op.field.get(header) == sd::SUBOP_COPY_LINEAR ? 7 : 0;
    case sd::OP_WRITE:
      if (sd::WriteUntiled::HEADER_sub_op.field.get(header) != sd::SUBOP_WRITE_LINEAR) return 0;
      return first.size() < 4 ? 5 : 5 + sd::WriteUntiled::DW_3_count.get(first.data());
    case sd::OP_INDIRECT:
      return 6;
    case sd::OP_FENCE:
      return 4;
    case sd::OP_TRAP:
      return 2;
    case sd::OP_POLL_REGMEM:
      return sd::PollRegmem::HEADER_sub_op.field.get(header) == 0 ? 6 : 0;
    case sd::OP_COND_EXE:
      return 5;
    case sd::OP_ATOMIC:
      return 8;
    case sd::OP_CONST_FILL:
      return sd::ConstantFill::HEADER_sub_op.field.get(header) == 0 ? 5 : 0;
    case sd::OP_TIMESTAMP:
    case sd::OP_SRBM_WRITE:
      return 3;
    case sd::OP_PRE_EXE:
      return 2;
    case sd::OP_GCR_REQ:
      return 5;
    default:
      return 0;
  }
}

}  // namespace outboard::simulator::card
