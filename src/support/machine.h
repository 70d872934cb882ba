// Facts about the machine that Outboard runs on.
#pragma once

#include <cstddef>
#include <string>

namespace outboard {

// Bytes of physical memory, or of the control group's limit where that is lower. 0 when unknown.
size_t physical_memory();
// Bytes that this process has at most held in memory so far (peak resident set).
size_t peak_memory();
// "AMD EPYC", as the system names it; "" when unknown.
std::string processor_name();

}  // namespace outboard
