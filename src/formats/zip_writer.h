// Writing ZIP archives.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace outboard::formats {

struct ZipInput {
  std::string name;
  std::vector<std::byte> bytes;
  // Instead of bytes: an open file, from where it stands to its end.
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{nullptr, &std::fclose};
};

// Written beside the path and put in its place when it is whole; what was there before goes then.
// Throws Error naming the path.
void write_zip(const std::filesystem::path& path, std::vector<ZipInput> members);

}  // namespace outboard::formats
