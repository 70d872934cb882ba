#include "support/thread_team.h"

#include <algorithm>

#include "support/machine.h"

namespace outboard {
namespace {

// Long enough to bridge sampling and the next submit, short enough not to burn a core while a
// person reads. (Some 0.2 to 0.7 ms.)
constexpr int kSpins = 20'000;
// For a thread that spun in vain the last time: two threads of a team may share a core, as they do
// in their first milliseconds, and the one that spins keeps the other from arriving. Once in so
// many waits it tries the long way all the same.
constexpr int kFewSpins = 300;
constexpr int kRetry = 32;

void pause_core() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `value` is another than `old`. Yielding instead of sleeping would leave it to the
// scheduler when, if ever soon, a thread without a core gets one.
template <typename T>
void wait_for_change(const std::atomic<T>& value, T old, int spins) {
  thread_local int in_vain = 0;  // waits in a row that ended asleep
  if (in_vain % kRetry != 0) spins = std::min(spins, kFewSpins);
  for (int i = 0; i < spins; ++i) {
    if (value.load(std::memory_order_acquire) != old) {
      in_vain = 0;
      return;
    }
    pause_core();
  }
  ++in_vain;
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

int ThreadTeam::limited(int size) {
  const int most = usable_processors();
  return size > 0 ? std::min(size, most) : most;
}

ThreadTeam::ThreadTeam(int size) : ThreadTeam(size, limited(0)) {}

ThreadTeam::ThreadTeam(int size, int usable)
    : size_(size > 0 ? size : usable), spins_(size_ > usable ? 0 : kSpins) {
  threads_.reserve(static_cast<size_t>(size_) - 1);
  const int here = size_ > usable ? -1 : current_processor();
  for (int i = 1; i < size_; ++i)
    threads_.emplace_back([this, i, here] {
      ask_for_fast_processors();
      leave_processor(here);
      worker(i);
    });
}

ThreadTeam::~ThreadTeam() {
  stop_ = true;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadTeam::run(const std::function<void(int)>& body) {
  if (size_ == 1) {
    body(0);
    return;
  }
  body_ = &body;
  running_.store(size_ - 1, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  body(0);
  for (int left = running_.load(std::memory_order_acquire); left != 0;
       left = running_.load(std::memory_order_acquire))
    wait_for_change(running_, left, spins_);
}

void ThreadTeam::barrier() {
  if (size_ == 1) return;
  const uint32_t phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    phase_.notify_all();
    return;
  }
  wait_for_change(phase_, phase, spins_);
}

void ThreadTeam::worker(int thread) {
  for (uint32_t seen = 0;;) {
    wait_for_change(generation_, seen, spins_);
    ++seen;
    if (stop_) return;
    (*body_)(thread);
    running_.fetch_sub(1, std::memory_order_release);
    running_.notify_one();
  }
}

}  // namespace outboard
