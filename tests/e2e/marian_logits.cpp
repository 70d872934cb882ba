// Logits of a translation model by teacher forcing, for the tests that know what they must be.
//
//   marian_logits MODEL DEVICE < requests > logits
//
// A request is a line of ids: those of the source (its </s> included), a bar, those of the target.
// Each is answered by float32 rows [target tokens + 1, vocabulary], row after row.
#include <iostream>
#include <iterator>
#include <span>
#include <sstream>
#include <string>

#include "engine/translator.h"
#include "machine/open.h"

namespace {

std::vector<int32_t> ids_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<int32_t>(in), {}};
}

}  // namespace

int main(int argc, char** argv) {
  const std::span arguments(argv, static_cast<size_t>(argc));
  if (arguments.size() != 3) {
    std::cerr << "usage: marian_logits MODEL DEVICE\n";
    return 2;
  }
  try {
    outboard::engine::TranslatorOptions options;
    options.beams = 1;
    options.batch = 1;
    const auto opened = outboard::machine::open_device(arguments[2]);
    outboard::engine::Translator translator(outboard::engine::Model::load(arguments[1]),
                                            *opened.device, options);
    for (std::string line; std::getline(std::cin, line);) {
      const size_t bar = line.find('|');
      const std::vector<float> rows =
          translator.logits(ids_of(line.substr(0, bar)), ids_of(line.substr(bar + 1)));
      const auto bytes = std::as_bytes(std::span(rows));
      std::cout.write(reinterpret_cast<const char*>(bytes.data()),
                      static_cast<std::streamsize>(bytes.size()));
    }
  } catch (const std::exception& error) {
    std::cerr << "marian_logits: " << error.what() << "\n";
    return 1;
  }
}
