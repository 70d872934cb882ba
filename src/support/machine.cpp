#include "support/machine.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>

#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace outboard {

size_t physical_memory() {
#if defined(__APPLE__)
  size_t bytes = 0;
  size_t length = sizeof bytes;
  return sysctlbyname("hw.memsize", &bytes, &length, nullptr, 0) == 0 ? bytes : 0;
#else
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page_size = sysconf(_SC_PAGESIZE);
  size_t bytes =
      pages > 0 && page_size > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(page_size) : 0;
  size_t limit = 0;  // a container's limit; the file says "max" where there is none
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> limit && limit > 0)
    bytes = bytes == 0 ? limit : std::min(bytes, limit);
  return bytes;
#endif
}

size_t peak_memory() {
  struct rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#if defined(__APPLE__)
  return static_cast<size_t>(usage.ru_maxrss);
#else
  return static_cast<size_t>(usage.ru_maxrss) * 1024;
#endif
}

std::string processor_name() {
#if defined(__APPLE__)
  std::array<char, 128> name{};
  size_t length = name.size() - 1;
  if (sysctlbyname("machdep.cpu.brand_string", name.data(), &length, nullptr, 0) != 0) return "";
  return name.data();
#else
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name"))
      return line.substr(std::min(line.size(), line.find(':') + 2));
  return "";
#endif
}

}  // namespace outboard
