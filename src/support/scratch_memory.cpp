#include "support/scratch_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/error.h"
#include "support/progress.h"

namespace outboard {
namespace {

// All blocks of it, so that no page is found to have none later. 0, or what errno would be.
int reserve(int file, size_t bytes) {
  const auto size = static_cast<off_t>(bytes);
#if defined(__APPLE__)
  fstore_t store{F_ALLOCATEALL, F_PEOFPOSMODE, 0, size, 0};
  if (::fcntl(file, F_PREALLOCATE, &store) != 0 || ::ftruncate(file, size) != 0) return errno;
  return 0;
#else
  return ::posix_fallocate(file, 0, size);
#endif
}

}  // namespace

ScratchMemory::ScratchMemory(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  const std::filesystem::path folder = std::filesystem::temp_directory_path();
  std::string name = (folder / "outboard-XXXXXX").string();
  const int file = ::mkstemp(name.data());
  if (file < 0) throw system_error("make a temporary file in", folder.string());
  ::unlink(name.c_str());
  int error = reserve(file, bytes);
  void* memory = MAP_FAILED;
  if (error == 0) {
    memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    error = memory == MAP_FAILED ? errno : 0;
  }
  ::close(file);
  errno = error;
  if (error != 0)
    throw Error(
        system_error(fmt::format("reserve {} in", format_bytes(bytes)), folder.string()).message(),
        "Free some room there, or set TMPDIR to a folder that has it.");
  data_ = static_cast<std::byte*>(memory);
}

ScratchMemory::~ScratchMemory() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace outboard
