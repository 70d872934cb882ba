// How cards are known on the PCI bus. Source: libdrm, data/amdgpu.ids; the PCI ID repository.
#pragma once

#include <cstdint>
#include <string_view>

namespace outboard::hardware {

inline constexpr uint16_t kVendorAmd = 0x1002, kNavi31 = 0x744c, kNavi31Audio = 0xab30;
inline constexpr uint32_t kDisplayClass = 3;  // the base class: bits 23:16 of the class code

// The cards that are sold with a Navi 31 differ in the PCI revision, in what of the chip is fused
// off, and in memory.
constexpr std::string_view card_name(uint32_t revision) {
  switch (revision) {
    case 0xc8:
      return "RX 7900 XTX";
    case 0xcc:
      return "RX 7900 XT";
    case 0xce:
      return "RX 7900 GRE";
    case 0xcf:
      return "RX 7900M";
    default:
      return "RX 7900 (of an unknown revision)";
  }
}

}  // namespace outboard::hardware
