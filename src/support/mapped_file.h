// A file mapped into memory for reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace outboard {

struct Mapping;  // what a MappedFile holds

// Maps the whole file read-only. The bytes stay valid as long as this object lives; pages are read
// from disk when first touched. Throws Error naming the path when the file can't be opened, is no
// regular file, is empty, or is to be written by this program (files_in_use.h). Movable, not
// copyable. Reading is thread-safe.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const;
  const std::filesystem::path& path() const;

  // Throws Error naming the file when one that is mapped was cut, written over or lost its disk
  // since it was opened: what was computed from it since then means nothing. A system call a file;
  // whoever shows or writes results asks first. Thread-safe.
  static void check_all();

 private:
  std::unique_ptr<Mapping> mapping_;
};

}  // namespace outboard
