// Any bytes: parse_npy() gives an array that fills the file, NpzFile gives such arrays, or both
// throw Error.
#include <cstdlib>

#include "formats/npy.h"
#include "support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace outboard;
  const auto file = std::as_bytes(std::span(data, size));
  try {
    const formats::NpyArray array = formats::parse_npy(file);
    if (array.offset > size || array.bytes != size - array.offset) std::abort();
  } catch (const Error&) {  // what bad files are for
  }
  try {
    const formats::NpzFile npz(file);
    for (const std::string& name : npz.names()) {
      const formats::NpzArray array = npz.read(name);
      if (array.data().size() != array.header.bytes) std::abort();
    }
  } catch (const Error&) {
  }
  return 0;
}
