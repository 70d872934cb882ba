// Queues in HSA's packet format (AQL). Sources: HSA runtime specification 1.2, 2.9 and 3.3; LLVM's
// AMDGPU usage guide for kernel descriptors and initial registers; ROCr's amd_hsa_queue.h.
#include <algorithm>
#include <array>
#include <cstring>

#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/pm4.h"
#include "simulator/card/gmc.h"
#include "simulator/card/mec.h"

namespace outboard::simulator::card {

namespace hw = hardware::amd::navi31;
namespace gc = hw::gc;

namespace {

constexpr uint32_t kPacketBytes = 64;
enum PacketType : uint32_t {
  kVendor = 0,
  kInvalid = 1,
  kDispatch = 2,
  kBarrierAnd = 3,
  kAgent = 4,
  kBarrierOr = 5
};

#pragma pack(push, 1)
struct DispatchPacket {
  uint16_t header, setup;
  uint16_t workgroup[3];
  uint16_t reserved0;
  uint32_t grid[3];
  uint32_t private_bytes, group_bytes;
  uint64_t kernel_object, arguments;
  uint64_t reserved1, completion_signal;
};
struct BarrierPacket {
  uint16_t header, reserved0;
  uint32_t reserved1;
  uint64_t signals[5];
  uint64_t reserved2, completion_signal;
};
// Vendor packet that carries one PM4 INDIRECT_BUFFER (ROCr, AMD_AQL_FORMAT_PM4_IB).
struct VendorPacket {
  uint16_t header, format;
  uint32_t command[4];
  uint32_t remaining;
  uint32_t reserved[8];
  uint64_t completion_signal;
};
struct KernelDescriptor {
  uint32_t group_bytes, private_bytes, arguments_bytes;
  uint8_t reserved0[4];
  int64_t entry;
  uint8_t reserved1[20];
  uint32_t rsrc3, rsrc1, rsrc2;
  uint16_t properties;
  uint8_t reserved2[6];
};
#pragma pack(pop)
static_assert(sizeof(DispatchPacket) == kPacketBytes && sizeof(BarrierPacket) == kPacketBytes &&
              sizeof(VendorPacket) == kPacketBytes && sizeof(KernelDescriptor) == 64);

// Bits of a kernel descriptor's properties.
constexpr uint32_t kPrivateBuffer = 1 << 0, kDispatchPointer = 1 << 1, kQueuePointer = 1 << 2;
constexpr uint32_t kArgumentPointer = 1 << 3, kDispatchId = 1 << 4, kFlatScratch = 1 << 5;
constexpr uint32_t kPrivateSize = 1 << 6, kWave32 = 1 << 10;

// Of amd_queue_t: offsets from its start.
constexpr uint64_t kReadIdOffset = 128, kTmpringOffset = 160, kScratchResourceOffset = 176;
constexpr uint64_t kScratchLocationOffset = 192;
constexpr uint64_t kSignalValueOffset = 8;  // in amd_signal_t
constexpr uint32_t kLdsUnit = 512;          // bytes in COMPUTE_PGM_RSRC2.LDS_SIZE
constexpr uint32_t kScratchUnit = 256;
constexpr uint32_t kFormatPm4Ib = 1;

}  // namespace

bool Mec::step_aql(Queue& queue) {
  Hub& hub = *board_.gc_hub;
  // A PM4 buffer that a vendor packet started runs to its end first.
  if (!queue.buffers.empty()) {
    if (available(queue) > 0) return step_queue(queue);
    queue.buffers.clear();
  }
  if (queue.read == queue.write) return false;
  const SelectionGuard guard(board_.registers, queue.selection);
  const uint64_t address = queue.ring + queue.read * kPacketBytes;
  uint32_t header = 0;
  if (!hub.read_value(queue.vmid, address, header, Client::kCp, false)) {
    hang(queue, "the packet cannot be read");
    return true;
  }
  const uint32_t type = header & 0xff;
  if (type == kInvalid) return false;  // reserved by the host, not yet filled in
  const uint64_t generation = generation_;
  Outcome outcome = Outcome::kHang;
  switch (type) {
    case kDispatch:
      outcome = aql_dispatch(queue, address);
      break;
    case kVendor:
      outcome = aql_vendor(queue, address);
      break;
    case kBarrierAnd:
      outcome = aql_barrier(queue, address, false);
      break;
    case kBarrierOr:
      outcome = aql_barrier(queue, address, true);
      break;
    default:
      outcome = hang(queue, fmt::format("AQL packet of type {}", type));
      break;
  }
  if (generation != generation_) return true;
  if (outcome != Outcome::kDone) return outcome == Outcome::kHang;
  ++board_.counters.aql_packets;
  const auto invalid = static_cast<uint16_t>(kInvalid);
  hub.write_value(queue.vmid, address, invalid, Client::kCp);
  queue.read = (queue.read + 1) % queue.size;
  board_.registers.set<gc::CP_HQD_PQ_RPTR>(static_cast<uint32_t>(queue.read));
  const uint64_t report =
      board_.registers.get64<gc::CP_HQD_PQ_RPTR_REPORT_ADDR, gc::CP_HQD_PQ_RPTR_REPORT_ADDR_HI>();
  uint64_t done = 0;
  if (report != 0 && load(queue, report, done, false)) store(queue, report, done + 1);
  return true;
}

Mec::Outcome Mec::aql_dispatch(Queue& queue, uint64_t packet_address) {
  Hub& hub = *board_.gc_hub;
  DispatchPacket packet;
  KernelDescriptor kernel;
  if (!hub.read_value(queue.vmid, packet_address, packet, Client::kCp) ||
      !hub.read_value(queue.vmid, packet.kernel_object, kernel, Client::kCp)) {
    return hang(queue, "a dispatch packet or its kernel descriptor cannot be read");
  }
  compute::Dispatch work;
  work.program = packet.kernel_object + static_cast<uint64_t>(kernel.entry);
  work.pgm_rsrc1 = kernel.rsrc1;
  work.pgm_rsrc2 = gc::COMPUTE_PGM_RSRC2::LDS_SIZE.put(
      kernel.rsrc2, (packet.group_bytes + kLdsUnit - 1) / kLdsUnit);
  work.pgm_rsrc3 = kernel.rsrc3;
  work.wave32 = (kernel.properties & kWave32) != 0;
  for (size_t i = 0; i < 3; ++i) {
    work.workgroup_size[i] = packet.workgroup[i];
    if (packet.workgroup[i] == 0) return hang(queue, "a dispatch with workgroups of no threads");
    if (packet.grid[i] % packet.workgroup[i] != 0) {
      board_.events.not_simulated("mec", "a grid of threads that ends inside a workgroup");
      return hang(queue, "partial workgroups are not simulated");
    }
    work.workgroups[i] = packet.grid[i] / packet.workgroup[i];
  }

  // The queue's own record lies around the place where the read index is reported.
  const uint64_t record =
      board_.registers.get64<gc::CP_HQD_PQ_RPTR_REPORT_ADDR, gc::CP_HQD_PQ_RPTR_REPORT_ADDR_HI>() -
      kReadIdOffset;
  std::array<uint32_t, 4> scratch_resource{};
  uint32_t tmpring = 0;
  uint64_t dispatch_id = 0;
  hub.read_value(queue.vmid, record + kScratchResourceOffset, scratch_resource, Client::kCp);
  load(queue, record + kTmpringOffset, tmpring);
  load(queue, record + kScratchLocationOffset, work.scratch_base);
  load(queue, record + kReadIdOffset, dispatch_id, false);
  work.scratch_bytes_per_wave = gc::COMPUTE_TMPRING_SIZE::WAVESIZE.get(tmpring) * kScratchUnit;
  work.scratch_waves = gc::COMPUTE_TMPRING_SIZE::WAVES.get(tmpring);

  size_t next = 0;
  const auto put = [&](uint32_t value) {
    if (next < work.user_data.size()) work.user_data[next] = value;
    ++next;
  };
  const auto put64 = [&](uint64_t value) {
    put(static_cast<uint32_t>(value));
    put(static_cast<uint32_t>(value >> 32));
  };
  if ((kernel.properties & kPrivateBuffer) != 0) {
    for (const uint32_t word : scratch_resource) put(word);
  }
  if ((kernel.properties & kDispatchPointer) != 0) put64(packet_address);
  if ((kernel.properties & kQueuePointer) != 0) put64(record);
  if ((kernel.properties & kArgumentPointer) != 0) put64(packet.arguments);
  if ((kernel.properties & kDispatchId) != 0) put64(dispatch_id);
  if ((kernel.properties & kFlatScratch) != 0) put64(0);
  if ((kernel.properties & kPrivateSize) != 0) put(packet.private_bytes);
  if (next > work.user_data.size()) return hang(queue, "more user registers than there are");

  // Scopes of the header's fences: both are made as wide as they get.
  CacheActions acquire;
  acquire.glk_invalidate = acquire.glv_invalidate = acquire.gl1_invalidate = true;
  apply(acquire);
  const Outcome outcome = run_dispatch(queue, work);
  if (outcome != Outcome::kDone) return outcome;
  work_complete();
  return complete_signal(queue, packet.completion_signal)
             ? Outcome::kDone
             : hang(queue, "a completion signal cannot be written");
}

Mec::Outcome Mec::aql_vendor(Queue& queue, uint64_t packet_address) {
  VendorPacket packet;
  if (!board_.gc_hub->read_value(queue.vmid, packet_address, packet, Client::kCp)) {
    return hang(queue, "a vendor packet cannot be read");
  }
  using Ib = hw::pm4::IndirectBuffer;
  const uint32_t* p = packet.command;
  if (packet.format != kFormatPm4Ib || hw::pm4::Header::OPCODE.get(p) != hw::pm4::INDIRECT_BUFFER ||
      Ib::VALID.get(p) == 0) {
    return hang(queue, fmt::format("vendor packet of format {}, {:#010x}", packet.format,
                                   packet.command[0]));
  }
  queue.buffers.push_back(
      {packet.command[1] | uint64_t{Ib::IB_BASE_HI.get(p)} << 32, Ib::IB_SIZE.get(p), 0});
  return complete_signal(queue, packet.completion_signal)
             ? Outcome::kDone
             : hang(queue, "a completion signal cannot be written");
}

Mec::Outcome Mec::aql_barrier(Queue& queue, uint64_t packet_address, bool any) {
  BarrierPacket packet;
  if (!board_.gc_hub->read_value(queue.vmid, packet_address, packet, Client::kCp, false)) {
    return hang(queue, "a barrier packet cannot be read");
  }
  int waiting = 0, met = 0;
  for (const uint64_t signal : packet.signals) {
    if (signal == 0) continue;
    uint64_t value = 0;
    if (!load(queue, signal + kSignalValueOffset, value, false)) {
      return hang(queue, "a barrier's signal cannot be read");
    }
    (value == 0 ? met : waiting) += 1;
  }
  if (any ? (met == 0 && waiting > 0) : waiting > 0) return Outcome::kWait;
  return complete_signal(queue, packet.completion_signal)
             ? Outcome::kDone
             : hang(queue, "a completion signal cannot be written");
}

bool Mec::complete_signal(Queue& queue, uint64_t signal) {
  if (signal == 0) return true;
  uint64_t value = 0;
  return load(queue, signal + kSignalValueOffset, value) &&
         store(queue, signal + kSignalValueOffset, value - 1);
}

}  // namespace outboard::simulator::card
