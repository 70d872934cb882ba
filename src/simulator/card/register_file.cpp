#include "simulator/card/register_file.h"

#include "hardware/amd/navi31/gc.h"
#include "support/error.h"

namespace outboard::simulator::card {

namespace hw = hardware::amd::navi31;
namespace gc = hw::gc;

namespace {

constexpr uint32_t kPipes = gc::GRBM_GFX_CNTL::PIPEID.get(~0u) + 1;
constexpr uint32_t kMes = gc::GRBM_GFX_CNTL::MEID.get(~0u) + 1;
constexpr uint32_t kQueues = gc::GRBM_GFX_CNTL::QUEUEID.get(~0u) + 1;
constexpr uint32_t kVmids = gc::GRBM_GFX_CNTL::VMID.get(~0u) + 1;

}  // namespace

RegisterFile::RegisterFile(EventLog& events) : events_(events) {
  for (const hw::RegisterInfo& info : hw::registers()) {
    add(info.address, info.name, info.reset_value);
  }
  // The queue descriptor is loaded as one run of addresses (amdgpu_amdkfd_gfx_v11.c, hqd_load), a
  // few of which have no name: they keep what they are given.
  for (uint32_t address = gc::CP_MQD_BASE_ADDR::kAddress;
       address <= gc::CP_HQD_PQ_WPTR_HI::kAddress; ++address) {
    if (!has(address)) add(address, "CP_HQD_(reserved)", 0);
    entry(address).bank = Bank::kQueue;
    entry(address).copies.assign(kMes * kPipes * kQueues, entry(address).reset_value);
  }
}

void RegisterFile::add(uint32_t address, std::string_view name, uint32_t reset_value) {
  Entry& entry = entries_[address];
  entry.name = name;
  entry.reset_value = entry.value = reset_value;
  if (name.starts_with("CP_HQD_") || name.starts_with("CP_MQD_") || name.starts_with("COMPUTE_")) {
    entry.bank = Bank::kQueue;
    entry.copies.assign(kMes * kPipes * kQueues, reset_value);
  } else if (name.starts_with("SH_MEM_")) {
    entry.bank = Bank::kVmid;
    entry.copies.assign(kVmids, reset_value);
  }
  by_name_[name] = address;
}

size_t RegisterFile::copy_of(const Entry& entry) const {
  const Selection& s = selection();
  if (entry.bank == Bank::kVmid) return s.vmid % kVmids;
  return ((s.me % kMes) * kPipes + s.pipe % kPipes) * kQueues + s.queue % kQueues;
}

RegisterFile::Entry& RegisterFile::entry(uint32_t address) {
  const auto found = entries_.find(address);
  if (found == entries_.end()) fail("simulated card: no register at dword {:#x}", address);
  return found->second;
}

const RegisterFile::Entry& RegisterFile::entry(uint32_t address) const {
  return const_cast<RegisterFile*>(this)->entry(address);
}

uint32_t RegisterFile::peek(uint32_t address) const {
  const Entry& e = entry(address);
  return e.bank == Bank::kNone ? e.value : e.copies[copy_of(e)];
}

void RegisterFile::poke(uint32_t address, uint32_t value) {
  Entry& e = entry(address);
  (e.bank == Bank::kNone ? e.value : e.copies[copy_of(e)]) = value;
}

uint32_t RegisterFile::read(uint32_t address) {
  const auto found = entries_.find(address);
  if (found == entries_.end()) {
    events_.not_simulated("registers", "read of dword {:#x}, a register that the tables lack",
                          address);
    return 0;
  }
  const uint32_t stored = peek(address);
  return found->second.read ? found->second.read(stored) : stored;
}

void RegisterFile::write(uint32_t address, uint32_t value) {
  const auto found = entries_.find(address);
  if (found == entries_.end()) {
    events_.not_simulated("registers", "write of dword {:#x}, a register that the tables lack",
                          address);
    return;
  }
  poke(address, value);
  if (found->second.write) found->second.write(value);
}

std::string_view RegisterFile::name(uint32_t address) const {
  const auto found = entries_.find(address);
  return found == entries_.end() ? std::string_view("unknown") : found->second.name;
}

uint32_t RegisterFile::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) fail("simulated card: the tables have no register {}", name);
  return found->second;
}

void RegisterFile::reset() {
  for (auto& [address, e] : entries_) {
    e.value = e.reset_value;
    e.copies.assign(e.copies.size(), e.reset_value);
  }
  selection_ = {};
}

}  // namespace outboard::simulator::card
