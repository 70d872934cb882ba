#include "support/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "support/error.h"
#include "support/file_time.h"
#include "support/files_in_use.h"
#include "support/lost_mappings.h"

namespace outboard {
namespace {

// All that are mapped now.
struct Mappings {
  std::mutex mutex;
  std::vector<const Mapping*> all;
};

Mappings& mappings() {
  static Mappings held;
  return held;
}

}  // namespace

struct Mapping {
  explicit Mapping(const std::filesystem::path& file_path);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  void check() const;

  std::filesystem::path path;
  int file = -1;  // open, to see what becomes of it
  const std::byte* data = nullptr;
  size_t size = 0;
  timespec time{};
  WatchedMapping* watched = nullptr;
};

Mapping::Mapping(const std::filesystem::path& file_path) : path(file_path) {
  file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe would wait here
  if (file < 0) throw system_error("open", path.string());
  try {
    struct stat info{};
    if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) {
      fail("open {}: {}", path.string(),
           S_ISDIR(info.st_mode)   ? "is a folder"
           : S_ISREG(info.st_mode) ? "the file is empty"
                                   : "is no regular file");
    }
    note_read(file, path.string());
    size = static_cast<size_t>(info.st_size);
    time = modified_at(info);
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED)  // NOLINT: the macro casts an integer
      throw system_error("map", path.string());
    data = static_cast<const std::byte*>(mapped);
    watched = &watch_mapping(data, size);
  } catch (...) {  // the destructor of a half-made object does not run
    ::close(file);
    throw;
  }
  const std::lock_guard lock(mappings().mutex);
  mappings().all.push_back(this);
}

Mapping::~Mapping() {
  {
    const std::lock_guard lock(mappings().mutex);
    std::erase(mappings().all, this);
  }
  forget_mapping(*watched);
  ::munmap(const_cast<std::byte*>(data), size);
  ::close(file);
}

void Mapping::check() const {
  const char* kHint =
      "Nothing that follows from it can be trusted. Get the file again and repeat the command; put "
      "a new file in a model's place by renaming, not by writing over it.";
  struct stat info{};
  const bool known = ::fstat(file, &info) == 0;
  if (known && info.st_size >= 0 && static_cast<size_t>(info.st_size) < size)
    throw Error(fmt::format("{}: the file was cut from {} to {} bytes while it was in use",
                            path.string(), size, info.st_size),
                kHint);
  if (watched->lost.load())
    throw Error(fmt::format("{}: part of the file could not be read while it was in use: it was "
                            "cut, or its disk failed",
                            path.string()),
                kHint);
  const timespec now = modified_at(info);
  if (known && (now.tv_sec != time.tv_sec || now.tv_nsec != time.tv_nsec))
    throw Error(fmt::format("{}: the file was written to while it was in use", path.string()),
                kHint);
}

MappedFile::MappedFile(const std::filesystem::path& path)
    : mapping_(std::make_unique<Mapping>(path)) {}
MappedFile::~MappedFile() = default;
MappedFile::MappedFile(MappedFile&& other) noexcept = default;
MappedFile& MappedFile::operator=(MappedFile&& other) noexcept = default;

std::span<const std::byte> MappedFile::bytes() const { return {mapping_->data, mapping_->size}; }
const std::filesystem::path& MappedFile::path() const { return mapping_->path; }

void MappedFile::check_all() {
  const std::lock_guard lock(mappings().mutex);
  for (const Mapping* mapping : mappings().all) mapping->check();
}

}  // namespace outboard
