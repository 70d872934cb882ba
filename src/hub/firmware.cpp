#include "hub/firmware.h"

#include <cstdlib>
#include <system_error>

#include "hub/download.h"
#include "hub/hub.h"
#include "support/error.h"

namespace outboard::hub {

namespace fs = std::filesystem;

// Commit and hashes: those that tinygrad 0.14.0 pins (runtime/autogen/am/fw.py, helpers.py
// fetch_fw) and boots RX 7900 XTXs with.
FirmwareSource linux_firmware() {
  FirmwareSource source;
  const char* mirror = std::getenv("OUTBOARD_FIRMWARE_URL");
  source.url = mirror != nullptr && *mirror != '\0'
                   ? mirror
                   : "https://gitlab.com/kernel-firmware/linux-firmware/-/raw/"
                     "0a6871b19abf5d6e024b5d208b101ae53e7fa0de/amdgpu";
  source.files = {
      {"psp_13_0_0_sos.bin", "4a51299f6d0a15bbba9694419f7891e6accc01dbd2dd67c06add7bfd75a45ac6"},
      {"smu_13_0_0.bin", "93e46a5526f19dcc3d13bfd9e23f88bc8eee52138bfe9caf0951b4eef5e49914"},
      {"sdma_6_0_0.bin", "82cd01a24171af12de6c7ac4ee7471aa2dfcf51f9677e7bae9cd4c75e07761ee"},
      {"gc_11_0_0_mec.bin", "1dd1de8ecf5455ea4719c502b64b32ac18763d5601128c01b4a4a36211a122c2"},
      {"gc_11_0_0_imu.bin", "b4f8fc056b45709a6abf48e7885fb1b4ab8d3cc092cbfa2c554a78564a6403bc"},
      {"gc_11_0_0_rlc.bin", "dabd49039772d02f5fd5e48dc21d35ad52a6b1283b470dabca86ca159c4c7c8e"},
  };
  return source;
}

fs::path firmware_folder() { return model_folder() / "firmware"; }

fs::path pull_firmware(const FirmwareSource& source, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail("create folder {}: {}", folder.string(), error.message());
  for (const FirmwareSource::File& file : source.files) {
    const fs::path path = folder / file.name;
    if (fs::exists(path) && sha256_of(path) == file.sha256) continue;
    DownloadOptions how;
    how.label = file.name;
    how.sha256 = file.sha256;
    how.replace = true;
    download(source.url + "/" + file.name, path, how);
  }
  return folder;
}

}  // namespace outboard::hub
