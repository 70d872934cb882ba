// Scalar memory. Guide: section 8 (scalar memory operations).
#include <array>
#include <cstring>
#include <string_view>

#include "simulator/compute/handlers.h"
#include "simulator/compute/strict.h"
#include "simulator/compute/worker.h"

namespace outboard::simulator::compute {
namespace {

// sbase, soffset: instruction.h. The low two bits of an address do not count.
uint64_t scalar_address(const Wave& wave, const Instruction& i) {
  uint64_t address =
      wave.read_scalar64(i.source[0]) + static_cast<uint64_t>(static_cast<int64_t>(i.offset));
  if (i.source[1].dwords != 0) address += wave.read_scalar(i.source[1]);
  return address & ~uint64_t{3};
}

void load_dwords(Wave& wave, const Op& op, uint64_t address, uint32_t available) {
  const Instruction& i = *op.instruction;
  const uint32_t dwords = i.destination[0].dwords;
  Workgroup& workgroup = *wave.workgroup;
  std::array<uint32_t, 16> data;
  const uint32_t wanted = available < dwords ? available : dwords;
  if (workgroup.strict && wanted != 0) {
    workgroup.strict->scalar_access(wave, op, address, wanted * 4);
  }
  const Tlb::Range* range = workgroup.worker->tlb.find(address, Access::kRead);
  if (range != nullptr && range->covers(address, 64)) {  // as much as any of them loads
    std::memcpy(data.data(), range->at(address), 64);
  } else if (!workgroup.worker->read(address, data.data(), size_t{wanted} * 4)) {
    return;
  }
  std::fill(data.begin() + wanted, data.end(), 0);
  for (uint64_t line = address >> LineLog::kLineShift;
       wanted != 0 && line <= (address + wanted * 4U - 1) >> LineLog::kLineShift; ++line) {
    workgroup.lines.read(line, false);
  }
  for (uint32_t d = 0; d < dwords; ++d) {
    wave.write_sgpr(static_cast<uint16_t>(i.destination[0].code + d), data[d]);
  }
}

void load(Wave& wave, const Op& op) {
  load_dwords(wave, op, scalar_address(wave, *op.instruction),
              op.instruction->destination[0].dwords);
}

// With a buffer resource (guide, 9.1.5): what lies past its records reads as zero.
void load_buffer(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const uint16_t at = i.source[0].code;
  const uint64_t base = wave.sgpr[at] | static_cast<uint64_t>(wave.sgpr[at + 1U] & 0xffff) << 32;
  const uint64_t stride = wave.sgpr[at + 1U] >> 16 & 0x3fff;
  const uint64_t records = wave.sgpr[at + 2U];
  const uint64_t size = stride != 0 ? records * stride : records;
  uint64_t offset = static_cast<uint64_t>(static_cast<int64_t>(i.offset));
  if (i.source[1].dwords != 0) offset += wave.read_scalar(i.source[1]);
  offset &= ~uint64_t{3};
  const uint64_t left = offset < size ? (size - offset) / 4 : 0;
  load_dwords(wave, op, base + offset, static_cast<uint32_t>(left < 16 ? left : 16));
}

void nothing(Wave&, const Op&) {}

}  // namespace

bool prepare_scalar_memory(Op& op, const Instruction& instruction) {
  if (instruction.format != Format::kSmem) return false;
  const std::string_view name = mnemonic(instruction.op);
  op.type = Class::kSmem;
  if (name.starts_with("s_load_")) {
    op.run = load;
  } else if (name.starts_with("s_buffer_load_")) {
    op.run = load_buffer;
  } else if (name == "s_dcache_inv" || name == "s_gl1_inv") {
    op.run = nothing;  // the strict checks look at them
  } else {
    return false;
  }
  return true;
}

}  // namespace outboard::simulator::compute
