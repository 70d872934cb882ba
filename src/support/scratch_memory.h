// Memory that need not fit into memory: of a file without a name in the folder for temporary files,
// to which the system may write what it needs the room of.
#pragma once

#include <cstddef>
#include <span>

namespace outboard {

class ScratchMemory {
 public:
  // Zeros. Throws Error when the folder ($TMPDIR) lacks the room.
  explicit ScratchMemory(size_t bytes);
  ~ScratchMemory();
  ScratchMemory(const ScratchMemory&) = delete;
  ScratchMemory& operator=(const ScratchMemory&) = delete;

  std::span<std::byte> bytes() { return {data_, size_}; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace outboard
