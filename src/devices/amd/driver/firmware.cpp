#include "devices/amd/driver/firmware.h"

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "devices/amd/hw/psp.h"
#include "devices/amd/hw/ucode.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::devices::amd::driver {
namespace {

namespace psp = hw::psp;
namespace ucode = hw::ucode;
using Bytes = std::span<const std::byte>;

constexpr const char* kSos = "psp_13_0_0_sos.bin";
constexpr const char* kSmu = "smu_13_0_0.bin";
constexpr const char* kSdma = "sdma_6_0_0.bin";
constexpr const char* kMec = "gc_11_0_0_mec.bin";
constexpr const char* kImu = "gc_11_0_0_imu.bin";
constexpr const char* kRlc = "gc_11_0_0_rlc.bin";

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
  // The header's version must be one that we know the layout of.
  void expect(int major, int minor) const {
    const auto common = header<ucode::common_firmware_header>();
    if (common.header_version_major != major || common.header_version_minor < minor) {
      fail("{}: header version {}.{}, expected {}.{}", name_, uint16_t{common.header_version_major},
           uint16_t{common.header_version_minor}, major, minor);
    }
  }

 private:
  Bytes bytes_;
  std::string name_;
};

void read_boot_images(const File& file, Firmware& out) {
  file.expect(2, 0);
  const auto header = file.header<ucode::psp_firmware_header_v2_0>();
  constexpr uint32_t kMost = 64;
  const uint32_t count = std::min<uint32_t>(header.psp_fw_bin_count, kMost);
  for (uint32_t i = 0; i < count; ++i) {
    ucode::psp_fw_bin_desc each;
    std::memcpy(&each,
                file.part("image list", sizeof(header) + i * sizeof(each), sizeof(each)).data(),
                sizeof(each));
    out.boot[each.fw_type] = file.part(
        "boot image", uint64_t{header.header.ucode_array_offset_bytes} + each.offset_bytes,
        each.size_bytes);
  }
}

void read_smu(const File& file, Firmware& out) {
  file.expect(2, 0);
  const auto header = file.header<ucode::common_firmware_header>();
  out.smu = {{psp::GFX_FW_TYPE_SMU},
             file.part("code", header.ucode_array_offset_bytes, header.ucode_size_bytes)};
}

void read_sdma(const File& file, Firmware& out) {
  file.expect(2, 0);
  const auto header = file.header<ucode::sdma_firmware_header_v2_0>();
  out.images.push_back(
      {{psp::GFX_FW_TYPE_SDMA_UCODE_TH1},
       file.part("control thread", header.ctl_ucode_offset, header.ctl_ucode_size_bytes)});
  out.images.push_back({{psp::GFX_FW_TYPE_SDMA_UCODE_TH0},
                        file.part("context thread", header.header.ucode_array_offset_bytes,
                                  header.ctx_ucode_size_bytes)});
}

void read_mec(const File& file, Firmware& out) {
  file.expect(2, 0);
  const auto header = file.header<ucode::gfx_firmware_header_v2_0>();
  out.images.push_back(
      {{psp::GFX_FW_TYPE_RS64_MEC},
       file.part("code", header.header.ucode_array_offset_bytes, header.ucode_size_bytes)});
  out.images.push_back({{psp::GFX_FW_TYPE_RS64_MEC_P0_STACK},
                        file.part("data", header.data_offset_bytes, header.data_size_bytes)});
  out.mec_start = header.ucode_start_addr_lo | uint64_t{header.ucode_start_addr_hi} << 32;
}

void read_imu(const File& file, Firmware& out) {
  file.expect(1, 0);
  const auto header = file.header<ucode::imu_firmware_header_v1_0>();
  const uint64_t code = header.header.ucode_array_offset_bytes;
  const uint32_t code_bytes = header.imu_iram_ucode_size_bytes;
  out.images.push_back({{psp::GFX_FW_TYPE_IMU_I}, file.part("code", code, code_bytes)});
  out.images.push_back({{psp::GFX_FW_TYPE_IMU_D},
                        file.part("data", code + code_bytes, header.imu_dram_ucode_size_bytes)});
}

void read_rlc(const File& file, Firmware& out) {
  file.expect(2, 3);
  const auto h3 = file.header<ucode::rlc_firmware_header_v2_3>();
  const auto& h2 = h3.v2_2;
  const auto& common = h2.v2_1.v2_0.header;
  const auto add = [&](uint32_t type, std::string_view what, uint64_t offset, uint64_t size) {
    out.images.push_back({{type}, file.part(what, offset, size)});
  };
  add(psp::GFX_FW_TYPE_RLC_IRAM, "iram", h2.rlc_iram_ucode_offset_bytes,
      h2.rlc_iram_ucode_size_bytes);
  add(psp::GFX_FW_TYPE_RLC_DRAM_BOOT, "dram", h2.rlc_dram_ucode_offset_bytes,
      h2.rlc_dram_ucode_size_bytes);
  add(psp::GFX_FW_TYPE_RLC_P, "rlcp", h3.rlcp_ucode_offset_bytes, h3.rlcp_ucode_size_bytes);
  add(psp::GFX_FW_TYPE_RLC_V, "rlcv", h3.rlcv_ucode_offset_bytes, h3.rlcv_ucode_size_bytes);
  // The main image starts the autoload, so it comes last.
  add(psp::GFX_FW_TYPE_RLC_G, "code", common.ucode_array_offset_bytes, common.ucode_size_bytes);
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

const std::vector<std::string>& firmware_files() {
  static const std::vector<std::string> names = {kSos, kSmu, kSdma, kMec, kImu, kRlc};
  return names;
}

std::vector<std::filesystem::path> system_firmware_folders() {
  return {"/lib/firmware/updates/amdgpu", "/lib/firmware/amdgpu", "/usr/lib/firmware/amdgpu"};
}

std::filesystem::path find_firmware(const std::vector<std::filesystem::path>& folders) {
  std::string missing;
  for (const auto& folder : folders) {
    std::string absent;
    for (const std::string& name : firmware_files()) {
      if (file_of(folder, name).empty()) absent = name;
    }
    if (absent.empty()) return folder;
    missing += fmt::format("{}{} has no {}", missing.empty() ? "" : ", ", folder.string(), absent);
  }
  throw Error("firmware: " + (missing.empty() ? "no folder to look in" : missing),
              "Get the card's images with `outboard pull firmware`, or name a folder that holds "
              "linux-firmware's amdgpu images with --firmware-dir.");
}

FirmwareFiles read_firmware(const std::filesystem::path& folder) {
  FirmwareFiles files;
  for (const std::string& name : firmware_files()) files[name] = read_file(file_of(folder, name));
  return files;
}

Firmware Firmware::load(FirmwareFiles files, const std::string& place) {
  Firmware out;
  out.files_ = std::move(files);
  const auto file = [&](const char* name) {
    const auto found = out.files_.find(name);
    if (found == out.files_.end()) fail("firmware: {} has no {}", place, name);
    return File(found->second, place + "/" + name);
  };
  read_boot_images(file(kSos), out);
  read_smu(file(kSmu), out);
  read_sdma(file(kSdma), out);
  read_mec(file(kMec), out);
  read_imu(file(kImu), out);
  read_rlc(file(kRlc), out);
  return out;
}

}  // namespace outboard::devices::amd::driver
