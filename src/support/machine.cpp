#include "support/machine.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>

#if defined(__APPLE__)
#include <pthread.h>
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

// "0-3,8": the processors of such a list.
std::vector<int> listed_processors(std::istream& list) {
  std::vector<int> processors;
  for (std::string part; std::getline(list, part, ',');) {
    int first = 0;
    char dash = 0;
    std::istringstream range(part);
    if (!(range >> first)) continue;
    int last = first;
    if (range >> dash && !(range >> last)) continue;
    for (int i = first; i <= last; ++i) processors.push_back(i);
  }
  return processors;
}

#if defined(__linux__)
std::vector<int> allowed_processors() {
  std::vector<int> processors;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return processors;
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(static_cast<size_t>(i), &set)) processors.push_back(i);
  return processors;
}
#endif

}  // namespace

std::vector<int> fast_processors(const fs::path& devices, std::vector<int> allowed) {
  std::ifstream list(devices / "cpu_core/cpus");
  const std::vector<int> cores = listed_processors(list);
  std::vector<int> fast;
  for (const int processor : allowed)
    if (std::ranges::find(cores, processor) != cores.end()) fast.push_back(processor);
  if (!fast.empty()) return fast;

  std::vector<int> capacities;
  for (const int processor : allowed) {
    const std::string name = "cpu" + std::to_string(processor);
    int capacity = 0;
    if (!(std::ifstream(devices / "system/cpu" / name / "cpu_capacity") >> capacity))
      return allowed;
    capacities.push_back(capacity);
  }
  const int greatest = capacities.empty() ? 0 : std::ranges::max(capacities);
  for (size_t i = 0; i < allowed.size(); ++i)
    if (2 * capacities[i] >= greatest) fast.push_back(allowed[i]);
  return fast;
}

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
  // perflevel0 is the performance cluster.
  if (sysctlbyname("hw.perflevel0.physicalcpu", &cores, &length, nullptr, 0) == 0 && cores > 0)
    count = cores;
#elif defined(__linux__)
  const std::vector<int> allowed = allowed_processors();
  if (!allowed.empty()) count = static_cast<int>(fast_processors("/sys/devices", allowed).size());
  if (const auto granted = granted_processors("/proc/self/cgroup", "/sys/fs/cgroup"))
    count = std::min(count, static_cast<int>(std::lround(*granted)));
#endif
  return std::max(1, count);
}

void ask_for_fast_processors() {
#if defined(__APPLE__)
  // A higher class that the thread has from its maker stays.
  if (qos_class_self() < QOS_CLASS_USER_INITIATED)
    pthread_set_qos_class_self_np(QOS_CLASS_USER_INITIATED, 0);
#elif defined(__linux__)
  const std::vector<int> allowed = allowed_processors();
  const std::vector<int> fast = fast_processors("/sys/devices", allowed);
  if (fast.size() == allowed.size()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int processor : fast) CPU_SET(static_cast<size_t>(processor), &set);
  sched_setaffinity(0, sizeof set, &set);
#endif
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

size_t available_memory() {
  const size_t all = physical_memory();
#if defined(__linux__)
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    size_t kilobytes = 0;
    std::string name;
    if (std::istringstream(line) >> name >> kilobytes && name == "MemAvailable:")
      return all == 0 ? kilobytes * 1024 : std::min(all, kilobytes * 1024);
  }
#endif
  return all;
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
