// SHA-256 of bytes in memory.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

namespace outboard {

using Sha256 = std::array<std::byte, 32>;

Sha256 sha256(std::span<const std::byte> bytes);

// "00ff1e": two digits a byte.
std::string to_hex(std::span<const std::byte> bytes);

}  // namespace outboard
