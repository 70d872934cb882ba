#include "support/lost_mappings.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <deque>
#include <mutex>

#include "support/error.h"

namespace outboard {
namespace {

std::atomic<WatchedMapping*> first_mapping{nullptr};
struct sigaction before{};
uintptr_t page_bytes = 0;

// Runs in the signal: atomics and system calls only.
bool put_zeros(uintptr_t address) {
  for (WatchedMapping* m = first_mapping.load(); m != nullptr; m = m->next) {
    const uintptr_t begin = m->begin.load(), end = m->end.load();
    if (address < begin || address >= end) continue;
    m->lost.store(true);
    // To the end: a file that was cut lacks all that follows, and a signal for each page would take
    // long.
    const uintptr_t page = address / page_bytes * page_bytes;
    void* at = reinterpret_cast<void*>(page);  // NOLINT: the signal's address is a number
    return ::mmap(at, end - page, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_ANON, -1, 0) == at;
  }
  return false;
}

void on_signal(int number, siginfo_t* info, void* context) {
  const int saved = errno;
  const bool done = put_zeros(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = saved;
  if (done) return;  // the access is tried again
  if ((before.sa_flags & SA_SIGINFO) != 0 && before.sa_sigaction != nullptr) {
    before.sa_sigaction(number, info, context);
    return;
  }
  // As if there were no handler: the access is tried again, and ends the program.
  std::signal(number, before.sa_handler == SIG_IGN ? SIG_DFL : before.sa_handler);
}

}  // namespace

void survive_lost_mappings() {
  page_bytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  struct sigaction action{};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigemptyset(&action.sa_mask);
  if (::sigaction(SIGBUS, &action, &before) != 0) throw system_error("handle", "SIGBUS");
}

WatchedMapping& watch_mapping(const void* data, size_t bytes) {
  static std::mutex mutex;
  static std::deque<WatchedMapping> slots;  // addresses stay
  const std::lock_guard lock(mutex);
  WatchedMapping* slot = first_mapping.load();
  while (slot != nullptr && slot->begin.load() != 0) slot = slot->next;
  const auto begin = reinterpret_cast<uintptr_t>(data);
  if (slot == nullptr) {
    slot = &slots.emplace_back();
    slot->next = first_mapping.load();
    first_mapping.store(slot);
  }
  slot->lost.store(false);
  slot->end.store(begin + bytes);
  slot->begin.store(begin);
  return *slot;
}

void forget_mapping(WatchedMapping& mapping) {
  mapping.end.store(0);
  mapping.begin.store(0);
}

}  // namespace outboard
