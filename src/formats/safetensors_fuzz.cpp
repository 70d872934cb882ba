// Any bytes: parse_safetensors() gives tensors that lie inside the file, or throws Error.
#include <cstdlib>

#include "formats/safetensors.h"
#include "support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace outboard;
  const auto file = std::as_bytes(std::span(data, size));
  try {
    for (const formats::SafeTensor& tensor : formats::parse_safetensors(file)) {
      if (tensor.offset > size || tensor.bytes > size - tensor.offset) std::abort();
    }
  } catch (const Error&) {  // what bad files are for
  }
  return 0;
}
