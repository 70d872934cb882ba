#include "devices/amd/driver/card.h"

#include <algorithm>
#include <thread>

#include "hardware/amd/navi31/sdma_writer.h"
#include "link/patience.h"
#include "support/error.h"

namespace outboard::devices::amd::driver {

Card::~Card() {
  if (finalized_) return;
  try {
    finalize();
  } catch (const std::exception&) {  // the link is gone: nothing can be told to the card any more
  }
}

std::string Card::describe(GpuAddress address) const {
  if (std::string system = pool_->describe(address); !system.empty()) return system;
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
  for (const std::string& note : context_.notes)
    out += fmt::format("{}noted before: {}", out.empty() ? "" : "; ", note);
  return out;
}

void Card::wait(Queue& queue, Fence fence, std::chrono::milliseconds limit) {
  queue.wait(fence, limit, watch());
  recovered_ = false;
}

Queue::Watch Card::watch() {
  return {[this] { return gfx::progress(context_) * 31 + sdma::progress(context_); },
          [this] { return report(); }};
}

bool Card::interrupts_arrive() {
  ih::drain(context_);
  wait(*copies_, copies_->submit(hw::sdma::trap()));
  // The fence and the interrupt take different ways.
  constexpr int kLooks = 20;
  for (int look = 0; look < kLooks; ++look) {
    if (ih::has_entries(context_)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

void Card::test_doorbells() {
  constexpr std::chrono::milliseconds kPatience{10};
  const bool polls = copies_->polls(kPatience);
  wait(*copies_, copies_->submit({}));
  if (polls)
    throw Error(
        "the copy queue took a packet that no doorbell had told of: its engine looks into memory "
        "for its write pointer, though it was told not to, and a doorbell that comes late would "
        "make it copy old bytes",
        "This card's firmware is not known to behave so. Send `outboard doctor --report FILE` to "
        "the project, and power the enclosure off and on.");
}

Card::Copy Card::submitted(Fence fence, uint64_t bytes) const {
  return {fence, bytes, std::chrono::steady_clock::now()};
}

Card::Copy Card::copy_to_card(GpuAddress to, GpuAddress from, uint64_t bytes) {
  return submitted(copies_->submit_writes(hw::sdma::copy(to, from, bytes)), bytes);
}

void Card::wait(const Copy& copy) {
  using Clock = std::chrono::steady_clock;
  // Nothing need be seen to move while one copy runs.
  const bool was_done = copies_->is_done(copy.fence);
  Queue::Watch how = watch();
  how.doorbell_patience += rate_.time_for(copy.bytes);
  copies_->wait(copy.fence, options_.wait + link::time_for(copy.bytes), how);
  recovered_ = false;
  const auto now = Clock::now();
  // Copies follow each other. One that had ended before says only that the host is the slower.
  const std::chrono::duration<double> took = now - std::max(copy.submitted, last_copied_);
  last_copied_ = now;
  if (!was_done) rate_.learn(copy.bytes, took.count());
}

// In halves of the window: while the card copies one, the host fills the other.
void Card::upload(const Buffer& to, uint64_t offset, std::span<const std::byte> bytes) {
  if (offset > to.bytes || bytes.size() > to.bytes - offset)
    fail("upload of {} bytes at {} of {}", bytes.size(), offset, to.name);
  const uint64_t half = window_.bytes / 2;
  std::array<Copy, 2> busy{};
  size_t turn = 0;
  for (; !bytes.empty(); turn ^= 1) {
    if (busy[turn].fence != 0) wait(busy[turn]);
    const auto piece = bytes.first(std::min<uint64_t>(bytes.size(), copy_bytes(half)));
    const uint64_t at = turn * half;
    window_.write(at, piece);
    busy[turn] = copy_to_card(to.address + offset, window_.address + at, piece.size());
    offset += piece.size();
    bytes = bytes.subspan(piece.size());
  }
  // In their order: `turn` is the older one.
  for (const Copy& copy : {busy[turn], busy[turn ^ 1]}) {
    if (copy.fence != 0) wait(copy);
  }
}

void Card::download(const Buffer& from, uint64_t offset, std::span<std::byte> bytes) {
  if (offset > from.bytes || bytes.size() > from.bytes - offset)
    fail("download of {} bytes at {} of {}", bytes.size(), offset, from.name);
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min<uint64_t>(bytes.size(), copy_bytes(window_.bytes)));
    wait(submitted(
        copies_->submit(hw::sdma::copy(window_.address, from.address + offset, piece.size())),
        piece.size()));
    window_.read(0, piece);
    offset += piece.size();
    bytes = bytes.subspan(piece.size());
  }
}

}  // namespace outboard::devices::amd::driver
