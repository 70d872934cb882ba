#include "simulator/card/test_bench.h"

#include <algorithm>
#include <bit>

#include "hardware/amd/navi31/nbio.h"
#include "hardware/amd/navi31/osssys.h"
#include "hardware/amd/navi31/pm4.h"
#include "simulator/card/psp.h"

namespace outboard::simulator::card::testing {

namespace hw = hardware::amd::navi31;
namespace gc = hw::gc;
namespace pte = hw::pte;
namespace oss = hw::osssys;

Bench::Bench(CardOptions options) : board(std::move(options)), guard_(board) {
  board.config.write(0x04, 0x6, 2);  // memory and bus master
}

void Bench::load_firmware() {
  board.psp->leave_running();
  set<hw::nbio::RCC_DEV0_EPF0_RCC_DOORBELL_APER_EN>(1);
  write(hw::nbio::S2A_DOORBELL_ENTRY_0_CTRL::kAddress,
        hw::nbio::S2A_DOORBELL_ENTRY_0_CTRL::S2A_DOORBELL_PORT0_ENABLE(1));
  using Port2 = hw::nbio::S2A_DOORBELL_ENTRY_2_CTRL;
  write(Port2::kAddress,
        Port2::S2A_DOORBELL_PORT2_ENABLE(1) | Port2::S2A_DOORBELL_PORT2_RANGE_OFFSET(0x200));
  using Mec = gc::CP_MEC_RS64_CNTL;
  set<Mec>(Mec::MEC_PIPE0_ACTIVE(1));
  set<gc::CP_MEC_DOORBELL_RANGE_LOWER>(0);
  set<gc::CP_MEC_DOORBELL_RANGE_UPPER>(0xf8);
  // No descriptor in memory, unless a test makes one.
  set<gc::GRBM_GFX_CNTL>(gc::GRBM_GFX_CNTL::MEID(1));
  set<gc::CP_HQD_PERSISTENT_STATE>(0);
  set<gc::GRBM_GFX_CNTL>(0);
}

void Bench::enable_context(uint32_t vmid) {
  const uint64_t root = next_table_;
  next_table_ += 4096;
  roots_[vmid] = root;
  const auto reg = [&](const char* name) {
    return board.registers.find(fmt::format("GCVM_CONTEXT{}_{}", vmid, name));
  };
  write(reg("PAGE_TABLE_BASE_ADDR_LO32"), low(root | 1));
  write(reg("PAGE_TABLE_BASE_ADDR_HI32"), high(root));
  write(reg("PAGE_TABLE_START_ADDR_LO32"), 0);
  write(reg("PAGE_TABLE_END_ADDR_LO32"), 0xffffffff);
  write(reg("PAGE_TABLE_END_ADDR_HI32"), 0xf);
  using Control = gc::GCVM_CONTEXT0_CNTL;
  write(reg("CNTL"), Control::ENABLE_CONTEXT(1) | Control::PAGE_TABLE_DEPTH(3) |
                         Control::RANGE_PROTECTION_FAULT_ENABLE_INTERRUPT(1) |
                         Control::PDE0_PROTECTION_FAULT_ENABLE_INTERRUPT(1) |
                         Control::VALID_PROTECTION_FAULT_ENABLE_INTERRUPT(1) |
                         Control::READ_PROTECTION_FAULT_ENABLE_INTERRUPT(1) |
                         Control::WRITE_PROTECTION_FAULT_ENABLE_INTERRUPT(1) |
                         Control::EXECUTE_PROTECTION_FAULT_ENABLE_INTERRUPT(1));
}

uint64_t Bench::table(uint64_t parent, uint64_t index) {
  auto value = vram<uint64_t>(parent + index * 8);
  if (value == 0) {
    value = next_table_ | pte::VALID(1);
    next_table_ += 4096;
    set_vram(parent + index * 8, value);
  }
  return value & pte::ADDRESS.mask;
}

uint64_t Bench::map(uint32_t vmid, uint64_t address, uint64_t physical, uint64_t flags, int level) {
  uint64_t place = roots_.at(vmid);
  for (int i = 3; i > level; --i) place = table(place, address >> (12 + 9 * i) & 0x1ff);
  place += (address >> (12 + 9 * level) & 0x1ff) * 8;
  set_vram(place, physical | flags | (level > 0 ? pte::PDE_PTE(1) : 0));
  return place;
}

void Bench::invalidate(uint32_t vmids) {
  using Req = gc::GCVM_INVALIDATE_ENG0_REQ;
  set<Req>(Req::PER_VMID_INVALIDATE_REQ(vmids) | Req::INVALIDATE_L2_PTES(1) |
           Req::INVALIDATE_L1_PTES(1));
}

void Bench::start_compute_queue(bool aql) {
  set<gc::GRBM_GFX_CNTL>(gc::GRBM_GFX_CNTL::MEID(1));
  set<gc::CP_HQD_PQ_BASE>(low(mc(kRing) >> 8));
  set<gc::CP_HQD_PQ_BASE_HI>(high(mc(kRing) >> 8));
  set<gc::CP_HQD_PQ_CONTROL>(
      gc::CP_HQD_PQ_CONTROL::QUEUE_SIZE(static_cast<uint32_t>(std::countr_zero(kRingDwords)) - 1));
  set<gc::CP_HQD_PQ_RPTR_REPORT_ADDR>(low(mc(kReport)));
  set<gc::CP_HQD_PQ_RPTR_REPORT_ADDR_HI>(high(mc(kReport)));
  set<gc::CP_HQD_EOP_BASE_ADDR>(low(mc(kEop) >> 8));
  set<gc::CP_HQD_EOP_BASE_ADDR_HI>(high(mc(kEop) >> 8));
  using Doorbell = gc::CP_HQD_PQ_DOORBELL_CONTROL;
  set<Doorbell>(Doorbell::DOORBELL_EN(1) | Doorbell::DOORBELL_OFFSET(6));
  set<gc::CP_HQD_PQ_RPTR>(0);
  set<gc::CP_HQD_PQ_WPTR_LO>(0);
  set<gc::CP_HQD_PQ_WPTR_HI>(0);
  set<gc::CP_HQD_AQL_CONTROL>(aql ? 1 : 0);
  set<gc::CP_HQD_ACTIVE>(1);
  set<gc::GRBM_GFX_CNTL>(0);
  written_ = 0;
}

void Bench::submit(std::initializer_list<std::vector<uint32_t>> packets) {
  for (const auto& words : packets) {
    for (const uint32_t word : words) set_vram(kRing + written_++ % kRingDwords * 4, word);
  }
  board.nbio->doorbell(6, written_);
  run();
}

void Bench::run() {
  while (board.mec->step() || board.sdma[0]->step()) {
  }
}

void Bench::start_sdma_queue() {
  set<gc::SDMA0_F32_CNTL>(0);
  set<gc::SDMA0_CNTL>(gc::SDMA0_CNTL::TRAP_ENABLE(1));
  set<gc::SDMA0_QUEUE0_RB_BASE>(low(mc(kSdmaRing) >> 8));
  set<gc::SDMA0_QUEUE0_RB_BASE_HI>(high(mc(kSdmaRing) >> 8));
  set<gc::SDMA0_QUEUE0_RB_RPTR_ADDR_LO>(low(mc(kSdmaReport)));
  set<gc::SDMA0_QUEUE0_RB_RPTR_ADDR_HI>(high(mc(kSdmaReport)));
  set<gc::SDMA0_QUEUE0_DOORBELL_OFFSET>(gc::SDMA0_QUEUE0_DOORBELL_OFFSET::OFFSET(0x200));
  set<gc::SDMA0_QUEUE0_DOORBELL>(gc::SDMA0_QUEUE0_DOORBELL::ENABLE(1));
  set<gc::SDMA0_QUEUE0_IB_CNTL>(gc::SDMA0_QUEUE0_IB_CNTL::IB_ENABLE(1));
  using Control = gc::SDMA0_QUEUE0_RB_CNTL;
  set<Control>(Control::RB_ENABLE(1) | Control::RPTR_WRITEBACK_ENABLE(1) |
               Control::RB_SIZE(static_cast<uint32_t>(std::countr_zero(kRingDwords))));
  sdma_written_ = 0;
}

void Bench::submit_sdma(std::initializer_list<std::vector<uint32_t>> packets) {
  for (const auto& words : packets) {
    for (const uint32_t word : words) set_vram(kSdmaRing + sdma_written_++ % kRingDwords * 4, word);
  }
  board.nbio->doorbell(0x200, sdma_written_ * 4);
  run();
}

void Bench::start_interrupts() {
  set<oss::IH_RB_BASE>(low(mc(kInterruptRing) >> 8));
  set<oss::IH_RB_BASE_HI>(high(mc(kInterruptRing) >> 8));
  // 64 dwords: eight entries.
  set<oss::IH_RB_CNTL>(oss::IH_RB_CNTL::RB_ENABLE(1) | oss::IH_RB_CNTL::RB_SIZE(6) |
                       oss::IH_RB_CNTL::WPTR_OVERFLOW_ENABLE(1));
}

std::vector<uint32_t> Bench::entry(int index) {
  std::vector<uint32_t> words(8);
  std::memcpy(words.data(),
              board.vram.at(VramOffset{kInterruptRing + static_cast<uint64_t>(index) * 32}), 32);
  return words;
}

uint32_t Bench::interrupt_count() {
  return oss::IH_RB_WPTR::OFFSET.get(get<oss::IH_RB_WPTR>()) / 8;
}

std::vector<std::string> Bench::events(CardEvent::Kind kind) {
  std::vector<std::string> result;
  for (const CardEvent& event : board.events.all()) {
    if (event.kind == kind) result.push_back(event.where + ": " + event.text);
  }
  return result;
}

std::string Bench::errors() {
  std::string text;
  for (const std::string& line : events(CardEvent::Kind::kDriverError)) text += line + "\n";
  return text;
}

std::vector<uint32_t> packet(uint8_t opcode, std::vector<uint32_t> body) {
  uint32_t word = 0;
  hw::pm4::Header::TYPE.put(&word, 3);
  hw::pm4::Header::OPCODE.put(&word, opcode);
  hw::pm4::Header::COUNT.put(&word, static_cast<uint32_t>(body.size()) - 1);
  body.insert(body.begin(), word);
  return body;
}

}  // namespace outboard::simulator::card::testing
