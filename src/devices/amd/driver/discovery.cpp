#include "devices/amd/driver/discovery.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

#include "devices/amd/driver/blocks.h"
#include "devices/amd/driver/memory.h"
#include "hardware/amd/navi31/address_space.h"
#include "hardware/amd/navi31/bring_up.h"
#include "hardware/amd/navi31/discovery.h"
#include "hardware/amd/navi31/ip_blocks.h"
#include "hardware/amd/navi31/mp.h"
#include "hardware/amd/navi31/nbio.h"
#include "support/error.h"

namespace outboard::devices::amd::driver {
namespace {

namespace table = hw::discovery;

constexpr uint64_t kTableBytes = Kept::kTableBytes;
constexpr uint64_t kTableFromEnd = table::DISCOVERY_TMR_OFFSET;

using Bytes = std::span<const std::byte>;

template <typename T>
T at(Bytes bytes, uint64_t offset, std::string_view what) {
  if (offset > bytes.size() || sizeof(T) > bytes.size() - offset) {
    fail("discovery table: {} lies outside the table, at {}", what, offset);
  }
  T out;
  std::memcpy(&out, &bytes[offset], sizeof(T));
  return out;
}

// Through BAR 0 where it shows the end of VRAM; else dword by dword through the MM_INDEX window, as
// amdgpu_device_mm_access.
std::vector<std::byte> read_table(Context& c, uint64_t vram_bytes) {
  std::vector<std::byte> out(kTableBytes);
  const VramOffset start{vram_bytes - kTableFromEnd};
  if (c.link.bar(hw::bar::kVram).size >= vram_bytes) {
    c.read_vram(start, out);
    return out;
  }
  constexpr uint64_t kLowBits = (uint64_t{1} << hw::nbio::kMmIndexBits) - 1;
  uint32_t high = ~0U;
  for (uint64_t i = 0; i < kTableBytes; i += 4) {
    const uint64_t address = value(start + i);
    if (const auto above = static_cast<uint32_t>(address >> hw::nbio::kMmIndexBits);
        above != high) {
      high = above;
      c.registers.set<hw::nbio::BIF_BX_PF0_MM_INDEX_HI>(high);
    }
    c.registers.set<hw::nbio::BIF_BX_PF0_MM_INDEX>(static_cast<uint32_t>(address & kLowBits) |
                                                   hw::nbio::kMmIndexVram);
    const uint32_t word = c.registers.get<hw::nbio::BIF_BX_PF0_MM_DATA>();
    std::memcpy(&out[i], &word, 4);
  }
  return out;
}

// The sum of all bytes behind the field.
void check_sum(Bytes bytes, const table::binary_header& header) {
  constexpr size_t kStart =
      offsetof(table::binary_header, binary_checksum) + sizeof(header.binary_checksum);
  if (header.binary_size < kStart || header.binary_size > bytes.size())
    fail("discovery table: says it has {} bytes", uint32_t{header.binary_size});
  uint16_t sum = 0;
  for (const std::byte byte : bytes.first(header.binary_size).subspan(kStart))
    sum = static_cast<uint16_t>(sum + static_cast<uint8_t>(byte));
  if (sum != header.binary_checksum)
    fail("discovery table: its bytes sum to {:#x}, expected {:#x}", sum,
         uint32_t{header.binary_checksum});
}

void take_block(const hw::IpBlock& wanted, const table::ip_v3& found, Bytes bases, const Chip& chip,
                Registers& registers) {
  const hardware::amd::Version& version = chip.blocks.*wanted.version;
  if (hardware::amd::Version{found.major, found.minor, found.revision} != version) {
    throw Error(fmt::format("discovery table: {} is version {}.{}.{}, expected {}.{}.{}",
                            wanted.name, found.major, found.minor, found.revision, version.major,
                            version.minor, version.revision),
                fmt::format("This is another chip than {} ({}), for which its PCI id stands.",
                            chip.name, chip.sold_as));
  }
  if (!wanted.bases) return;
  // The card knows where its registers are; tinygrad takes its word, too (amdev.py, _build_regs).
  const size_t segments = hw::kIpSegments[static_cast<size_t>(*wanted.bases)];
  for (size_t i = 0; i < segments && i < found.num_base_address; ++i)
    registers.set_base(*wanted.bases, i, at<uint32_t>(bases, i * 4, "a register base"));
}

void read_blocks(Bytes bytes, const table::binary_header& header, const Chip& chip,
                 CardFacts& facts, Registers& registers) {
  const uint64_t start = header.table_list[table::IP_DISCOVERY].offset;
  const auto dies = at<table::ip_discovery_header>(bytes, start, "the list of dies");
  if (dies.signature != table::DISCOVERY_TABLE_SIGNATURE)
    fail("discovery table: its IP list has no signature");
  std::array<bool, hw::kIpBlocks.size()> seen{};
  for (uint32_t die = 0; die < dies.num_dies && die < std::size(dies.die_info_); ++die) {
    uint64_t next = dies.die_info_[die].die_offset;
    const auto die_header = at<table::die_header>(bytes, next, "a die");
    next += sizeof(die_header);
    for (uint32_t i = 0; i < die_header.num_ips; ++i) {
      constexpr uint64_t kEntry = sizeof(table::ip_v3) - 4;  // without its first base
      table::ip_v3 found{};
      const auto entry = at<std::array<std::byte, kEntry>>(bytes, next, "a block");
      std::memcpy(static_cast<void*>(&found), entry.data(), kEntry);
      const Bytes bases = bytes.subspan(next + kEntry);
      for (size_t w = 0; w < hw::kIpBlocks.size(); ++w) {
        if (found.hw_id != hw::kIpBlocks[w].hardware_id || found.instance_number != 0) continue;
        take_block(hw::kIpBlocks[w], found, bases, chip, registers);
        seen[w] = true;
        facts.blocks.push_back(
            {std::string(hw::kIpBlocks[w].name), found.major, found.minor, found.revision});
      }
      next += kEntry + uint64_t{found.num_base_address} * 4;
    }
  }
  for (size_t w = 0; w < hw::kIpBlocks.size(); ++w) {
    if (!seen[w]) fail("discovery table: no {} in it", hw::kIpBlocks[w].name);
  }
}

table::binary_header read_header(Bytes bytes) {
  const auto header = at<table::binary_header>(bytes, 0, "its header");
  if (header.binary_signature != table::BINARY_SIGNATURE) {
    throw Error(fmt::format("discovery table: signature {:#x}, expected {:#x}",
                            uint32_t{header.binary_signature}, table::BINARY_SIGNATURE),
                "Video memory cannot be read, or the card has not started: power the enclosure off "
                "and on.");
  }
  check_sum(bytes, header);
  return header;
}

CardFacts read_facts(Bytes bytes, uint64_t vram_bytes, const Chip& chip, Registers& registers) {
  CardFacts facts;
  facts.vram_bytes = vram_bytes;
  const table::binary_header header = read_header(bytes);
  read_blocks(bytes, header, chip, facts, registers);
  const auto gc =
      at<table::gc_info_v1_0>(bytes, header.table_list[table::GC].offset, "the shader list");
  if (gc.header.table_id != table::GC_TABLE_ID)
    fail("discovery table: its shader list has no signature");
  facts.shader_engines = gc.gc_num_se;
  facts.arrays_per_engine = gc.gc_num_sa_per_se;
  facts.die_units = facts.compute_units = chip.die.units_per_wgp *
                                          (gc.gc_num_wgp0_per_sa + gc.gc_num_wgp1_per_sa) *
                                          gc.gc_num_sa_per_se * gc.gc_num_se;
  return facts;
}

uint32_t sum_of(Kept kept) {
  kept.sum = 0;
  uint32_t sum = 0;
  for (const std::byte byte : std::as_bytes(std::span(&kept, 1)))
    sum = sum * 31 + static_cast<uint32_t>(byte);
  return sum;
}

}  // namespace

void find_registers(Bytes table, const Chip& chip, Registers& registers) {
  CardFacts facts;
  read_blocks(table, read_header(table), chip, facts, registers);
}

const Chip& chip_of(link::Link& link, Chips chips) {
  const uint32_t id = link.config_read(0, 4);
  if (id == 0xffffffff) {
    throw Error("the card does not answer: its configuration space reads as ones",
                "Check that the enclosure is powered and its cable plugged in.");
  }
  const Chip* chip = hardware::amd::find_chip(id >> 16, chips);
  if (chip == nullptr || (id & 0xffff) != hardware::kVendorAmd) {
    throw Error(fmt::format("found PCI device {:04x}:{:04x}, expected {}", id & 0xffff, id >> 16,
                            hardware::amd::pci_names(chips)),
                fmt::format("Only cards with a {} are supported.", hardware::amd::names_of(chips)));
  }
  return *chip;
}

const Chip& identify(link::Link& link, Chips chips) {
  const Chip& chip = chip_of(link, chips);
  for (const auto& [bar, least] : {std::pair(hw::bar::kVram, uint64_t{1} << 20),
                                   std::pair(hw::bar::kDoorbells, uint64_t{1} << 12),
                                   std::pair(hw::bar::kRegisters, uint64_t{1} << 18)}) {
    if (link.bar(bar).size >= least) continue;
    throw Error(
        fmt::format("BAR {} has {} bytes, expected {} or more", bar, link.bar(bar).size, least),
        "The system has not given the card its addresses: unplug the enclosure and plug it "
        "in again.");
  }
  return chip;
}

namespace {

// A card that was just plugged in or powered on works through its own firmware first. Linux waits
// for that in amdgpu_discovery.c (amdgpu_discovery_read_binary_from_mem, since 6.9: up to a second,
// for cards that are plugged in over USB4), and goes on if it does not see the end.
void wait_for_power_on(Context& c) {
  try {
    c.wait_for(
        {"discovery", "the card's own firmware to be through (C2PMSG_33 bit 31)",
         std::chrono::milliseconds(2000)},
        [&] { return c.registers.get<hw::mp::MP0_SMN_C2PMSG_33>(); },
        [](uint32_t v) { return v != 0xffffffff && (v & hw::psp::kOwnFirmwareThrough) != 0; });
  } catch (const link::LinkLost&) {
    throw;
  } catch (const Error& e) {
    c.note(e.message());
  }
}

}  // namespace

void discover(Context& c) {
  wait_for_power_on(c);
  const uint32_t megabytes = c.registers.get<hw::nbio::RCC_DEV0_EPF0_RCC_CONFIG_MEMSIZE>();
  if (megabytes == 0 || megabytes == 0xffffffff) {
    throw Error(fmt::format("discovery: the card tells a memory size of {:#x} MB", megabytes),
                "Its registers do not answer: the BARs may not be assigned. Unplug the enclosure "
                "and plug it in again.");
  }
  const uint64_t vram_bytes = uint64_t{megabytes} << 20;
  const std::vector<std::byte> bytes = read_table(c, vram_bytes);
  if (c.on_table) c.on_table(bytes);
  c.facts = read_facts(bytes, vram_bytes, *c.chip, c.registers);
  std::copy(bytes.begin(), bytes.end(), c.kept.table.begin());
  gmc::find_vram(c);
}

bool recall(Context& c) {
  c.read_vram(layout::kKept, std::as_writable_bytes(std::span(&c.kept, 1)));
  if (c.kept.mark != Kept::kMark || c.kept.sum != sum_of(c.kept)) return false;
  c.facts = read_facts(c.kept.table, c.kept.vram_bytes, *c.chip, c.registers);
  c.facts.compute_units = c.kept.compute_units;
  c.vram_base = c.kept.vram_base;
  c.vram_end = c.kept.vram_end;
  c.hdp_flush = c.kept.hdp_flush;
  return true;
}

void keep(Context& c) {
  c.kept.mark = Kept::kMark;
  c.kept.vram_bytes = c.facts.vram_bytes;
  c.kept.vram_base = c.vram_base;
  c.kept.vram_end = c.vram_end;
  c.kept.hdp_flush = c.hdp_flush;
  c.kept.sum = sum_of(c.kept);
  c.write_vram(layout::kKept, std::as_bytes(std::span(&c.kept, 1)));
  c.flush_host_writes();
}

}  // namespace outboard::devices::amd::driver
