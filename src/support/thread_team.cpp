#include "support/thread_team.h"

#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>

namespace outboard {
namespace {

// Long enough to bridge sampling and the next submit, short enough not to burn a core while a
// person reads.
constexpr int kSpins = 20'000;

void pause_core() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until done() holds; after a while gives the core away, because another thread of the team
// may need it to arrive (more threads than cores, or a busy machine).
template <typename Done>
void spin_until(Done done) {
  for (int i = 0; !done(); ++i) {
    if (i < kSpins) {
      pause_core();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace

int ThreadTeam::default_size() {
#if defined(__APPLE__)
  int cores = 0;
  size_t length = sizeof cores;
  // perflevel0 is the performance cluster; a step waits for its slowest thread.
  if (sysctlbyname("hw.perflevel0.physicalcpu", &cores, &length, nullptr, 0) == 0 && cores > 0)
    return cores;
#elif defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

ThreadTeam::ThreadTeam(int size) : size_(size > 0 ? size : default_size()) {
  threads_.reserve(static_cast<size_t>(size_) - 1);
  for (int i = 1; i < size_; ++i) threads_.emplace_back([this, i] { worker(i); });
}

ThreadTeam::~ThreadTeam() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadTeam::run(const std::function<void(int)>& body) {
  if (size_ == 1) {
    body(0);
    return;
  }
  body_ = &body;
  running_.store(size_ - 1, std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);  // pairs with the sleeper's check
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  body(0);
  spin_until([&] { return running_.load(std::memory_order_acquire) == 0; });
}

void ThreadTeam::barrier() {
  if (size_ == 1) return;
  const uint32_t phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  spin_until([&] { return phase_.load(std::memory_order_acquire) != phase; });
}

void ThreadTeam::worker(int thread) {
  uint32_t seen = 0;
  for (;;) {
    for (int i = 0; i < kSpins && generation_.load(std::memory_order_acquire) == seen; ++i)
      pause_core();
    if (generation_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
    }
    ++seen;
    if (stop_) return;
    (*body_)(thread);
    running_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace outboard
