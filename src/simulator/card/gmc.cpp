#include "simulator/card/gmc.h"

#include <algorithm>
#include <cstring>

#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/interrupts.h"
#include "hardware/amd/navi31/page_table.h"
#include "simulator/card/ih.h"
#include "simulator/card/system_memory.h"

namespace outboard::simulator::card {

namespace hw = hardware::amd::navi31;
namespace gc = hw::gc;
namespace pte = hw::pte;
using compute::Access;
using compute::Translation;

namespace {

using pte::kLevelBits, pte::kLevels;
// Bits that one entry of a level covers: PTB 4 KiB, PDB0 2 MiB, PDB1 1 GiB, PDB2 512 GiB.
constexpr int shift_of(int level) { return pte::kPageBits + kLevelBits * level; }

const char* words(Access access) {
  switch (access) {
    case Access::kRead:
      return "read";
    case Access::kWrite:
      return "write";
    case Access::kExecute:
      return "instruction fetch";
  }
  return "";
}

const char* words(Client client) {
  switch (client) {
    case Client::kCp:
      return "command processor";
    case Client::kTcp:
      return "shader";
    case Client::kSqcInstruction:
      return "instruction cache";
    case Client::kSdma0:
      return "SDMA0";
    case Client::kSdma1:
      return "SDMA1";
    case Client::kOther:
      return "engine";
  }
  return "";
}

}  // namespace

// Both hubs have the same registers under the prefixes GC and MM; the fields are those of GC.
uint32_t Hub::reg(std::string_view pattern, int number) const {
  std::string full = kind_ == Kind::kGc ? "GC" : "MM";
  for (const char c : pattern) {
    if (c == '#') {
      full += std::to_string(number);
    } else {
      full += c;
    }
  }
  return board_.registers.find(full);
}

Hub::Hub(Board& board, Kind kind) : board_(board), kind_(kind) {
  fb_base_ = reg("MC_VM_FB_LOCATION_BASE");
  fb_top_ = reg("MC_VM_FB_LOCATION_TOP");
  fb_offset_ = reg("MC_VM_FB_OFFSET");
  agp_base_ = reg("MC_VM_AGP_BASE");
  agp_bottom_ = reg("MC_VM_AGP_BOT");
  agp_top_ = reg("MC_VM_AGP_TOP");
  l1_control_ = reg("MC_VM_MX_L1_TLB_CNTL");
  fault_status_ = reg("VM_L2_PROTECTION_FAULT_STATUS");
  fault_address_low_ = reg("VM_L2_PROTECTION_FAULT_ADDR_LO32");
  fault_address_high_ = reg("VM_L2_PROTECTION_FAULT_ADDR_HI32");
  fault_control_ = reg("VM_L2_PROTECTION_FAULT_CNTL");
  for (int i = 0; i < kVmids; ++i) {
    context_control_[i] = reg("VM_CONTEXT#_CNTL", i);
    table_low_[i] = reg("VM_CONTEXT#_PAGE_TABLE_BASE_ADDR_LO32", i);
    table_high_[i] = reg("VM_CONTEXT#_PAGE_TABLE_BASE_ADDR_HI32", i);
    start_low_[i] = reg("VM_CONTEXT#_PAGE_TABLE_START_ADDR_LO32", i);
    start_high_[i] = reg("VM_CONTEXT#_PAGE_TABLE_START_ADDR_HI32", i);
    end_low_[i] = reg("VM_CONTEXT#_PAGE_TABLE_END_ADDR_LO32", i);
    end_high_[i] = reg("VM_CONTEXT#_PAGE_TABLE_END_ADDR_HI32", i);
  }
  RegisterFile& registers = board.registers;
  for (int i = 0; i < kEngines; ++i) {
    acknowledge_[i] = reg("VM_INVALIDATE_ENG#_ACK", i);
    semaphore_[i] = reg("VM_INVALIDATE_ENG#_SEM", i);
    registers.on_write(reg("VM_INVALIDATE_ENG#_REQ", i),
                       [this, i](uint32_t value) { invalidate_request(i, value); });
    // The semaphore is taken by reading it: the first reader gets 1 and owns it until it writes 0.
    // A zero in the register means taken (gmc_v11_0.c, gmc_v11_0_flush_vm_hub).
    registers.on_read(semaphore_[i], [this, i](uint32_t stored) {
      board_.registers.poke(semaphore_[i], 0);
      return stored;
    });
    registers.on_write(semaphore_[i],
                       [this, i](uint32_t) { board_.registers.poke(semaphore_[i], 1); });
  }
  registers.on_write(fault_control_, [this](uint32_t value) {
    if (gc::GCVM_L2_PROTECTION_FAULT_CNTL::CLEAR_PROTECTION_FAULT_STATUS_ADDR.get(value) == 0) {
      return;
    }
    board_.registers.poke(fault_status_, 0);
    board_.registers.poke(fault_address_low_, 0);
    board_.registers.poke(fault_address_high_, 0);
  });
  registers.on_write(reg("VM_L2_CNTL2"), [this](uint32_t value) {
    if (gc::GCVM_L2_CNTL2::INVALIDATE_ALL_L1_TLBS.get(value) != 0) invalidate(~0u);
  });
  power_on();
}

void Hub::power_on() {
  for (auto& vmid : tlb_) {
    for (auto& size : vmid) size.clear();
  }
  // Set by the card's own firmware before the host sees it.
  const auto megabytes16 = [](uint64_t address) {
    return static_cast<uint32_t>(address >> hw::kFrameBufferShift);
  };
  board_.registers.poke(fb_base_, megabytes16(value(Board::kFbBase)));
  board_.registers.poke(fb_top_, megabytes16(value(Board::kFbBase) + board_.visible_vram() - 1));
  for (const uint32_t semaphore : semaphore_) board_.registers.poke(semaphore, 1);
}

void Hub::invalidate_request(int engine, uint32_t value) {
  using Req = gc::GCVM_INVALIDATE_ENG0_REQ;
  if (board_.fires("gmc.tlb-stuck", name())) return;
  ++board_.counters.tlb_invalidates;
  const uint32_t vmids = Req::PER_VMID_INVALIDATE_REQ.get(value);
  // Without the L2 bits the walker's cache would hand the old entry back to the L1.
  if (Req::INVALIDATE_L2_PTES.get(value) != 0 && Req::INVALIDATE_L1_PTES.get(value) != 0) {
    invalidate(vmids);
  }
  if (Req::CLEAR_PROTECTION_FAULT_STATUS_ADDR.get(value) != 0) {
    board_.registers.poke(fault_status_, 0);
  }
  using Ack = gc::GCVM_INVALIDATE_ENG0_ACK;
  board_.registers.poke(acknowledge_[engine], Ack::PER_VMID_INVALIDATE_ACK(vmids));
}

void Hub::invalidate(uint32_t vmids) {
  for (int vmid = 0; vmid < kVmids; ++vmid) {
    if ((vmids >> vmid & 1) == 0) continue;
    for (auto& size : tlb_[vmid]) size.clear();
  }
  if (kind_ == Kind::kGc) board_.forget_translations();
}

Translation Hub::resolve_physical(ControllerAddress where) {
  const uint64_t address = value(where);
  const RegisterFile& registers = board_.registers;
  const uint64_t base = uint64_t{registers.peek(fb_base_)} << hw::kFrameBufferShift;
  const uint64_t end = (uint64_t{registers.peek(fb_top_)} + 1) << hw::kFrameBufferShift;
  if (address >= base && address < end) {
    const VramOffset offset{address - base +
                            (uint64_t{registers.peek(fb_offset_)} << hw::kFrameBufferShift)};
    if (!board_.vram.contains(offset, 1)) return {};
    return {board_.vram.at(offset), std::min(end - address, board_.vram.size() - value(offset)),
            true, false, true};
  }
  const uint64_t bottom = uint64_t{registers.peek(agp_bottom_)} << hw::kFrameBufferShift;
  const uint64_t top = (uint64_t{registers.peek(agp_top_)} + 1) << hw::kFrameBufferShift;
  if (address >= bottom && address < top && bottom < top) {
    const link::BusAddress bus{address - bottom +
                               (uint64_t{registers.peek(agp_base_)} << hw::kFrameBufferShift)};
    const SystemMemory::View view = board_.system.find(bus);
    return {view.host, view.bytes, true, true, true};
  }
  return {};
}

Translation Hub::translate(uint32_t vmid, uint64_t address, Access access, Client client,
                           bool counted) {
  // The upper bits repeat the last one.
  address &= (uint64_t{1} << pte::kAddressBits) - 1;
  if (const auto rule = board_.fires("gmc.page-fault", words(client))) {
    return fault(vmid, address, access, client, Fault::kValid, "injected");
  }
  if (vmid == 0) {
    const Translation direct = resolve_physical(ControllerAddress{address});
    if (direct.host != nullptr) return direct;
  }
  Entry* entry = find(vmid, address);
  if (entry == nullptr) entry = walk(vmid, address, access, client);
  if (entry == nullptr) return {};
  // A walk counts when its entry is first used by what counts: whether a poll came before does not
  // matter.
  if (counted && !entry->counted) {
    entry->counted = true;
    ++board_.counters.page_walks;
  }
  if (access == Access::kRead && !entry->readable) {
    return fault(vmid, address, access, client, Fault::kRead, "the page is not readable");
  }
  if (access == Access::kWrite && !entry->writable) {
    return fault(vmid, address, access, client, Fault::kWrite, "the page is not writable");
  }
  if (access == Access::kExecute && !entry->executable) {
    return fault(vmid, address, access, client, Fault::kExecute, "the page is not executable");
  }
  if (entry->system && !board_.config.bus_master()) {
    return fault(vmid, address, access, client, Fault::kUnshared,
                 "system memory, while bus mastering is off in the command register");
  }
  if (entry->system) {
    if (const auto rule = board_.fires("dma.unshared")) {
      board_.system.unshare_page(link::BusAddress{entry->physical + (address - entry->page)});
    }
  }
  const Translation result = view(*entry, address);
  if (result.host != nullptr) return result;
  const uint64_t physical = entry->physical + (address - entry->page);
  if (!entry->system) {
    return fault(vmid, address, access, client, Fault::kValid,
                 fmt::format("the page table points to VRAM offset {:#x}, beyond {} MiB", physical,
                             board_.vram.size() >> 20));
  }
  return fault(vmid, address, access, client, Fault::kUnshared,
               fmt::format("bus address {:#x} is not shared with the card", physical));
}

Hub::Entry* Hub::find(uint32_t vmid, uint64_t address) {
  for (int level = 0; level < kLevels; ++level) {
    auto& table = tlb_[vmid % kVmids][level];
    if (table.empty()) continue;
    const auto found = table.find(address >> shift_of(level));
    if (found != table.end()) return &found->second;
  }
  return nullptr;
}

bool Hub::read_table(uint64_t address, bool system, uint64_t& entry) {
  if (system) {
    const SystemMemory::View view = board_.system.find(link::BusAddress{address});
    if (view.host == nullptr || view.bytes < sizeof entry) return false;
    std::memcpy(&entry, view.host, sizeof entry);
    return true;
  }
  const VramOffset offset{address};
  if (!board_.vram.contains(offset, sizeof entry)) return false;
  std::memcpy(&entry, board_.vram.at(offset), sizeof entry);
  return true;
}

Hub::Entry* Hub::walk(uint32_t vmid, uint64_t address, Access access, Client client) {
  using Control = gc::GCVM_CONTEXT0_CNTL;
  const RegisterFile& registers = board_.registers;
  const uint32_t control = registers.peek(context_control_[vmid]);
  if (Control::ENABLE_CONTEXT.get(control) == 0) {
    fault(vmid, address, access, client, Fault::kRange,
          fmt::format("{} context {} is not enabled", name(), vmid));
    return nullptr;
  }
  const uint64_t start = registers.peek64(start_low_[vmid], start_high_[vmid]) << pte::kPageBits;
  const uint64_t last = registers.peek64(end_low_[vmid], end_high_[vmid]) << pte::kPageBits;
  if (address < start || address >= last + (uint64_t{1} << pte::kPageBits)) {
    fault(vmid, address, access, client, Fault::kRange,
          fmt::format("outside the page table's range {:#x} to {:#x}", start, last));
    return nullptr;
  }
  if (Control::PAGE_TABLE_BLOCK_SIZE.get(control) != 0) {
    board_.events.not_simulated("gmc", "page tables with a block size other than 9 bits");
  }
  const uint64_t offset = address - start;  // tables begin at the range's start
  uint64_t entry = registers.peek64(table_low_[vmid], table_high_[vmid]);
  for (int level = static_cast<int>(Control::PAGE_TABLE_DEPTH.get(control));; --level) {
    // `entry` points to the table of this level.
    const uint64_t table = pte::ADDRESS.get(entry) << pte::kPageBits;
    uint64_t index = offset >> shift_of(level);
    if (level != static_cast<int>(Control::PAGE_TABLE_DEPTH.get(control))) {
      index &= (uint64_t{1} << kLevelBits) - 1;
    }
    uint64_t next = 0;
    if (!read_table(table + index * sizeof next, pte::SYSTEM.get(entry) != 0, next)) {
      fault(vmid, address, access, client, Fault::kPde,
            fmt::format("the table of level {} at {:#x} is no memory", level, table));
      return nullptr;
    }
    const bool leaf = level == 0 || pte::PDE_PTE.get(next) != 0;
    if (pte::VALID.get(next) == 0) {
      fault(vmid, address, access, client, leaf ? Fault::kValid : Fault::kPde,
            fmt::format("the entry of level {} is not valid ({:#x})", level, next));
      return nullptr;
    }
    if (!leaf) {
      entry = next;
      continue;
    }
    if (level == 0) check_fragment(table, index, next);
    Entry result;
    result.bytes = uint64_t{1} << shift_of(level);
    result.page = address & ~(result.bytes - 1);
    result.physical = pte::ADDRESS.get(next) << pte::kPageBits;
    result.system = pte::SYSTEM.get(next) != 0;
    result.readable = pte::READABLE.get(next) != 0;
    result.writable = pte::WRITEABLE.get(next) != 0;
    result.executable = pte::EXECUTABLE.get(next) != 0;
    result.uncached = pte::MTYPE.get(next) == pte::MTYPE_UC;
    if (result.system && pte::SNOOPED.get(next) == 0) {
      board_.events.note("gmc", "a system page is mapped without the snooped bit at {:#x}",
                         address);
    }
    Entry& kept = tlb_[vmid][level][address >> shift_of(level)];
    kept = result;
    return &kept;
  }
}

// A fragment tells the TLB that 2^FRAG pages lie one behind the other; the card then uses the
// address of one for all. The first and last entry must agree.
void Hub::check_fragment(uint64_t table, uint64_t index, uint64_t entry) {
  const uint64_t fragment = pte::FRAG.get(entry);
  if (fragment == 0 || fragment > kLevelBits || pte::SYSTEM.get(entry) != 0) return;
  const uint64_t first = index & ~((uint64_t{1} << fragment) - 1);
  const uint64_t last = first + (uint64_t{1} << fragment) - 1;
  for (const uint64_t other : {first, last}) {
    uint64_t value = 0;
    if (!read_table(table + other * sizeof value, false, value)) return;
    const uint64_t expected = pte::ADDRESS.get(entry) + other - index;
    if (pte::VALID.get(value) == 0 || pte::ADDRESS.get(value) != expected) {
      board_.events.driver_error("gmc",
                                 "a page table entry claims a fragment of {} pages, but entry {} "
                                 "of the table at {:#x} does "
                                 "not continue it",
                                 uint64_t{1} << fragment, other, table);
      return;
    }
  }
}

Translation Hub::view(const Entry& entry, uint64_t address) {
  const uint64_t inside = address - entry.page;
  const uint64_t physical = entry.physical + inside;
  const uint64_t bytes = entry.bytes - inside;
  if (entry.system) {
    const SystemMemory::View view = board_.system.find(link::BusAddress{physical});
    return {view.host, std::min(view.bytes, bytes), entry.writable, true, entry.uncached};
  }
  const VramOffset offset{physical};
  if (!board_.vram.contains(offset, 1)) return {};
  return {board_.vram.at(offset), std::min(bytes, board_.vram.size() - physical), entry.writable,
          false, entry.uncached};
}

Translation Hub::fault(uint32_t vmid, uint64_t address, Access access, Client client, Fault kind,
                       const std::string& detail) {
  using Status = gc::GCVM_L2_PROTECTION_FAULT_STATUS;
  using Control = gc::GCVM_CONTEXT0_CNTL;
  ++board_.counters.page_faults;
  RegisterFile& registers = board_.registers;
  const std::string text = fmt::format("{} {} of {:#x} in VMID {}: {}", words(client),
                                       words(access), address, vmid, detail);
  if (detail == "injected") {
    board_.events.fault("gmc", "page fault: {}", text);
  } else if (kind == Fault::kUnshared) {
    board_.events.driver_error("gmc", "{}: kernel panic on a Mac", text);
  } else {
    board_.events.driver_error("gmc", "page fault: {}", text);
  }

  // The first fault stays in the registers until the driver clears it.
  if (registers.peek(fault_status_) != 0) {
    registers.poke(fault_status_, Status::MORE_FAULTS.put(registers.peek(fault_status_), 1));
  } else {
    // PERMISSION_FAULTS: valid, read, write, execute from bit 0 on. WALKER_ERROR: 1 range, 2 PDE0,
    // as the names in gmc_v11_0.c's report suggest; the numbers are not documented.
    uint32_t permission = 0, walker = 0;
    switch (kind) {
      case Fault::kRange:
        walker = 1;
        break;
      case Fault::kPde:
        walker = 2;
        break;
      case Fault::kValid:
        permission = 1;
        break;
      case Fault::kRead:
        permission = 2;
        break;
      case Fault::kWrite:
        permission = 4;
        break;
      case Fault::kExecute:
        permission = 8;
        break;
      case Fault::kUnshared:
        permission = 1;
        break;
    }
    registers.poke(fault_status_,
                   Status::WALKER_ERROR(walker) | Status::PERMISSION_FAULTS(permission) |
                       Status::MAPPING_ERROR(kind == Fault::kPde ? 1 : 0) |
                       Status::CID(static_cast<uint32_t>(client)) |
                       Status::RW(access == Access::kWrite ? 1 : 0) | Status::VMID(vmid));
    const uint64_t page = address >> pte::kPageBits;
    registers.poke(fault_address_low_, static_cast<uint32_t>(page));
    registers.poke(fault_address_high_, static_cast<uint32_t>(page >> 32));
  }

  const uint32_t control = registers.peek(context_control_[vmid]);
  bool interrupt = false;
  switch (kind) {
    case Fault::kRange:
      interrupt = Control::RANGE_PROTECTION_FAULT_ENABLE_INTERRUPT.get(control);
      break;
    case Fault::kPde:
      interrupt = Control::PDE0_PROTECTION_FAULT_ENABLE_INTERRUPT.get(control);
      break;
    case Fault::kValid:
      interrupt = Control::VALID_PROTECTION_FAULT_ENABLE_INTERRUPT.get(control);
      break;
    case Fault::kRead:
      interrupt = Control::READ_PROTECTION_FAULT_ENABLE_INTERRUPT.get(control);
      break;
    case Fault::kWrite:
      interrupt = Control::WRITE_PROTECTION_FAULT_ENABLE_INTERRUPT.get(control);
      break;
    case Fault::kExecute:
      interrupt = Control::EXECUTE_PROTECTION_FAULT_ENABLE_INTERRUPT.get(control);
      break;
    case Fault::kUnshared:
      interrupt = Control::VALID_PROTECTION_FAULT_ENABLE_INTERRUPT.get(control);
      break;
  }
  if (interrupt) {
    // Context words: page number (gmc_v11_0.c, gmc_v11_0_process_interrupt).
    const uint64_t page = address >> pte::kPageBits;
    Interrupts::Entry entry;
    entry.client =
        kind_ == Kind::kGc ? hw::ih::SOC21_IH_CLIENTID_GFX : hw::ih::SOC21_IH_CLIENTID_VMC;
    entry.source = hw::ih::GFX_11_0_0__SRCID__UTCL2_FAULT;
    entry.vmid = vmid;
    entry.vmid_type = kind_ == Kind::kGc ? 0 : 1;
    entry.context[0] = static_cast<uint32_t>(page);
    entry.context[1] = static_cast<uint32_t>(page >> 32) & 0xf;
    board_.interrupts->raise(entry);
  }
  return {};
}

bool Hub::read(uint32_t vmid, uint64_t address, std::span<std::byte> out, Client client,
               bool counted) {
  while (!out.empty()) {
    const Translation page = translate(vmid, address, Access::kRead, client, counted);
    if (page.host == nullptr) return false;
    const size_t n = std::min<uint64_t>(page.bytes, out.size());
    if (!page.system && counted) {
      const auto offset = board_.vram.offset_of(page.host);
      if (board_.vram.is_unflushed(offset, n)) {
        board_.events.note(
            "hdp",
            "the {} read VRAM that the host wrote through BAR 0 without an HDP flush "
            "since: the real card may see the old contents",
            words(client));
      }
    }
    copy_from_system(out.data(), page.host, n);
    if (!page.system && (client == Client::kSdma0 || client == Client::kSdma1))
      board_.vram.see_through(board_.vram.offset_of(page.host), out.first(n));
    if (page.system && counted) board_.counters.dma_read_bytes += n;
    out = out.subspan(n);
    address += n;
  }
  return true;
}

bool Hub::write(uint32_t vmid, uint64_t address, std::span<const std::byte> data, Client client,
                bool counted) {
  while (!data.empty()) {
    const Translation page = translate(vmid, address, Access::kWrite, client, counted);
    if (page.host == nullptr) return false;
    const size_t n = std::min<uint64_t>(page.bytes, data.size());
    if (!page.system) {
      const auto offset = board_.vram.offset_of(page.host);
      if (board_.vram.is_protected(offset, n)) {
        board_.events.driver_error("gmc", "the {} writes VRAM {:#x}, in the trusted memory region",
                                   words(client), offset);
        return false;
      }
    }
    const bool past_gl2 = client == Client::kSdma0 || client == Client::kSdma1;
    if (!page.system && past_gl2 && board_.is(Mood::kStaleLines)) {
      board_.vram.hold(board_.vram.offset_of(page.host), data.first(n));
    } else {
      copy_to_system(page.host, data.data(), n);
    }
    if (page.system && counted) board_.counters.dma_write_bytes += n;
    data = data.subspan(n);
    address += n;
  }
  return true;
}

Translation ShaderMemory::translate(uint64_t address, Access access) {
  const Board::Guard guard(board_);
  return board_.gc_hub->translate(
      vmid_, address, access, access == Access::kExecute ? Client::kSqcInstruction : Client::kTcp);
}

}  // namespace outboard::simulator::card
