#include "devices/amd/driver/firmware.h"

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "devices/amd/chip.h"
#include "hardware/amd/firmware_names.h"
#include "hardware/amd/navi31/psp.h"
#include "hardware/amd/navi31/ucode.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::devices::amd::driver {
namespace {

namespace psp = hw::psp;
namespace ucode = hw::ucode;
using Bytes = std::span<const std::byte>;

// A firmware file whose parts are asked for by name.
class File {
 public:
  File(Bytes bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}

  template <typename Header>
  Header header() const {
    Header out;
    std::memcpy(&out, part("header", 0, sizeof(Header)).data(), sizeof(Header));
    return out;
  }
  Bytes part(std::string_view what, uint64_t offset, uint64_t size) const {
    if (size == 0 || offset > bytes_.size() || size > bytes_.size() - offset) {
      throw Error(fmt::format("{}: {}: {} bytes at {} of a file of {}", name_, what, size, offset,
                              bytes_.size()),
                  "The file is cut off or no firmware: get the images again from linux-firmware.");
    }
    return bytes_.subspan(offset, size);
  }
  // A part that may be absent: no bytes.
  Bytes part_if_any(std::string_view what, uint64_t offset, uint64_t size) const {
    return size == 0 ? Bytes() : part(what, offset, size);
  }
  // The header's version must be one that we know the layout of: `major`, and a minor number up to
  // `newest`. Returns the minor number.
  int expect(int major, int newest) const {
    const auto common = header<ucode::common_firmware_header>();
    if (common.header_version_major == major && common.header_version_minor <= newest)
      return common.header_version_minor;
    throw Error(fmt::format("{}: header version {}.{}, expected {}.0 to {}.{}", name_,
                            uint16_t{common.header_version_major},
                            uint16_t{common.header_version_minor}, major, major, newest),
                "The file is of another card's generation, or newer than this program: get the "
                "images with `outboard pull firmware`.");
  }

  const std::string& name() const { return name_; }

 private:
  Bytes bytes_;
  std::string name_;
};

// Source: amdgpu_psp.c, psp_init_sos_microcode. Version 2.1 has one more number before its list:
// how many images at the list's end are variants for cards that boot with another secure OS.
void read_boot_images(const File& file, Firmware& out) {
  const int minor = file.expect(2, 1);
  const auto header = file.header<ucode::psp_firmware_header_v2_0>();
  constexpr uint32_t kMost = 64;  // UCODE_MAX_PSP_PACKAGING
  uint32_t count = header.psp_fw_bin_count;
  size_t list = sizeof(header);
  if (minor == 1) {
    uint32_t variants = 0;
    std::memcpy(&variants, file.part("image list", list, sizeof(variants)).data(),
                sizeof(variants));
    list += sizeof(variants);
    count -= std::min(variants, count);
  }
  if (count > kMost) fail("{}: it lists {} images", file.name(), count);
  for (uint32_t i = 0; i < count; ++i) {
    ucode::psp_fw_bin_desc each;
    std::memcpy(&each, file.part("image list", list + i * sizeof(each), sizeof(each)).data(),
                sizeof(each));
    // One of no bytes is not there (is_psp_fw_valid).
    const Bytes image = file.part_if_any(
        "boot image", uint64_t{header.header.ucode_array_offset_bytes} + each.offset_bytes,
        each.size_bytes);
    if (!image.empty()) out.boot[each.fw_type] = image;
  }
}

void add(Firmware& out, uint32_t type, Bytes bytes) {
  if (!bytes.empty()) out.images.push_back({{type}, bytes});
}

// Both versions begin alike, and no more than that is needed.
void read_smu(const File& file, Firmware& out) {
  const auto header = file.header<ucode::common_firmware_header>();
  if (header.header_version_major != 1) file.expect(2, 1);
  out.smu = {{psp::GFX_FW_TYPE_SMU},
             file.part("code", header.ucode_array_offset_bytes, header.ucode_size_bytes)};
}

// Version 1 has one image for engines up to version 5, version 3 one for version 7.
void read_sdma(const File& file, Firmware& out) {
  file.expect(2, 0);
  const auto header = file.header<ucode::sdma_firmware_header_v2_0>();
  add(out, psp::GFX_FW_TYPE_SDMA_UCODE_TH1,
      file.part("control thread", header.ctl_ucode_offset, header.ctl_ucode_size_bytes));
  add(out, psp::GFX_FW_TYPE_SDMA_UCODE_TH0,
      file.part("context thread", header.header.ucode_array_offset_bytes,
                header.ctx_ucode_size_bytes));
}

// Version 1 is for the compute engine before RS64, which starts otherwise (gfx_v11_0.c).
void read_mec(const File& file, Firmware& out) {
  file.expect(2, 0);
  const auto header = file.header<ucode::gfx_firmware_header_v2_0>();
  add(out, psp::GFX_FW_TYPE_RS64_MEC,
      file.part("code", header.header.ucode_array_offset_bytes, header.ucode_size_bytes));
  add(out, psp::GFX_FW_TYPE_RS64_MEC_P0_STACK,
      file.part_if_any("data", header.data_offset_bytes, header.data_size_bytes));
  out.mec_start = header.ucode_start_addr_lo | uint64_t{header.ucode_start_addr_hi} << 32;
}

void read_imu(const File& file, Firmware& out) {
  file.expect(1, 0);
  const auto header = file.header<ucode::imu_firmware_header_v1_0>();
  const uint64_t code = header.header.ucode_array_offset_bytes;
  const uint32_t code_bytes = header.imu_iram_ucode_size_bytes;
  add(out, psp::GFX_FW_TYPE_IMU_I, file.part("code", code, code_bytes));
  add(out, psp::GFX_FW_TYPE_IMU_D,
      file.part_if_any("data", code + code_bytes, header.imu_dram_ucode_size_bytes));
}

// Source: amdgpu_rlc.c, amdgpu_gfx_rlc_init_microcode: what each minor version brought. As tinygrad
// takes them (AMFirmware): the save and restore lists of a 2.1 only (Linux has them from 2.1 on),
// and of a 2.4 what a 2.2 has (Linux also loads its delays).
void read_rlc(const File& file, Firmware& out) {
  const int minor = file.expect(2, 4);
  const auto part = [&](uint32_t type, std::string_view what, uint64_t offset, uint64_t size) {
    add(out, type, file.part_if_any(what, offset, size));
  };
  if (minor == 1) {
    const auto h1 = file.header<ucode::rlc_firmware_header_v2_1>();
    part(psp::GFX_FW_TYPE_RLC_RESTORE_LIST_SRM_CNTL, "list", h1.save_restore_list_cntl_offset_bytes,
         h1.save_restore_list_cntl_size_bytes);
    part(psp::GFX_FW_TYPE_RLC_RESTORE_LIST_GPM_MEM, "list", h1.save_restore_list_gpm_offset_bytes,
         h1.save_restore_list_gpm_size_bytes);
    part(psp::GFX_FW_TYPE_RLC_RESTORE_LIST_SRM_MEM, "list", h1.save_restore_list_srm_offset_bytes,
         h1.save_restore_list_srm_size_bytes);
  }
  if (minor >= 2) {
    const auto h2 = file.header<ucode::rlc_firmware_header_v2_2>();
    part(psp::GFX_FW_TYPE_RLC_IRAM, "iram", h2.rlc_iram_ucode_offset_bytes,
         h2.rlc_iram_ucode_size_bytes);
    part(psp::GFX_FW_TYPE_RLC_DRAM_BOOT, "dram", h2.rlc_dram_ucode_offset_bytes,
         h2.rlc_dram_ucode_size_bytes);
  }
  if (minor == 3) {
    const auto h3 = file.header<ucode::rlc_firmware_header_v2_3>();
    part(psp::GFX_FW_TYPE_RLC_P, "rlcp", h3.rlcp_ucode_offset_bytes, h3.rlcp_ucode_size_bytes);
    part(psp::GFX_FW_TYPE_RLC_V, "rlcv", h3.rlcv_ucode_offset_bytes, h3.rlcv_ucode_size_bytes);
  }
  // The main image starts the autoload, so it comes last.
  const auto common = file.header<ucode::common_firmware_header>();
  add(out, psp::GFX_FW_TYPE_RLC_G,
      file.part("code", common.ucode_array_offset_bytes, common.ucode_size_bytes));
}

// Compressed kinds that distributions ship, and the programs that unpack them to standard output.
struct Packing {
  std::string_view ending, command;
};
constexpr std::array<Packing, 2> kPackings = {{{".zst", "zstd -dcq"}, {".xz", "xz -dcq"}}};

// Where a file lies in a folder, plain or compressed; empty: nowhere.
std::filesystem::path file_of(const std::filesystem::path& folder, const std::string& name) {
  std::error_code ignored;  // a folder that can't be looked at has no file for us
  if (std::filesystem::exists(folder / name, ignored)) return folder / name;
  for (const Packing& packing : kPackings) {
    const std::filesystem::path path = folder / (name + std::string(packing.ending));
    if (std::filesystem::exists(path, ignored)) return path;
  }
  return {};
}

std::vector<std::byte> unpack(const std::filesystem::path& path, std::string_view program) {
  std::string quoted = "'";
  for (const char c : path.string()) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  const std::string command = fmt::format("{} -- {}'", program, quoted);
  std::vector<std::byte> out;
  const auto close = [&](std::FILE* pipe) {
    if (pipe != nullptr) ::pclose(pipe);
  };
  std::unique_ptr<std::FILE, decltype(close)> pipe(::popen(command.c_str(), "r"), close);
  if (!pipe) throw system_error("run", command);
  std::array<std::byte, 1 << 16> piece{};
  while (const size_t got = std::fread(piece.data(), 1, piece.size(), pipe.get()))
    out.insert(out.end(), piece.begin(), piece.begin() + static_cast<ptrdiff_t>(got));
  if (const int status = ::pclose(pipe.release()); status != 0 || out.empty()) {
    throw Error(fmt::format("firmware: `{}` ended with status {} and {} bytes", command,
                            WEXITSTATUS(status), out.size()),
                fmt::format("Install {}, or unpack the images yourself and name their folder with "
                            "--firmware-dir.",
                            program.substr(0, program.find(' '))));
  }
  return out;
}

std::vector<std::byte> read_file(const std::filesystem::path& path) {
  for (const Packing& packing : kPackings) {
    if (path.extension() == packing.ending) return unpack(path, packing.command);
  }
  const MappedFile mapped(path);
  return {mapped.bytes().begin(), mapped.bytes().end()};
}

}  // namespace

std::vector<std::string> firmware_files(const Chip& chip) {
  const hardware::amd::FirmwareNames names(chip.blocks);
  return {names.sos, names.smu, names.sdma, names.mec, names.imu, names.rlc};
}

std::vector<std::filesystem::path> system_firmware_folders() {
  return {"/lib/firmware/updates/amdgpu", "/lib/firmware/amdgpu", "/usr/lib/firmware/amdgpu"};
}

std::filesystem::path find_firmware(const std::vector<std::filesystem::path>& folders,
                                    const Chip& chip) {
  std::string missing;
  for (const auto& folder : folders) {
    std::string absent;
    for (const std::string& name : firmware_files(chip)) {
      if (file_of(folder, name).empty()) absent = name;
    }
    if (absent.empty()) return folder;
    missing += fmt::format("{}{} has no {}", missing.empty() ? "" : ", ", folder.string(), absent);
  }
  throw Error("firmware: " + (missing.empty() ? "no folder to look in" : missing),
              "Get the card's images with `outboard pull firmware`, or name a folder that holds "
              "linux-firmware's amdgpu images with --firmware-dir.");
}

FirmwareFiles read_firmware(const std::filesystem::path& folder, const Chip& chip) {
  FirmwareFiles files;
  for (const std::string& name : firmware_files(chip))
    files[name] = read_file(file_of(folder, name));
  return files;
}

Firmware Firmware::load(FirmwareFiles files, const Chip& chip, const std::string& place) {
  const hardware::amd::FirmwareNames names(chip.blocks);
  Firmware out;
  out.files_ = std::move(files);
  const auto file = [&](const std::string& name) {
    const auto found = out.files_.find(name);
    if (found == out.files_.end()) fail("firmware: {} has no {}", place, name);
    return File(found->second, place + "/" + name);
  };
  read_boot_images(file(names.sos), out);
  read_smu(file(names.smu), out);
  read_sdma(file(names.sdma), out);
  read_mec(file(names.mec), out);
  read_imu(file(names.imu), out);
  read_rlc(file(names.rlc), out);
  return out;
}

}  // namespace outboard::devices::amd::driver
