// Any bytes: a pickle is read or refused, and read_torch_file() gives tensors whose bytes are all
// there, or throws Error.
#include <cstdlib>
#include <numeric>

#include "formats/pickle.h"
#include "formats/torch_file.h"
#include "support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace outboard;
  const auto file = std::as_bytes(std::span(data, size));
  try {
    if (formats::Pickle(file).size() > size) std::abort();
  } catch (const Error&) {  // what bad files are for
  }
  try {
    unsigned sum = 0;
    for (const formats::TorchTensor& tensor : formats::read_torch_file(file).tensors) {
      if (tensor.type) {
        const int64_t elements = std::accumulate(tensor.shape.begin(), tensor.shape.end(),
                                                 int64_t{1}, std::multiplies<>());
        if (tensor.data.size() != formats::storage_bytes(*tensor.type, elements)) std::abort();
      }
      for (const std::byte byte : tensor.data) sum += static_cast<unsigned>(byte);
    }
    volatile unsigned used = sum;  // so that every byte is read
    static_cast<void>(used);
  } catch (const Error&) {
  }
  return 0;
}
