// Headers: Linux amdgpu amdgpu_ucode.h. The mark and the size in images for the boot loader: the
// public descriptions of AMD's PSP images (psptool's HeaderFile).
#include "simulator/card/firmware_images.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "hardware/amd/firmware_names.h"
#include "hardware/amd/navi31/psp.h"
#include "hardware/amd/navi31/ucode.h"

namespace outboard::simulator::card {
namespace {

namespace ucode = hardware::amd::navi31::ucode;
namespace psp = hardware::amd::navi31::psp;
using Bytes = std::vector<std::byte>;

constexpr uint32_t kAlignment = 0x100;

// Bytes that differ from image to image (xorshift, seeded by the name).
Bytes contents(std::string_view name, size_t size) {
  uint64_t state = 0x9e3779b97f4a7c15;
  for (const char c : name) state = (state ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  Bytes out(size);
  for (std::byte& byte : out) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    byte = static_cast<std::byte>(state >> 32);
  }
  return out;
}

// An image for the boot loader: a mark at 0x10, the size of the whole at 0x6c.
Bytes signed_image(std::string_view name, uint32_t size) {
  Bytes out = contents(name, size);
  make_stand_in_image(out);
  return out;
}

// A file that grows: parts are laid behind each other, the header is written last.
class File {
 public:
  explicit File(uint32_t first = kAlignment) : bytes_(first) {}

  // Returns the part's offset.
  uint32_t add(const Bytes& part) {
    const auto at =
        (static_cast<uint32_t>(bytes_.size()) + kAlignment - 1) / kAlignment * kAlignment;
    bytes_.resize(at);
    bytes_.insert(bytes_.end(), part.begin(), part.end());
    return at;
  }
  template <typename Header>
  Bytes finish(Header header) {
    auto common = common_of(header);
    common.size_bytes = static_cast<uint32_t>(bytes_.size());
    if (common.header_size_bytes == 0) common.header_size_bytes = sizeof(Header);
    std::memcpy(&header, &common, sizeof common);
    std::memcpy(bytes_.data(), &header, sizeof header);
    return bytes_;
  }
  void put(uint32_t offset, const void* data, size_t size) {
    std::memcpy(&bytes_[offset], data, size);
  }

 private:
  // Every header begins with the common one.
  template <typename Header>
  static ucode::common_firmware_header common_of(const Header& header) {
    ucode::common_firmware_header common;
    std::memcpy(&common, &header, sizeof common);
    return common;
  }

  Bytes bytes_;
};

ucode::common_firmware_header common(uint16_t major, uint16_t minor, uint16_t ip_major,
                                     uint32_t ucode_offset, size_t ucode_bytes) {
  ucode::common_firmware_header out{};
  out.header_version_major = major;
  out.header_version_minor = minor;
  out.ip_version_major = ip_major;
  out.ucode_version = 1;
  out.ucode_array_offset_bytes = ucode_offset;
  out.ucode_size_bytes = static_cast<uint32_t>(ucode_bytes);
  return out;
}

Bytes make_sos(const Moods& moods) {
  struct Kind {
    std::string_view name;
    uint32_t type, bytes;
    bool optional = false;
  };
  constexpr std::array<Kind, 10> kKinds = {{
      {"SOS", psp::PSP_FW_TYPE_PSP_SOS, 0x20000},
      {"SYS_DRV", psp::PSP_FW_TYPE_PSP_SYS_DRV, 0x8000},
      {"KDB", psp::PSP_FW_TYPE_PSP_KDB, 0x2000},
      {"TOC", psp::PSP_FW_TYPE_PSP_TOC, 0x800, true},
      {"SPL", psp::PSP_FW_TYPE_PSP_SPL, 0x2000, true},
      {"RL", psp::PSP_FW_TYPE_PSP_RL, 0x2000, true},
      {"SOC_DRV", psp::PSP_FW_TYPE_PSP_SOC_DRV, 0x2000, true},
      {"INTF_DRV", psp::PSP_FW_TYPE_PSP_INTF_DRV, 0x2000, true},
      {"DBG_DRV", psp::PSP_FW_TYPE_PSP_DBG_DRV, 0x2000, true},
      {"RAS_DRV", psp::PSP_FW_TYPE_PSP_RAS_DRV, 0x2000, true},
  }};
  constexpr uint32_t kFirst = 0x400;  // the list of images lies before it
  File file(kFirst);
  std::vector<ucode::psp_fw_bin_desc> list;
  size_t sum = 0;
  for (const Kind& kind : kKinds) {
    if (kind.optional && moods.has(Mood::kFirmwareMissing)) continue;
    const bool empty = kind.optional && moods.has(Mood::kFirmwareEmpty);
    const Bytes image = empty ? Bytes() : signed_image(kind.name, kind.bytes);
    // Offsets count from the start of the ucode array.
    const uint32_t at = file.add(image);
    list.push_back({kind.type, 1, at - kFirst, static_cast<uint32_t>(image.size())});
    sum += image.size();
  }
  // Version 2.1 ends with variants for other cards; whoever took them would start the wrong OS.
  const auto minor = static_cast<uint16_t>(moods.has(Mood::kFirmwareHeader) ? 1 : 0);
  const uint32_t variants = minor;
  if (minor == 1) list.push_back({psp::PSP_FW_TYPE_PSP_SOS, 1, 0, 0x100});
  ucode::psp_firmware_header_v2_0 header{common(2, minor, 13, kFirst, sum),
                                         static_cast<uint32_t>(list.size())};
  size_t at = sizeof header;
  if (minor == 1) {
    file.put(static_cast<uint32_t>(at), &variants, sizeof variants);
    at += sizeof variants;
  }
  const size_t bytes = list.size() * sizeof list[0];
  file.put(static_cast<uint32_t>(at), list.data(), bytes);
  header.header.header_size_bytes = static_cast<uint32_t>(at + bytes);
  return file.finish(header);
}

Bytes make_smu(const Moods& moods) {
  File file;
  const Bytes image = contents("smu", 0x10000);
  if (moods.has(Mood::kFirmwareHeader)) {
    ucode::smc_firmware_header_v1_0 header{};
    header.header = common(1, 0, 13, file.add(image), image.size());
    return file.finish(header);
  }
  ucode::smc_firmware_header_v2_1 header{};  // no soft power tables
  header.v1_0.header = common(2, 1, 13, file.add(image), image.size());
  return file.finish(header);
}

Bytes make_sdma() {
  File file;
  const Bytes context = contents("sdma context", 0x4000),
              control = contents("sdma control", 0x4000);
  ucode::sdma_firmware_header_v2_0 header{};
  header.header = common(2, 0, 6, file.add(context), context.size() + control.size());
  header.ucode_feature_version = 60;
  header.ctx_ucode_size_bytes = static_cast<uint32_t>(context.size());
  header.ctx_jt_offset = header.ctl_jt_offset = 0x400;
  header.ctl_ucode_offset = file.add(control);
  header.ctl_ucode_size_bytes = static_cast<uint32_t>(control.size());
  return file.finish(header);
}

Bytes make_mec() {
  constexpr uint32_t kStart = 0x3000;
  File file;
  const Bytes code = contents("mec", 0x20000), data = contents("mec stack", 0x2000);
  ucode::gfx_firmware_header_v2_0 header{};
  header.ucode_offset_bytes = file.add(code);
  header.header = common(2, 0, 11, header.ucode_offset_bytes, code.size());
  header.ucode_feature_version = 29;
  header.ucode_size_bytes = static_cast<uint32_t>(code.size());
  header.data_offset_bytes = file.add(data);
  header.data_size_bytes = static_cast<uint32_t>(data.size());
  header.ucode_start_addr_lo = kStart;
  return file.finish(header);
}

Bytes make_imu() {
  File file;
  Bytes code = contents("imu code", 0x8000);
  const Bytes data = contents("imu data", 0x2000);
  ucode::imu_firmware_header_v1_0 header{};
  header.imu_iram_ucode_size_bytes = static_cast<uint32_t>(code.size());
  header.imu_dram_ucode_size_bytes = static_cast<uint32_t>(data.size());
  code.insert(code.end(), data.begin(), data.end());  // the data lies right behind the code
  header.imu_iram_ucode_offset_bytes = file.add(code);
  header.imu_dram_ucode_offset_bytes =
      header.imu_iram_ucode_offset_bytes + header.imu_iram_ucode_size_bytes;
  header.header = common(1, 0, 11, header.imu_iram_ucode_offset_bytes, code.size());
  return file.finish(header);
}

Bytes make_rlc(const Moods& moods) {
  constexpr uint32_t kFirst = 0x200;
  File file(kFirst);
  ucode::rlc_firmware_header_v2_3 header{};
  auto& v2_2 = header.v2_2;
  auto& v2_1 = v2_2.v2_1;
  const Bytes code = contents("rlc code", 0x8000);
  const auto minor = static_cast<uint16_t>(moods.has(Mood::kFirmwareHeader) ? 2 : 3);
  v2_1.v2_0.header = common(2, minor, 11, file.add(code), code.size());
  v2_1.v2_0.ucode_feature_version = 29;
  v2_1.save_restore_list_cntl_size_bytes = 0x100;
  v2_1.save_restore_list_cntl_offset_bytes = file.add(contents("rlc cntl", 0x100));
  v2_1.save_restore_list_gpm_size_bytes = 0x400;
  v2_1.save_restore_list_gpm_offset_bytes = file.add(contents("rlc gpm", 0x400));
  v2_1.save_restore_list_srm_size_bytes = 0x400;
  v2_1.save_restore_list_srm_offset_bytes = file.add(contents("rlc srm", 0x400));
  v2_2.rlc_iram_ucode_size_bytes = 0x2000;
  v2_2.rlc_iram_ucode_offset_bytes = file.add(contents("rlc iram", 0x2000));
  v2_2.rlc_dram_ucode_size_bytes = 0x2000;
  v2_2.rlc_dram_ucode_offset_bytes = file.add(contents("rlc dram", 0x2000));
  if (minor == 2) return file.finish(v2_2);
  if (moods.has(Mood::kFirmwareEmpty)) return file.finish(header);
  header.rlcp_ucode_size_bytes = 0x1000;
  header.rlcp_ucode_offset_bytes = file.add(contents("rlcp", 0x1000));
  header.rlcv_ucode_size_bytes = 0x1000;
  header.rlcv_ucode_offset_bytes = file.add(contents("rlcv", 0x1000));
  return file.finish(header);
}

}  // namespace

void make_stand_in_image(std::span<std::byte> bytes) {
  constexpr std::string_view kMark = "$PS1";
  constexpr size_t kHead = 0x100;
  if (bytes.size() < kHead) return;
  const auto size = static_cast<uint32_t>(bytes.size());
  std::memcpy(&bytes[0x10], kMark.data(), kMark.size());
  std::memcpy(&bytes[0x6c], &size, sizeof size);
}

std::map<std::string, std::vector<std::byte>> firmware_images(const Moods& moods,
                                                              const hardware::amd::Chip& chip) {
  const hardware::amd::FirmwareNames names(chip.blocks);
  return {
      {names.sos, make_sos(moods)}, {names.smu, make_smu(moods)}, {names.sdma, make_sdma()},
      {names.mec, make_mec()},      {names.imu, make_imu()},      {names.rlc, make_rlc(moods)},
  };
}

}  // namespace outboard::simulator::card
