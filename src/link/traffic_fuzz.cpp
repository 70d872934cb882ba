// Reads bytes as the records of a recording: the start is put before them, an end behind them.
#include <array>
#include <cstdint>
#include <string>

#include "link/traffic.h"
#include "support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // The first byte is the number of records.
  if (size < 1) return 0;
  std::string stream = "OBTRAF1\n";
  stream.append(reinterpret_cast<const char*>(data + 1), size - 1);
  stream += '\0';
  stream += static_cast<char>(data[0] & 0x7f);
  try {
    uint64_t sum = 0;
    for (const auto& record : outboard::link::read_traffic(std::as_bytes(std::span(stream)))) {
      for (const std::byte byte : record.data) sum += static_cast<uint64_t>(byte);
    }
    [[maybe_unused]] static volatile uint64_t sink;  // so that the bytes are read
    sink = sum;
  } catch (const outboard::Error&) {  // refused by name
  }
  return 0;
}
