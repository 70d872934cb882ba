#include "support/aligned_buffer.h"

#include <sys/mman.h>

#include <algorithm>

#include "support/error.h"
#include "support/progress.h"

namespace outboard {

AlignedBuffer::AlignedBuffer(size_t bytes) : AlignedBuffer() {
  bytes = std::max<size_t>(bytes, 1);
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)  // NOLINT: the macro casts an integer
    throw Error(fmt::format("the system has no {} of memory left", format_bytes(bytes)),
                "Use a smaller --ctx, or a smaller model.");
  memory_ = std::unique_ptr<std::byte, Unmap>(static_cast<std::byte*>(memory), Unmap{bytes});
}

void AlignedBuffer::Unmap::operator()(std::byte* memory) const { ::munmap(memory, bytes); }

}  // namespace outboard
