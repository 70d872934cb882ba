// Facts about the machine that Outboard runs on.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace outboard {

// Bytes of physical memory, or of the control group's limit where that is lower. 0 when unknown.
size_t physical_memory();
// Bytes of it that programs could have now without others being put out to disk (Linux:
// MemAvailable, which counts what is kept of files); elsewhere all of it. 0 when unknown.
size_t available_memory();
// Bytes that this process has at most held in memory so far (peak resident set).
size_t peak_memory();
// How many processors this process can keep busy: the fast ones that it may run on, or what its
// control groups grant in time (cpu.max; version 1: cfs_quota_us) where that is less, rounded to a
// whole number. At least 1. Fast are, where a machine has several kinds, Apple silicon's
// performance cores and on Linux those of fast_processors(): work that is split evenly waits for
// the slowest.
int usable_processors();
// Asks for the fast processors for the calling thread: on macOS by its class of service
// (QOS_CLASS_USER_INITIATED; threads of the lowest class are kept on the efficiency cores, the
// others get performance cores while there are some: eclecticlight.co, "Making the most of Apple
// silicon power", 5), on Linux by its affinity. Does nothing where all are of one kind.
void ask_for_fast_processors();
// The processor that the calling thread runs on; -1 where the system does not say.
int current_processor();
// Moves the calling thread to another processor than this one, if it may use one; after that it may
// run wherever it might before. (Linux starts a thread beside its maker and is slow to part them
// when both are busy.) Does nothing where the system does not let it, or for -1.
void leave_processor(int processor);
// Those of the processors `allowed` (numbers) that are fast. `devices` is /sys/devices: Intel's two
// kinds have lists there (cpu_core/cpus, "0-15"; Documentation/admin-guide/perf/intel-hybrid.rst);
// others may have a capacity each (system/cpu/cpu0/cpu_capacity, the greatest being 1024), of which
// half the greatest is fast enough to be worth a thread. All where neither is told.
std::vector<int> fast_processors(const std::filesystem::path& devices, std::vector<int> allowed);
// What control groups grant, in processors; nullopt: no limit. `proc_cgroup` is /proc/self/cgroup,
// `root` where control groups are mounted (version 1: one folder a controller). Source: Linux
// Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst.
std::optional<double> granted_processors(const std::filesystem::path& proc_cgroup,
                                         const std::filesystem::path& root);
// "AMD EPYC", as the system names it; "" when unknown.
std::string processor_name();

}  // namespace outboard
