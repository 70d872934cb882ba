// When a file was last written, which systems name differently.
#pragma once

#include <sys/stat.h>

#include <ctime>

namespace outboard {

inline timespec modified_at(const struct stat& info) {
#if defined(__APPLE__)
  return info.st_mtimespec;
#else
  return info.st_mtim;
#endif
}

}  // namespace outboard
