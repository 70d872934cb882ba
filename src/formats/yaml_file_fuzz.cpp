// Any bytes: YAML is read or refused; a vocabulary has tokens, each once.
#include <algorithm>
#include <cstdlib>

#include "formats/yaml_file.h"
#include "support/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace outboard;
  try {
    std::vector<std::string> tokens =
        formats::parse_yaml_vocabulary({reinterpret_cast<const char*>(data), size});
    std::sort(tokens.begin(), tokens.end());
    if (tokens.empty() || std::adjacent_find(tokens.begin(), tokens.end()) != tokens.end()) {
      std::abort();
    }
  } catch (const Error&) {  // what bad files are for
  }
  return 0;
}
