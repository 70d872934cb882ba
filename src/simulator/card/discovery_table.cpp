#include "simulator/card/discovery_table.h"

#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>

#include "hardware/amd/navi31/discovery.h"
#include "hardware/amd/navi31/ip_bases.h"

namespace outboard::simulator::card {

namespace hw = hardware::amd::navi31;
namespace ds = hw::discovery;

namespace {

using Versions = hardware::amd::BlockVersions;

struct Block {
  uint16_t id;
  uint8_t instance;
  hardware::amd::Version Versions::* version;
  hw::Ip bases;
};

// The display, video and clock blocks of the real card are left out: nothing here drives
// them.
constexpr Block kBlocks[] = {
    {ds::GC_HWID, 0, &Versions::gc, hw::Ip::kGc},
    {ds::SDMA0_HWID, 0, &Versions::sdma, hw::Ip::kGc},
    {ds::SDMA1_HWID, 0, &Versions::sdma, hw::Ip::kGc},
    {ds::MP0_HWID, 0, &Versions::mp0, hw::Ip::kMp0},
    {ds::MP1_HWID, 0, &Versions::mp1, hw::Ip::kMp1},
    {ds::NBIF_HWID, 0, &Versions::nbio, hw::Ip::kNbio},
    {ds::MMHUB_HWID, 0, &Versions::mmhub, hw::Ip::kMmhub},
    {ds::OSSSYS_HWID, 0, &Versions::osssys, hw::Ip::kOsssys},
    {ds::HDP_HWID, 0, &Versions::hdp, hw::Ip::kHdp},
};

// Of the whole chip. What a card lacks of it, registers tell
// (shader_arrays.h).
ds::gc_info_v1_1 shader_info(const hardware::amd::Die& die) {
  ds::gc_info_v1_1 info{};
  info.header.table_id = ds::GC_TABLE_ID;
  info.header.version_major = 1;
  info.header.version_minor = 1;
  info.header.size = sizeof info;
  info.gc_num_se = die.engines;
  info.gc_num_wgp0_per_sa = die.wgps_per_array;
  info.gc_num_wgp1_per_sa = 0;
  info.gc_num_rb_per_se = 4;
  info.gc_num_gl2c = 24;
  info.gc_num_gprs = 1536;
  info.gc_num_max_gs_thds = 32;
  info.gc_gs_table_depth = 32;
  info.gc_gsprim_buff_depth = 1792;
  info.gc_parameter_cache_depth = 1024;
  info.gc_double_offchip_lds_buffer = 1;
  info.gc_wave_size = 32;
  info.gc_max_waves_per_simd = 16;
  info.gc_max_scratch_slots_per_cu = 32;
  info.gc_lds_size = 64;  // KiB
  info.gc_num_sc_per_se = 1;
  info.gc_num_sa_per_se = die.arrays_per_engine;
  info.gc_num_packer_per_sc = 4;
  info.gc_num_gl2a = 4;
  info.gc_num_tcp_per_sa = 8;
  info.gc_num_sdp_interface = 24;
  info.gc_num_tcps = die.units();  // a vector cache for each
  return info;
}

uint16_t sum(std::span<const std::byte> bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), uint16_t{0}, [](uint16_t total, std::byte b) {
    return static_cast<uint16_t>(total + std::to_integer<uint16_t>(b));
  });
}

template <typename T>
void append(std::vector<std::byte>& out, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// The segments that registers of the tables lie in (hw/*.h), by hw::Ip.
constexpr std::array<uint8_t, hw::kIpBases.size()> kUsedSegments = {0b11,     0b1, 0b1, 0b1,
                                                                    0b101111, 0b1, 0b1};
bool is_used(hw::Ip ip, int segment) {
  return (kUsedSegments[static_cast<size_t>(ip)] >> segment & 1) != 0;
}

std::vector<std::byte> ip_table(size_t offset, const Versions& versions, const Moods& moods) {
  ds::ip_discovery_header header{};
  header.signature = ds::DISCOVERY_TABLE_SIGNATURE;
  header.version = 3;
  header.num_dies = 1;
  // Offsets count from the start of the binary.
  header.die_info_[0] = {};
  header.die_info_[0].die_offset = static_cast<uint16_t>(offset + sizeof header);

  std::vector<std::byte> body;
  ds::die_header die{};
  die.num_ips = static_cast<uint16_t>(std::size(kBlocks));
  append(body, die);
  for (const Block& block : kBlocks) {
    const auto index = static_cast<size_t>(block.bases);
    ds::ip_v3 ip{};
    ip.hw_id = block.id;
    ip.instance_number = block.instance;
    ip.num_base_address = hw::kIpSegments[index];
    const hardware::amd::Version& version = versions.*block.version;
    ip.major = static_cast<uint8_t>(version.major);
    ip.minor = static_cast<uint8_t>(version.minor);
    ip.revision = static_cast<uint8_t>(version.revision);
    const auto bytes = std::as_bytes(std::span(&ip, 1)).first(offsetof(ds::ip_v3, base_address));
    body.insert(body.end(), bytes.begin(), bytes.end());
    for (int i = 0; i < hw::kIpSegments[index]; ++i)
      append(body, hw::kIpBases[index][static_cast<size_t>(i)] +
                       (moods.has(Mood::kUnusedSegments) && !is_used(block.bases, i) ? 0x1000 : 0));
  }
  header.size = static_cast<uint16_t>(sizeof header + body.size());
  std::vector<std::byte> table;
  append(table, header);
  table.insert(table.end(), body.begin(), body.end());
  return table;
}

}  // namespace

std::vector<std::byte> make_discovery_table(const CardModel& model, const Moods& moods) {
  ds::binary_header header{};
  header.binary_signature = ds::BINARY_SIGNATURE;
  header.version_major = 1;
  std::vector<std::byte> binary(sizeof header);
  const auto add = [&](uint32_t which, std::span<const std::byte> table) {
    auto& entry = header.table_list[which];
    entry.offset = static_cast<uint16_t>(binary.size());
    entry.size = static_cast<uint16_t>(table.size());
    entry.checksum = sum(table);
    binary.insert(binary.end(), table.begin(), table.end());
  };
  add(ds::IP_DISCOVERY, ip_table(binary.size(), model.chip->blocks, moods));
  const ds::gc_info_v1_1 info = shader_info(model.chip->die);
  add(ds::GC, std::as_bytes(std::span(&info, 1)));
  ds::harvest_table harvest{};
  harvest.header.signature = ds::HARVEST_TABLE_SIGNATURE;
  for (uint32_t die = model.memory_dies(), i = 0; die < model.chip->die.memory_dies; ++die, ++i) {
    harvest.list[i].hw_id = ds::UMC_HWID;
    harvest.list[i].number_instance = static_cast<uint8_t>(die);
  }
  add(ds::HARVEST_INFO, std::as_bytes(std::span(&harvest, 1)));

  header.binary_size = static_cast<uint16_t>(binary.size());
  std::memcpy(binary.data(), &header, sizeof header);
  // The checksum covers what follows it.
  constexpr size_t kFrom = offsetof(ds::binary_header, binary_size);
  header.binary_checksum = sum(std::span(binary).subspan(kFrom));
  std::memcpy(binary.data(), &header, sizeof header);
  return binary;
}

}  // namespace outboard::simulator::card
