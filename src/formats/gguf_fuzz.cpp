// Any bytes: parse_gguf() gives a header whose tensors lie inside the file, or throws Error.
#include <cstdlib>

#include "formats/gguf.h"
#include "support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace outboard;
  const auto file = std::as_bytes(std::span(data, size));
  try {
    const formats::GgufHeader header = formats::parse_gguf(file);
    for (const formats::GgufTensor& tensor : header.tensors) {
      if (tensor.offset > size || tensor.bytes > size - tensor.offset) std::abort();
    }
  } catch (const Error&) {  // what bad files are for
  }
  return 0;
}
