#include "hardware/amd/navi31/pm4_writer.h"

#include <algorithm>
#include <initializer_list>

#include "hardware/amd/dwords.h"
#include "hardware/amd/navi31/bring_up.h"
#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/pm4.h"

namespace outboard::hardware::amd::navi31::pm4 {
namespace {

// A type 3 packet with a body of so many dwords, all zero (nvd.h, PACKET3).
std::vector<uint32_t> packet(uint8_t opcode, size_t body) {
  std::vector<uint32_t> out(body + 1);
  out[0] = kType3 << 30 | (static_cast<uint32_t>(body) - 1) << 16 | uint32_t{opcode} << 8;
  return out;
}

}  // namespace

std::vector<uint32_t> barrier() {
  std::vector<uint32_t> out = packet(EVENT_WRITE, 1);
  EventWrite::EVENT_TYPE.put(out.data(), CS_PARTIAL_FLUSH);
  EventWrite::EVENT_INDEX.put(out.data(), kIndexOfPartialFlush);
  return out;
}

std::vector<uint32_t> acquire(const Caches& caches) {
  using A = AcquireMem;
  std::vector<uint32_t> out = packet(ACQUIRE_MEM, 7);
  A::COHER_SIZE.put(out.data(), kAllBytes);
  A::COHER_SIZE_HI.put(out.data(), kAllBytesHigh);
  A::GCR_GLI_INV.put(out.data(), caches.instructions ? 1 : 0);
  A::GCR_GLK_INV.put(out.data(), caches.scalar ? 1 : 0);
  A::GCR_GLV_INV.put(out.data(), caches.vector ? 1 : 0);
  A::GCR_GL1_INV.put(out.data(), caches.vector ? 1 : 0);
  A::GCR_GL2_INV.put(out.data(), caches.second_level ? 1 : 0);
  A::GCR_GL2_WB.put(out.data(), caches.second_level ? 1 : 0);
  return out;
}

std::vector<uint32_t> dispatch(const Launch& launch) {
  LaunchWriter writer;
  std::vector<uint32_t> out = writer.registers(launch);
  append(out, writer.start(launch));
  return out;
}

// Neighbours that differ go in one packet.
void LaunchWriter::set(std::vector<uint32_t>& to, uint32_t address,
                       std::span<const uint32_t> values) {
  const auto differs = [&](size_t i) {
    const auto held = held_.find(address + static_cast<uint32_t>(i));
    return held == held_.end() || held->second != values[i];
  };
  for (size_t first = 0; first < values.size(); ++first) {
    if (!differs(first)) continue;
    size_t end = first;
    while (end < values.size() && differs(end)) ++end;
    std::vector<uint32_t> out = packet(SET_SH_REG, end - first + 1);
    out[1] = address + static_cast<uint32_t>(first) - SET_SH_REG_START;
    for (size_t i = first; i < end; ++i)
      out[2 + i - first] = held_[address + static_cast<uint32_t>(i)] = values[i];
    append(to, out);
    first = end;
  }
}

std::vector<uint32_t> LaunchWriter::registers(const Launch& l) {
  std::vector<uint32_t> out;
  const uint64_t program = value(l.program) >> kProgramShift;
  const uint64_t scratch = value(l.scratch) >> kProgramShift;
  const auto put = [&](uint32_t address, std::initializer_list<uint32_t> values) {
    set(out, address, {values.begin(), values.size()});
  };
  put(gc::COMPUTE_PGM_LO::kAddress, {low(program), high(program)});
  put(gc::COMPUTE_PGM_RSRC1::kAddress, {l.rsrc1, l.rsrc2});
  put(gc::COMPUTE_PGM_RSRC3::kAddress, {l.rsrc3});
  put(gc::COMPUTE_TMPRING_SIZE::kAddress, {l.tmpring});
  put(gc::COMPUTE_DISPATCH_SCRATCH_BASE_LO::kAddress, {low(scratch), high(scratch)});
  put(gc::COMPUTE_START_X::kAddress,
      {0, 0, 0, l.workgroup_size[0], l.workgroup_size[1], l.workgroup_size[2]});
  set(out, gc::COMPUTE_USER_DATA_0::kAddress, l.user_data);
  return out;
}

std::vector<uint32_t> LaunchWriter::start(const Launch& l) const {
  std::vector<uint32_t> out = packet(DISPATCH_DIRECT, 4);
  std::copy(l.workgroups.begin(), l.workgroups.end(), out.begin() + 1);
  using I = gc::COMPUTE_DISPATCH_INITIATOR;
  out[4] = I::COMPUTE_SHADER_EN(1) | I::FORCE_START_AT_000(1) | I::CS_W32_EN(l.wave32 ? 1 : 0);
  return out;
}

std::vector<uint32_t> release(GpuAddress address, uint32_t value) {
  using R = ReleaseMem;
  std::vector<uint32_t> out = packet(RELEASE_MEM, 7);
  R::EVENT_TYPE.put(out.data(), CACHE_FLUSH_AND_INV_TS_EVENT);
  R::EVENT_INDEX.put(out.data(), kIndexOfEndOfPipe);
  R::GCR_GL2_WB.put(out.data(), 1);
  R::GCR_GLM_WB.put(out.data(), 1);
  R::GCR_GLM_INV.put(out.data(), 1);  // gfx_v10_0.c: "must be set with GLM_WB"
  R::GCR_SEQ.put(out.data(), 1);
  R::DATA_SEL.put(out.data(), kLow32Bits);
  R::ADDRESS_LO.put(out.data(), low(address));
  R::ADDRESS_HI.put(out.data(), high(address));
  R::DATA_LO.put(out.data(), value);
  return out;
}

std::vector<uint32_t> write_word(GpuAddress address, uint32_t value) {
  std::vector<uint32_t> out = packet(WRITE_DATA, 4);
  WriteData::DST_SEL.put(out.data(), kToMemory);
  WriteData::WR_CONFIRM.put(out.data(), 1);
  WriteData::DST_ADDR_LO.put(out.data(), low(address));
  WriteData::DST_ADDR_HI.put(out.data(), high(address));
  out[4] = value;
  return out;
}

std::vector<uint32_t> indirect_buffer(GpuAddress address, uint32_t dwords) {
  std::vector<uint32_t> out = packet(INDIRECT_BUFFER, 3);
  IndirectBuffer::IB_BASE_LO.put(out.data(), low(address));
  IndirectBuffer::IB_BASE_HI.put(out.data(), high(address));
  IndirectBuffer::IB_SIZE.put(out.data(), dwords);
  IndirectBuffer::VALID.put(out.data(), 1);
  return out;
}

std::vector<uint32_t> nop(size_t dwords) { return packet(NOP, dwords - 1); }

std::vector<uint32_t> skip_unless(GpuAddress address) {
  std::vector<uint32_t> out = packet(COND_EXEC, kSkipDwords - 1);
  CondExec::ADDR_LO.put(out.data(), low(address));
  CondExec::ADDR_HI.put(out.data(), high(address));
  return out;
}

void set_skipped(uint32_t* packet, size_t dwords) {
  CondExec::EXEC_COUNT.put(packet, static_cast<uint32_t>(dwords));
}

}  // namespace outboard::hardware::amd::navi31::pm4
