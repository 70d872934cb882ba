#include "devices/amd/driver/card.h"

#include <algorithm>

#include "support/error.h"

namespace outboard::devices::amd::driver {

Card::~Card() {
  if (finalized_) return;
  try {
    finalize();
  } catch (const std::exception&) {  // the link is gone: nothing can be told to the card any more
  }
}

std::string Card::describe(uint64_t address) const {
  if (std::string shared = pool_->describe(address); !shared.empty()) return shared;
  return memory_->describe(address);
}

std::string Card::report() {
  std::string out;
  for (const std::string& line : ih::drain(context_)) out += (out.empty() ? "" : "; ") + line;
  if (gmc::has_fault(context_)) {
    const gmc::Fault fault = gmc::read_fault(context_);
    const std::string place = describe(fault.address);
    out += fmt::format("{}{} of page {:#x}{}", out.empty() ? "" : "; ",
                       fault.write ? "write" : "read", fault.address,
                       place.empty() ? ", which belongs to nothing" : " (" + place + ")");
    gmc::clear_fault(context_);
  }
  if (running_) out += fmt::format("{}running: {}", out.empty() ? "" : "; ", running_());
  return out;
}

void Card::wait(Queue& queue, Fence fence, std::chrono::milliseconds limit) {
  queue.wait(fence, limit, [this] { return report(); });
  recovered_ = false;
}

bool Card::interrupts_arrive() {
  ih::drain(context_);
  wait(*copies_, copies_->submit(CopyQueue::interrupt()));
  return ih::has_entries(context_);
}

// In halves of the window: while the card copies one, the host fills the other.
void Card::upload(const Buffer& to, uint64_t offset, std::span<const std::byte> bytes) {
  if (offset > to.bytes || bytes.size() > to.bytes - offset)
    fail("upload of {} bytes at {} of {}", bytes.size(), offset, to.name);
  const uint64_t half = window_.bytes / 2;
  std::array<Fence, 2> busy{};
  for (size_t turn = 0; !bytes.empty(); turn ^= 1) {
    if (busy[turn] != 0) wait(*copies_, busy[turn]);
    const auto piece = bytes.first(std::min<uint64_t>(bytes.size(), half));
    const uint64_t at = turn * half;
    window_.write(at, piece);
    busy[turn] =
        copies_->submit(CopyQueue::copy(to.address + offset, window_.address + at, piece.size()));
    offset += piece.size();
    bytes = bytes.subspan(piece.size());
  }
  for (const Fence fence : busy) {
    if (fence != 0) wait(*copies_, fence);
  }
}

void Card::download(const Buffer& from, uint64_t offset, std::span<std::byte> bytes) {
  if (offset > from.bytes || bytes.size() > from.bytes - offset)
    fail("download of {} bytes at {} of {}", bytes.size(), offset, from.name);
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min<uint64_t>(bytes.size(), window_.bytes));
    wait(*copies_,
         copies_->submit(CopyQueue::copy(window_.address, from.address + offset, piece.size())));
    window_.read(0, piece);
    offset += piece.size();
    bytes = bytes.subspan(piece.size());
  }
}

}  // namespace outboard::devices::amd::driver
