// What is the same for all cards on the PCI bus; the ids of a chip stand with it
// (hardware/amd/navi31/chip.h). Source: the PCI ID repository.
#pragma once

#include <cstdint>

namespace outboard::hardware {

inline constexpr uint16_t kVendorAmd = 0x1002;
inline constexpr uint32_t kDisplayClass = 3;  // the base class: bits 23:16 of the class code

}  // namespace outboard::hardware
