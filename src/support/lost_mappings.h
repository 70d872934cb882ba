// What happens when a mapped file loses its end: somebody cuts it, or its disk fails. The system
// answers the next touch of the lost pages with a signal (SIGBUS), in whatever thread and function
// that is. This is the one place that knows of it.
//
// The program goes on with zeros in place of the lost pages, and with a note that they are zeros;
// MappedFile::check_all() turns the note into an Error before anything that was computed from them
// is shown or written. Signals from other addresses take their usual way.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace outboard {

// A mapping that is watched. Slots live as long as the program, since a signal may come at any
// moment; a free one is used again.
struct WatchedMapping {
  std::atomic<uintptr_t> begin{0};  // 0: free
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> lost{false};
  WatchedMapping* next = nullptr;
};

// From now on lost pages become zeros. For programs; a library's user may have plans of his own for
// the signal.
void survive_lost_mappings();

// Before the mapping is used, and before it is unmapped. Thread-safe.
WatchedMapping& watch_mapping(const void* data, size_t bytes);
void forget_mapping(WatchedMapping& mapping);

}  // namespace outboard
