// A fixed team of threads that run one function together, many times a token.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace outboard {

// run(body) calls body(thread) once on each of size() threads, the caller being thread 0, and
// returns when all have finished. Inside body, barrier() waits for all. Between runs the other
// threads spin for a moment (the next step usually follows at once) and then sleep. One run at a
// time; body must not throw.
class ThreadTeam {
 public:
  // size >= 1; 0 means one per core that the process may use (performance cores on Apple silicon).
  explicit ThreadTeam(int size = 0);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return size_; }
  void run(const std::function<void(int thread)>& body);
  void barrier();

  static int default_size();

 private:
  void worker(int thread);

  int size_;
  const std::function<void(int)>* body_ = nullptr;
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<int> running_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
};

}  // namespace outboard
