#include "support/machine.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>

#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__linux__)
#include <sched.h>
#endif

#include <cmath>
#include <sstream>
#include <thread>

namespace outboard {
namespace {

namespace fs = std::filesystem;

// Quota and period in microseconds, of one group: the share of a processor, if it is limited.
std::optional<double> granted_by_group(const fs::path& folder) {
  double quota = 0, period = 0;
  if (std::ifstream(folder / "cpu.max") >> quota >> period && quota > 0 && period > 0)
    return quota / period;  // "max 100000": no number, no limit
  if (std::ifstream(folder / "cpu.cfs_quota_us") >> quota &&
      std::ifstream(folder / "cpu.cfs_period_us") >> period && quota > 0 && period > 0)
    return quota / period;  // -1: no limit
  return std::nullopt;
}

}  // namespace

std::optional<double> granted_processors(const fs::path& proc_cgroup, const fs::path& root) {
  std::optional<double> granted;
  std::ifstream file(proc_cgroup);
  for (std::string line; std::getline(file, line);) {
    // number:controllers:path, "0::/user.slice/..." in version 2.
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    fs::path mount = root;
    if (!controllers.empty()) {
      std::istringstream list(controllers);
      bool has_cpu = false;
      for (std::string each; std::getline(list, each, ',');) has_cpu |= each == "cpu";
      if (!has_cpu) continue;
      mount = fs::exists(root / controllers) ? root / controllers : root / "cpu";
    }
    // Every group above limits, too. In a container the path may be the host's, and what is mounted
    // is the container's own group: then only the mount itself has the files.
    fs::path group = fs::path(line.substr(second + 1)).relative_path();
    for (;; group = group.parent_path()) {
      if (const auto here = granted_by_group(mount / group))
        granted = std::min(granted.value_or(*here), *here);
      if (group.empty()) break;
    }
  }
  return granted;
}

int usable_processors() {
  int count = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__APPLE__)
  int cores = 0;
  size_t length = sizeof cores;
  // perflevel0 is the performance cluster; a step waits for its slowest thread.
  if (sysctlbyname("hw.perflevel0.physicalcpu", &cores, &length, nullptr, 0) == 0 && cores > 0)
    count = cores;
#elif defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
  if (const auto granted = granted_processors("/proc/self/cgroup", "/sys/fs/cgroup"))
    count = std::min(count, static_cast<int>(std::lround(*granted)));
#endif
  return std::max(1, count);
}

int current_processor() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

void leave_processor([[maybe_unused]] int processor) {
#if defined(__linux__)
  cpu_set_t all;
  if (processor < 0 || processor >= CPU_SETSIZE || sched_getaffinity(0, sizeof all, &all) != 0)
    return;
  cpu_set_t others = all;
  CPU_CLR(static_cast<size_t>(processor), &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
  sched_setaffinity(0, sizeof all, &all);
#endif
}

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
