// Zeroed memory straight from the system, which backs a page only when it is first touched.
#pragma once

#include <cstddef>
#include <memory>

namespace outboard {

// Page-aligned. Reserving much and touching little costs little. Throws Error when the address
// space or the commit limit does not allow it.
class AlignedBuffer {
 public:
  AlignedBuffer() : memory_(nullptr, Unmap{0}) {}
  explicit AlignedBuffer(size_t bytes);

  std::byte* data() const { return memory_.get(); }
  size_t size() const { return memory_.get_deleter().bytes; }

 private:
  struct Unmap {
    size_t bytes;
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Unmap> memory_;
};

}  // namespace outboard
