#include "simulator/card/mec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/interrupts.h"
#include "hardware/amd/navi31/mqd.h"
#include "hardware/amd/navi31/pm4.h"
#include "simulator/card/gmc.h"
#include "simulator/card/ih.h"
#include "simulator/card/sdma.h"
#include "simulator/compute/cache_model.h"
#include "simulator/compute/memory_order.h"

namespace outboard::simulator::card {

namespace hw = hardware::amd::navi31;
namespace gc = hw::gc;

namespace {

// First dword of a compute queue descriptor (mqd_manager for GC 11: kfd_mqd_manager_v11.c).
constexpr uint32_t kDescriptorHeader = 0xC0310800;

// Dequeue requests (gfx_v11_0.c: 1 drains the pipe, 2 resets the waves).
constexpr uint32_t kDequeueDrain = 1, kDequeueReset = 2;

constexpr uint32_t kAqlPacketBytes = 64;

// Registers that the command processor loads from the descriptor with PRELOAD_REQ, beside those of
// the queue itself: the shader state. Only what a descriptor can hold differently from power-on.
struct Preload {
  uint32_t address;
  size_t offset;
};
using Mqd = hw::mqd::v11_compute_mqd;
#define OUTBOARD_PRELOAD(REGISTER, MEMBER) \
  Preload { gc::REGISTER::kAddress, offsetof(Mqd, MEMBER) }
constexpr Preload kPreloads[] = {
    OUTBOARD_PRELOAD(COMPUTE_STATIC_THREAD_MGMT_SE0, compute_static_thread_mgmt_se0),
    OUTBOARD_PRELOAD(COMPUTE_STATIC_THREAD_MGMT_SE1, compute_static_thread_mgmt_se1),
    OUTBOARD_PRELOAD(COMPUTE_STATIC_THREAD_MGMT_SE2, compute_static_thread_mgmt_se2),
    OUTBOARD_PRELOAD(COMPUTE_STATIC_THREAD_MGMT_SE3, compute_static_thread_mgmt_se3),
    OUTBOARD_PRELOAD(COMPUTE_STATIC_THREAD_MGMT_SE4, compute_static_thread_mgmt_se4),
    OUTBOARD_PRELOAD(COMPUTE_STATIC_THREAD_MGMT_SE5, compute_static_thread_mgmt_se5),
    OUTBOARD_PRELOAD(COMPUTE_STATIC_THREAD_MGMT_SE6, compute_static_thread_mgmt_se6),
    OUTBOARD_PRELOAD(COMPUTE_STATIC_THREAD_MGMT_SE7, compute_static_thread_mgmt_se7),
    OUTBOARD_PRELOAD(COMPUTE_RESOURCE_LIMITS, compute_resource_limits),
    OUTBOARD_PRELOAD(COMPUTE_TMPRING_SIZE, compute_tmpring_size),
};
#undef OUTBOARD_PRELOAD

}  // namespace

Mec::Mec(Board& board) : board_(board) {
  RegisterFile& registers = board.registers;
  registers.on_write<gc::CP_HQD_ACTIVE>([this](uint32_t value) {
    const auto [me, pipe, queue, vmid] = board_.registers.selection();
    if (gc::CP_HQD_ACTIVE::ACTIVE.get(value) != 0) {
      activate();
    } else if (const auto found = queues_.find(me << 8 | pipe << 4 | queue);
               found != queues_.end()) {
      deactivate(found->second);
    }
    board_.wake();
  });
  registers.on_write<gc::CP_HQD_DEQUEUE_REQUEST>(
      [this](uint32_t value) { dequeue_request(value); });
  registers.on_write<gc::SPI_COMPUTE_QUEUE_RESET>([this](uint32_t value) {
    const auto [me, pipe, queue, vmid] = board_.registers.selection();
    if (value != 0 && board_.is(Mood::kQueueReset)) dead_.insert(me << 8 | pipe << 4 | queue);
  });
  registers.on_read<gc::CP_HQD_IB_RPTR>([this](uint32_t stored) {
    const auto [me, pipe, number, vmid] = board_.registers.selection();
    const auto found = queues_.find(me << 8 | pipe << 4 | number);
    if (found == queues_.end() || found->second.buffers.empty()) return stored;
    return found->second.buffers.back().position;
  });
  registers.on_write<gc::CP_MEC_RS64_CNTL>([this](uint32_t value) {
    using Control = gc::CP_MEC_RS64_CNTL;
    if (Control::MEC_PIPE0_RESET.get(value) != 0) dead_.clear();
    if (Control::MEC_HALT.get(value) == 0 && Control::MEC_PIPE0_ACTIVE.get(value) != 0 &&
        !board_.power.gfx_loaded) {
      board_.events.driver_error("mec", "the MEC is started before RLC autoload is complete");
    }
    board_.wake();
  });
  power_on();
}

void Mec::power_on() {
  dead_.clear();
  ++generation_;
  queues_.clear();
  board_.registers.set<gc::CP_MEC_RS64_CNTL>(gc::CP_MEC_RS64_CNTL::MEC_HALT(1));
}

void Mec::reset() {
  if (board_.is_stepping() && !board_.is_dispatching()) {
    reset_wanted_ = true;  // a packet asked for it: after that packet
    return;
  }
  board_.cancel_dispatch();
  for (auto& [key, queue] : queues_) deactivate(queue);
  power_on();
}

bool Mec::is_running(uint32_t pipe) const {
  using Control = gc::CP_MEC_RS64_CNTL;
  const uint32_t value = board_.registers.get<Control>();
  if (!board_.power.gfx_loaded || Control::MEC_HALT.get(value) != 0) return false;
  const std::array active{Control::MEC_PIPE0_ACTIVE, Control::MEC_PIPE1_ACTIVE,
                          Control::MEC_PIPE2_ACTIVE, Control::MEC_PIPE3_ACTIVE};
  const std::array held{Control::MEC_PIPE0_RESET, Control::MEC_PIPE1_RESET,
                        Control::MEC_PIPE2_RESET, Control::MEC_PIPE3_RESET};
  return active[pipe].get(value) != 0 && held[pipe].get(value) == 0;
}

std::string Mec::place(const Queue& queue) const {
  std::string text = fmt::format("queue {}.{}.{}", queue.selection.me, queue.selection.pipe,
                                 queue.selection.queue);
  if (queue.buffers.empty()) return text + fmt::format(", ring dword {:#x}", queue.read);
  const IndirectBuffer& buffer = queue.buffers.back();
  return text + fmt::format(", indirect buffer {:#x} dword {:#x}", buffer.address, buffer.position);
}

void Mec::activate() {
  RegisterFile& registers = board_.registers;
  const RegisterFile::Selection selection = registers.selection();
  const auto refuse = [&](std::string_view why) {
    board_.events.driver_error("mec", "queue {}.{}.{} is made active: {}", selection.me,
                               selection.pipe, selection.queue, why);
  };
  if (selection.me == 0) return refuse("micro engine 0 has no compute queues");
  if (!is_running(selection.pipe))
    return refuse("the MEC does not run (firmware, halt, pipe reset)");
  Queue queue;
  queue.selection = selection;
  queue.active = true;
  queue.vmid = gc::CP_HQD_VMID::VMID.get(registers.get<gc::CP_HQD_VMID>());
  queue.ring = registers.get64<gc::CP_HQD_PQ_BASE, gc::CP_HQD_PQ_BASE_HI>() << 8;
  if (queue.ring == 0) return refuse("the ring has no address");
  // QUEUE_SIZE: base 2 logarithm of the dwords, less one.
  const uint32_t control = registers.get<gc::CP_HQD_PQ_CONTROL>();
  const uint64_t dwords = uint64_t{2} << gc::CP_HQD_PQ_CONTROL::QUEUE_SIZE.get(control);
  queue.aql = registers.get<gc::CP_HQD_AQL_CONTROL>() != 0;
  queue.size = queue.aql ? dwords * 4 / kAqlPacketBytes : dwords;
  if (queue.size == 0) return refuse("the ring is too small");
  queue.read = registers.get<gc::CP_HQD_PQ_RPTR>() % queue.size;
  const uint64_t wptr = registers.get64<gc::CP_HQD_PQ_WPTR_LO, gc::CP_HQD_PQ_WPTR_HI>();
  queue.write = wptr % queue.size;
  queue.last_doorbell = wptr;
  load_descriptor(queue);
  const uint32_t key = selection.me << 8 | selection.pipe << 4 | selection.queue;
  if (dead_.contains(key)) queue.hung = true;
  queues_[key] = queue;
}

void Mec::load_descriptor(Queue& queue) {
  RegisterFile& registers = board_.registers;
  const uint32_t state = registers.get<gc::CP_HQD_PERSISTENT_STATE>();
  if (gc::CP_HQD_PERSISTENT_STATE::PRELOAD_REQ.get(state) == 0) return;
  const uint64_t address = registers.get64<gc::CP_MQD_BASE_ADDR, gc::CP_MQD_BASE_ADDR_HI>();
  Mqd descriptor;
  if (board_.is(Mood::kDescriptor)) {
    const compute::Translation place =
        board_.gc_hub->translate(0, address, compute::Access::kRead, Client::kCp, false);
    if (place.host != nullptr && !place.system &&
        board_.vram.is_unflushed(board_.vram.offset_of(place.host), sizeof descriptor)) {
      queue.hung = true;
    }
  }
  if (!board_.gc_hub->read_value(0, address, descriptor, Client::kCp)) return;
  if (descriptor.header != kDescriptorHeader) {
    board_.events.driver_error("mec", "the queue descriptor at {:#x} begins with {:#x}, not {:#x}",
                               address, uint32_t{descriptor.header}, kDescriptorHeader);
    return;
  }
  const SelectionGuard guard(registers, queue.selection);
  for (const Preload& preload : kPreloads) {
    uint32_t value = 0;
    std::memcpy(&value, reinterpret_cast<const std::byte*>(&descriptor) + preload.offset, 4);
    registers.poke(preload.address, value);
  }
}

void Mec::deactivate(Queue& queue) {
  queue.active = false;
  queue.buffers.clear();
  const SelectionGuard guard(board_.registers, queue.selection);
  board_.registers.set<gc::CP_HQD_ACTIVE>(0);
  board_.registers.set<gc::CP_HQD_DEQUEUE_REQUEST>(0);
}

void Mec::dequeue_request(uint32_t value) {
  const auto [me, pipe, number, vmid] = board_.registers.selection();
  const uint32_t request = gc::CP_HQD_DEQUEUE_REQUEST::DEQUEUE_REQ.get(value);
  const auto found = queues_.find(me << 8 | pipe << 4 | number);
  if (request == 0 || found == queues_.end() || !found->second.active) return;
  if (board_.fires("mec.dequeue-timeout") || board_.is(Mood::kDequeue)) return;
  if (request == kDequeueReset) {
    board_.cancel_dispatch();
    // The board may have been reset while the lock was away.
    const auto again = queues_.find(me << 8 | pipe << 4 | number);
    if (again != queues_.end()) deactivate(again->second);
  } else if (request == kDequeueDrain) {
    found->second.drain = true;
    board_.wake();
  } else {
    board_.events.not_simulated("mec", "dequeue request {}", request);
  }
}

bool Mec::is_busy() const {
  return std::any_of(queues_.begin(), queues_.end(), [&](const auto& entry) {
    const Queue& queue = entry.second;
    return queue.active && (queue.hung || !queue.buffers.empty() || queue.read != queue.write);
  });
}

void Mec::leave_active() {
  const SelectionGuard guard(board_.registers, {1, 0, 0, 0});
  board_.registers.set<gc::CP_HQD_ACTIVE>(gc::CP_HQD_ACTIVE::ACTIVE(1));
  Queue queue;
  queue.selection = {1, 0, 0, 0};
  queue.active = queue.hung = true;
  queue.size = 1;
  queues_[1 << 8] = queue;
}

void Mec::doorbell(uint32_t index, uint64_t value) {
  using Control = gc::CP_HQD_PQ_DOORBELL_CONTROL;
  RegisterFile& registers = board_.registers;
  // The range's limits are byte offsets; the doorbell's own offset counts dwords (gfx_v11_0.c).
  const uint32_t low = registers.get<gc::CP_MEC_DOORBELL_RANGE_LOWER>();
  const uint32_t high = registers.get<gc::CP_MEC_DOORBELL_RANGE_UPPER>();
  if (index * 4 < low || index * 4 > high) {
    board_.events.driver_error("mec", "doorbell {:#x} is outside the MEC's range {:#x} to {:#x}",
                               index, low, high);
    return;
  }
  for (auto& [key, queue] : queues_) {
    if (!queue.active) continue;
    const SelectionGuard guard(registers, queue.selection);
    const uint32_t control = registers.get<Control>();
    if (Control::DOORBELL_EN.get(control) == 0 || Control::DOORBELL_OFFSET.get(control) != index) {
      continue;
    }
    registers.set<Control>(Control::DOORBELL_HIT.put(control, 1));
    // PM4: dwords written so far. AQL: number of the newest packet.
    const uint64_t write = queue.aql ? value + 1 : value;
    const uint64_t used = (queue.write + queue.size - queue.read) % queue.size;
    if (goes_back(queue.last_doorbell, write, queue.size)) {
      board_.events.driver_error("mec",
                                 "{}: the write pointer goes back from {:#x} to {:#x}: the engine "
                                 "takes what it has run already for new packets",
                                 place(queue), queue.last_doorbell, write);
    }
    if (write > queue.last_doorbell && write - queue.last_doorbell > queue.size - used) {
      board_.events.driver_error("mec", "{}: doorbell {:#x} runs over packets not yet read",
                                 place(queue), value);
    }
    queue.last_doorbell = write;
    queue.write = write % queue.size;
    // Whoever rings after an end-of-pipe fence was written may have waited for it.
    if (released_) work_complete();
    registers.set<gc::CP_HQD_PQ_WPTR_LO>(static_cast<uint32_t>(write));
    registers.set<gc::CP_HQD_PQ_WPTR_HI>(static_cast<uint32_t>(write >> 32));
    board_.wake();
    return;
  }
  board_.events.driver_error("mec", "doorbell {:#x} belongs to no active queue", index);
}

bool Mec::step() {
  bool progress = step_queues();
  if (reset_wanted_) {
    reset_wanted_ = false;
    for (auto& [key, queue] : queues_) deactivate(queue);
    power_on();
    progress = true;
  }
  return progress;
}

bool Mec::step_queues() {
  bool progress = false;
  const uint64_t generation = generation_;
  for (auto& [key, queue] : queues_) {
    if (!queue.active) continue;
    if (!queue.hung && is_running(queue.selection.pipe)) {
      progress |= queue.aql ? step_aql(queue) : step_queue(queue);
      if (generation != generation_) return true;  // a reset came between: queues_ is another
    }
    if (queue.drain && queue.active) {
      deactivate(queue);
      progress = true;
    }
  }
  return progress;
}

uint64_t Mec::available(const Queue& queue) const {
  if (!queue.buffers.empty()) return queue.buffers.back().size - queue.buffers.back().position;
  return (queue.write + queue.size - queue.read) % queue.size;
}

bool Mec::read_dword(Queue& queue, uint64_t ahead, uint32_t& value) {
  uint64_t address = 0;
  if (queue.buffers.empty()) {
    address = queue.ring + (queue.read + ahead) % queue.size * 4;
  } else {
    address = queue.buffers.back().address + (queue.buffers.back().position + ahead) * 4;
  }
  return load(queue, address, value);
}

void Mec::advance(Queue& queue, uint64_t dwords) {
  if (queue.buffers.empty()) {
    queue.read = (queue.read + dwords) % queue.size;
    report_read_pointer(queue);
  } else {
    queue.buffers.back().position += static_cast<uint32_t>(dwords);
  }
}

bool Mec::fetch(Queue& queue, std::vector<uint32_t>& packet) {
  using Header = hw::pm4::Header;
  packet.resize(1);
  if (!read_dword(queue, 0, packet[0])) {
    hang(queue, "the packet cannot be read");
    return false;
  }
  const uint32_t type = Header::TYPE.get(packet.data());
  constexpr uint32_t kFiller = 2, kPacket = 3;
  if (type == kFiller) return true;
  if (type != kPacket) {
    hang(queue, fmt::format("{:#010x} is no packet header (type {})", packet[0], type));
    return false;
  }
  size_t dwords = Header::COUNT.get(packet.data()) + 2;
  // The largest count makes a NOP of a single dword (gfx_v11_0.c, the ring's filler).
  if (Header::OPCODE.get(packet.data()) == hw::pm4::NOP &&
      Header::COUNT.get(packet.data()) == Header::COUNT.field.get(~0u)) {
    dwords = 1;
  }
  if (dwords > available(queue)) {
    if (!queue.buffers.empty()) {
      hang(queue, fmt::format("packet {:#010x} runs over the end of its buffer", packet[0]));
    } else if (!queue.reported_short) {
      queue.reported_short = true;
      board_.events.driver_error("mec",
                                 "{}: packet {:#010x} of {} dwords, but the write pointer is {} "
                                 "dwords ahead",
                                 place(queue), packet[0], dwords, available(queue));
    }
    return false;
  }
  packet.resize(dwords);
  for (size_t i = 1; i < dwords; ++i) {
    if (!read_dword(queue, i, packet[i])) {
      hang(queue, fmt::format("packet {:#010x} cannot be read", packet[0]));
      return false;
    }
  }
  return true;
}

bool Mec::step_queue(Queue& queue) {
  while (!queue.buffers.empty() && available(queue) == 0) queue.buffers.pop_back();
  if (available(queue) == 0) {
    poll_write_pointer(queue);
    if (available(queue) == 0) return false;
  }
  const SelectionGuard guard(board_.registers, queue.selection);
  if (!fetch(queue, packet_)) return queue.hung;
  const uint64_t generation = generation_;
  const Outcome outcome = execute(queue, packet_);
  return generation != generation_ || outcome != Outcome::kWait;
}

void Mec::poll_write_pointer(Queue& queue) {
  const SelectionGuard guard(board_.registers, queue.selection);
  if (gc::CP_PQ_WPTR_POLL_CNTL::EN.get(board_.registers.get<gc::CP_PQ_WPTR_POLL_CNTL>()) == 0)
    return;
  const uint64_t address =
      board_.registers.get64<gc::CP_HQD_PQ_WPTR_POLL_ADDR, gc::CP_HQD_PQ_WPTR_POLL_ADDR_HI>();
  uint64_t write = 0;
  if (address == 0 || !load(queue, address, write, false)) return;
  queue.write = write % queue.size;
  queue.last_doorbell = write;
}

void Mec::report_read_pointer(Queue& queue) {
  RegisterFile& registers = board_.registers;
  const SelectionGuard guard(registers, queue.selection);
  registers.set<gc::CP_HQD_PQ_RPTR>(static_cast<uint32_t>(queue.read));
  if (gc::CP_HQD_PQ_CONTROL::NO_UPDATE_RPTR.get(registers.get<gc::CP_HQD_PQ_CONTROL>()) != 0)
    return;
  const uint64_t address =
      registers.get64<gc::CP_HQD_PQ_RPTR_REPORT_ADDR, gc::CP_HQD_PQ_RPTR_REPORT_ADDR_HI>();
  if (address == 0) return;
  const auto value = static_cast<uint32_t>(queue.read);
  board_.gc_hub->write_value(queue.vmid, address, value, Client::kCp, false);
}

Mec::Outcome Mec::hang(Queue& queue, const std::string& why) {
  queue.hung = true;
  board_.events.driver_error("mec", "{}: {}; the queue hangs", place(queue), why);
  return Outcome::kHang;
}

void Mec::interrupt(const Queue& queue, uint8_t source, uint32_t context) {
  Interrupts::Entry entry;
  entry.client = hw::ih::SOC21_IH_CLIENTID_GRBM_CP;
  entry.source = source;
  // gfx_v11_0_eop_irq takes pipe, micro engine and queue from the ring id.
  entry.ring = static_cast<uint8_t>(queue.selection.pipe | queue.selection.me << 2 |
                                    queue.selection.queue << 4);
  entry.vmid = queue.vmid;
  entry.context[0] = context;
  board_.interrupts->raise(entry);
}

template <typename T>
bool Mec::load(const Queue& queue, uint64_t address, T& value, bool counted) {
  return board_.gc_hub->read_value(queue.vmid, address, value, Client::kCp, counted);
}

template <typename T>
bool Mec::store(const Queue& queue, uint64_t address, const T& value) {
  if (compute::MemoryOrder* order = board_.compute->order()) {
    order->engine_write("command processor", address, sizeof value);
  }
  return board_.gc_hub->write_value(queue.vmid, address, value, Client::kCp);
}

template bool Mec::load(const Queue&, uint64_t, uint32_t&, bool);
template bool Mec::load(const Queue&, uint64_t, uint64_t&, bool);
template bool Mec::load(const Queue&, uint64_t, std::array<uint32_t, 3>&, bool);
template bool Mec::load(const Queue&, uint64_t, std::array<uint32_t, 16>&, bool);
template bool Mec::store(const Queue&, uint64_t, const uint16_t&);
template bool Mec::store(const Queue&, uint64_t, const uint32_t&);
template bool Mec::store(const Queue&, uint64_t, const uint64_t&);

void Mec::apply(const CacheActions& actions) {
  compute::ComputeUnits& units = *board_.compute;
  if (actions.gli_invalidate) units.invalidate_instructions();
  if (compute::MemoryOrder* order = units.order()) {
    order->acquire(actions.glv_invalidate && actions.gl1_invalidate, actions.glk_invalidate);
  }
  if (compute::CacheModel* caches = units.caches()) {
    if (actions.gl2_writeback) caches->write_back(units.counters());
    if (actions.gl2_invalidate) caches->invalidate();
  }
  if (actions.gl2_invalidate) board_.vram.settle();
}

void Mec::work_complete() {
  if (compute::MemoryOrder* order = board_.compute->order()) order->barrier();
  released_ = false;
  waited_ = true;
}

Mec::Outcome Mec::run_dispatch(Queue& queue, compute::Dispatch& dispatch) {
  dispatch.name = fmt::format("program at {:#x}", dispatch.program);
  dispatch.vmid = queue.vmid;
  dispatch.id = board_.compute->counters().dispatches;
  dispatch.waited = std::exchange(waited_, false);
  static_cast<ShaderMemory&>(*board_.shader_memory).set_vmid(queue.vmid);
  const uint64_t generation = generation_;
  const std::string where = place(queue);
  const compute::Result result = board_.run_dispatch(dispatch);
  // The lock was away: the queue may be gone.
  if (generation != generation_ || !queue.active) return Outcome::kHang;
  if (board_.was_cancelled()) {
    queue.hung = true;  // until whoever stopped it takes the queue down
    return Outcome::kHang;
  }
  if (result.stop == compute::Stop::kDone) return Outcome::kDone;

  using Error = hw::ih::SqInterrupt;
  // Codes of the shader's error interrupt: tinygrad 0.14.0, runtime/support/am/ip.py.
  constexpr uint32_t kIllegalInstruction = 1, kMemoryViolation = 2, kErrorEncoding = 2;
  Interrupts::Entry entry;
  entry.client = hw::ih::SOC21_IH_CLIENTID_GFX;
  entry.source = hw::ih::GFX_11_0_0__SRCID__SQ_INTERRUPT_ID;
  entry.vmid = queue.vmid;
  Error::ENCODING.put(entry.context.data(), kErrorEncoding);
  switch (result.stop) {
    case compute::Stop::kMemoryViolation:
      Error::ERROR_TYPE.put(entry.context.data(), kMemoryViolation);
      board_.interrupts->raise(entry);
      break;
    case compute::Stop::kIllegalInstruction:
      Error::ERROR_TYPE.put(entry.context.data(), kIllegalInstruction);
      board_.interrupts->raise(entry);
      break;
    default:
      break;
  }
  queue.hung = true;
  board_.events.driver_error("compute", "{}: dispatch {} stopped: {}; the queue hangs", where,
                             dispatch.id, result.message);
  return Outcome::kHang;
}

}  // namespace outboard::simulator::card
