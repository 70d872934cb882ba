// Facts about the machine that Outboard runs on.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>

namespace outboard {

// Bytes of physical memory, or of the control group's limit where that is lower. 0 when unknown.
size_t physical_memory();
// Bytes that this process has at most held in memory so far (peak resident set).
size_t peak_memory();
// How many processors this process can keep busy: those that it may run on (on Apple silicon the
// performance cores), or what its control groups grant in time (cpu.max; version 1: cfs_quota_us)
// where that is less, rounded to a whole number. At least 1.
int usable_processors();
// The processor that the calling thread runs on; -1 where the system does not say.
int current_processor();
// Moves the calling thread to another processor than this one, if it may use one; after that it may
// run wherever it might before. (Linux starts a thread beside its maker and is slow to part them
// when both are busy.) Does nothing where the system does not let it, or for -1.
void leave_processor(int processor);
// What control groups grant, in processors; nullopt: no limit. `proc_cgroup` is /proc/self/cgroup,
// `root` where control groups are mounted (version 1: one folder a controller). Source: Linux
// Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst.
std::optional<double> granted_processors(const std::filesystem::path& proc_cgroup,
                                         const std::filesystem::path& root);
// "AMD EPYC", as the system names it; "" when unknown.
std::string processor_name();

}  // namespace outboard
