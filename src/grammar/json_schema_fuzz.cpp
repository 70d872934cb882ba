// libFuzzer: any text is a schema or ends in Error, and a matcher never gets stuck in one.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "grammar/json_schema.h"
#include "grammar/test_support.h"
#include "support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto kBytes = outboard::grammar::byte_vocabulary();
  try {
    const auto made = outboard::grammar::compile_schema_text(
        std::string_view(reinterpret_cast<const char*>(data), size));
    outboard::grammar::walk(made.grammar, kBytes, 50);
  } catch (const outboard::Error&) {
    return 0;
  }
  return 0;
}
