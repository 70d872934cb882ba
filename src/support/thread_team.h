// A fixed team of threads that run one function together, many times a token.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace outboard {

// run(body) calls body(thread) once on each of size() threads, the caller being thread 0, and
// returns when all have finished. Inside body, barrier() waits for all. Whoever waits, for the next
// run, the end of one or a barrier, spins for a moment (what it waits for usually follows at once)
// and then sleeps, so that a thread of the team or another program gets the core; in a team of more
// threads than processors it sleeps at once. Threads of the team ask for fast processors
// (machine.h); the caller stays as it is. One run at a time; body must not throw.
class ThreadTeam {
 public:
  // size >= 1; 0: usable_processors() (machine.h). More threads than that gain nothing and cost
  // time: limited() is for numbers that people give.
  explicit ThreadTeam(int size = 0);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return size_; }
  void run(const std::function<void(int thread)>& body);
  void barrier();

  // What becomes of a number of threads that was asked for (0: as many as can be used).
  static int limited(int size);

 private:
  ThreadTeam(int size, int usable);
  void worker(int thread);

  int size_;
  int spins_;  // before a thread that waits sleeps; 0 in a team of more threads than processors
  const std::function<void(int)>* body_ = nullptr;
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<int> running_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};
  bool stop_ = false;  // told by a new generation
  std::vector<std::thread> threads_;
};

}  // namespace outboard
