// Logits of texts by many small models on one device, for the tests that know what they must be.
//
//   text_logits DEVICE < requests > answers
//
// A request is a line: a model file, the context of the session, how many tokens to a step, a bar,
// ids. Its answer: two int32, rows and columns, and so many float32; or -1, a number of bytes, and
// the message of what went wrong.
#include <iostream>
#include <iterator>
#include <span>
#include <sstream>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "machine/open.h"

namespace {

using namespace outboard;

struct Logits {
  int32_t rows = 0;
  int32_t columns = 0;
  std::vector<float> values;
};

Logits answer(devices::Device& device, const std::string& request) {
  std::istringstream in(request);
  std::string path, bar;
  engine::SessionOptions options;
  options.prefix_cache = false;
  in >> path >> options.context >> options.max_step_tokens >> bar;
  options.max_rows = options.max_step_tokens;
  const std::vector<int32_t> tokens{std::istream_iterator<int32_t>(in), {}};
  engine::Session session(engine::Model::load(path), device, options);
  Logits logits;
  session.evaluate(tokens, [&](size_t, std::span<const float> rows) {
    logits.values.insert(logits.values.end(), rows.begin(), rows.end());
  });
  logits.rows = static_cast<int32_t>(tokens.size());
  logits.columns = static_cast<int32_t>(logits.values.size() / tokens.size());
  return logits;
}

void write(std::span<const std::byte> bytes) {
  std::cout.write(reinterpret_cast<const char*>(bytes.data()),
                  static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

int main(int argc, char** argv) {
  const std::span arguments(argv, static_cast<size_t>(argc));
  if (arguments.size() != 2) {
    std::cerr << "usage: text_logits DEVICE\n";
    return 2;
  }
  try {
    const auto opened = machine::open_device(arguments[1]);
    for (std::string line; std::getline(std::cin, line);) {
      Logits logits;
      std::string wrong;
      try {
        logits = answer(*opened.device, line);
      } catch (const std::exception& error) {
        wrong = error.what();
        logits = {-1, static_cast<int32_t>(wrong.size()), {}};
      }
      write(std::as_bytes(std::span(&logits.rows, 1)));
      write(std::as_bytes(std::span(&logits.columns, 1)));
      write(std::as_bytes(std::span(logits.values)));
      std::cout << wrong << std::flush;
    }
  } catch (const std::exception& error) {
    std::cerr << "text_logits: " << error.what() << "\n";
    return 1;
  }
}
