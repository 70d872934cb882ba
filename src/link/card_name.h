// The cards that are sold with a Navi 31 (PCI 1002:744c): they differ in the PCI revision, in what
// of the chip is fused off, and in memory. Source: libdrm, data/amdgpu.ids.
#pragma once

#include <cstdint>
#include <string_view>

namespace outboard::link {

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

}  // namespace outboard::link
