#include "hardware/amd/navi31/sdma_writer.h"

#include <algorithm>
#include <array>

#include "hardware/amd/dwords.h"
#include "hardware/amd/navi31/bring_up.h"
#include "hardware/amd/navi31/sdma_packets.h"

namespace outboard::hardware::amd::navi31::sdma {
std::vector<uint32_t> copy(GpuAddress to, GpuAddress from, uint64_t bytes) {
  using C = CopyLinear;
  std::vector<uint32_t> out;
  while (bytes > 0) {
    const uint64_t piece = std::min(bytes, kMostCopied);
    std::array<uint32_t, 7> p{};
    C::HEADER_op.put(p.data(), OP_COPY);
    C::HEADER_sub_op.put(p.data(), SUBOP_COPY_LINEAR);
    C::COUNT_count.put(p.data(), low(piece - 1));
    C::SRC_ADDR_LO_src_addr_31_0.put(p.data(), low(from));
    C::SRC_ADDR_HI_src_addr_63_32.put(p.data(), high(from));
    C::DST_ADDR_LO_dst_addr_31_0.put(p.data(), low(to));
    C::DST_ADDR_HI_dst_addr_63_32.put(p.data(), high(to));
    out.insert(out.end(), p.begin(), p.end());
    to += piece;
    from += piece;
    bytes -= piece;
  }
  return out;
}

std::vector<uint32_t> fill(GpuAddress to, uint32_t value, uint64_t bytes) {
  using F = ConstantFill;
  std::vector<uint32_t> out;
  while (bytes > 0) {
    const uint64_t piece = std::min(bytes, kMostFilled);
    std::array<uint32_t, 5> p{};
    F::HEADER_op.put(p.data(), OP_CONST_FILL);
    F::HEADER_fillsize.put(p.data(), kFillDwords);
    F::DST_ADDR_LO_dst_addr_31_0.put(p.data(), low(to));
    F::DST_ADDR_HI_dst_addr_63_32.put(p.data(), high(to));
    F::DATA_src_data_31_0.put(p.data(), value);
    F::COUNT_count.put(p.data(), low(piece - 1));
    out.insert(out.end(), p.begin(), p.end());
    to += piece;
    bytes -= piece;
  }
  return out;
}

std::vector<uint32_t> trap() {
  std::vector<uint32_t> out(2);
  Trap::HEADER_op.put(out.data(), OP_TRAP);
  return out;
}

std::vector<uint32_t> fence(GpuAddress address, uint32_t value) {
  using F = Fence;
  std::vector<uint32_t> out(4);
  F::HEADER_op.put(out.data(), OP_FENCE);
  F::HEADER_mtype.put(out.data(), kFenceMemory);
  F::ADDR_LO_addr_31_0.put(out.data(), low(address));
  F::ADDR_HI_addr_63_32.put(out.data(), high(address));
  F::DATA_data.put(out.data(), value);
  return out;
}

}  // namespace outboard::hardware::amd::navi31::sdma
