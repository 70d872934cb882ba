// What lies between a host and its card: how fast bytes pass, and how long an answer takes. And the
// clock that makes the simulated card keep to it.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace outboard::simulator::cost {

// One kind of link. Sources of the figures: link_model.cpp.
struct LinkModel {
  std::string name;       // "tb4", or as it was given
  std::string title;      // "Thunderbolt 4"
  double to_card = 0;     // bytes a second that arrive at the card: host writes, DMA reads
  double from_card = 0;   // bytes a second that leave it: host reads, DMA writes
  double round_trip = 0;  // seconds from a read (of a register, or by the card of host memory) to
                          // its answer
};

// A message to the server process that holds the card (TinyGPU.app), in seconds, on top of what
// the link takes; the same for every link. Both are assumptions on the safe side: nobody has
// published them.
inline constexpr double kMessageSeconds = 5e-6;    // one that is not answered
inline constexpr double kAnsweredSeconds = 15e-6;  // one that is, with its answer

// tb3, tb4, usb4, tb5, oculink: from the slowest.
std::span<const LinkModel> link_models();
// One of them by name, or one that is made up: "5MB/s,200us" (both directions; kB, MB or GB a
// second, a round trip in us or ms). Throws Error with the list for anything else.
LinkModel link_model(std::string_view text);

// When what passes over a link has passed. Without a model everything passes at once. What the host
// asks for and what the card does by itself (DMA) are paced apart, as if neither took from the
// other. Thread-safe.
class LinkClock {
 public:
  using Clock = std::chrono::steady_clock;
  explicit LinkClock(std::optional<LinkModel> model) : model_(std::move(model)) {}

  bool is_paced() const { return model_.has_value(); }
  // A read by the host: waits for what the host wrote before. When its answer is there.
  Clock::time_point host_read(uint64_t bytes);
  // A write by the host is on its own from when it has left; what waits on the way is little.
  Clock::time_point host_write(uint64_t bytes);
  // DMA of so many bytes behind what was begun before. When the last byte is there.
  Clock::time_point dma(uint64_t read, uint64_t written);

 private:
  struct Direction {
    Clock::time_point free;  // all that was sent has passed
    Clock::time_point pass(uint64_t bytes, double rate);
  };

  std::optional<LinkModel> model_;
  std::mutex mutex_;
  Direction host_to_card_, dma_to_card_, dma_from_card_;
};

// Makes a thread wait for the answer to a request, or for the link to take it. Made before the
// board's lock is taken, so that it waits after the lock is given back.
class Passage {
 public:
  Passage(LinkClock& link, bool answered, uint64_t bytes) {
    if (link.is_paced()) due_ = answered ? link.host_read(bytes) : link.host_write(bytes);
  }
  ~Passage();
  Passage(const Passage&) = delete;
  Passage& operator=(const Passage&) = delete;

 private:
  std::optional<LinkClock::Clock::time_point> due_;
};

}  // namespace outboard::simulator::cost
