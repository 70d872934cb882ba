// libFuzzer: any text is a grammar or ends in Error, and a matcher never gets stuck in one.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "grammar/gbnf.h"
#include "grammar/test_support.h"
#include "support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto kBytes = outboard::grammar::byte_vocabulary();
  try {
    const auto grammar =
        outboard::grammar::parse_gbnf(std::string_view(reinterpret_cast<const char*>(data), size));
    outboard::grammar::walk(grammar, kBytes, 50);
  } catch (const outboard::Error&) {
    return 0;
  }
  return 0;
}
