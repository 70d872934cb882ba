#include "support/sha256.h"

#include <openssl/evp.h>

#include "support/error.h"

namespace outboard {

Sha256 sha256(std::span<const std::byte> bytes) {
  Sha256 out{};
  if (EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(out.data()), nullptr,
                 EVP_sha256(), nullptr) != 1)
    fail("SHA-256 of {} bytes could not be computed", bytes.size());
  return out;
}

std::string to_hex(std::span<const std::byte> bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (const std::byte byte : bytes) {
    out += kDigits[static_cast<size_t>(byte) >> 4];
    out += kDigits[static_cast<size_t>(byte) & 15];
  }
  return out;
}

}  // namespace outboard
