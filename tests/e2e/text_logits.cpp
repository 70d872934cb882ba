// Logits of texts by many small models on one device, for the tests that know what they must be.
//
//   text_logits DEVICE < requests > answers
//
// A request is a line: a model file, the context of the session, how many tokens to a step, a bar
// (or "drafter": its logits, each of a token and the row before it), ids. Its answer: two int32,
// rows and columns, and so many float32; or -1, a number of bytes, and the message of what went
// wrong.
#include <algorithm>
#include <iostream>
#include <iterator>
#include <numeric>
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

// Every step's rows go through the drafter, each with the token behind it.
Logits draft(devices::Device& device, const engine::Model& model, int step,
             std::span<const int32_t> tokens) {
  constexpr int kPageTokens = 32;
  devices::CompileOptions options;
  options.max_tokens = options.max_rows = step;
  options.page_tokens = kPageTokens;
  options.pages = static_cast<int>(tokens.size()) / kPageTokens + 1;
  options.slots = 1;
  std::vector<int32_t> pages(static_cast<size_t>(options.pages));
  std::iota(pages.begin(), pages.end(), 0);
  const auto executable = device.compile(model.program(), model.shared_file(), options);
  Logits logits;
  for (size_t first = 0; first + 1 < tokens.size(); first += static_cast<size_t>(step)) {
    const size_t count = std::min(static_cast<size_t>(step), tokens.size() - first - 1);
    devices::Run run{tokens.subspan(first, count), static_cast<int>(first), pages};
    run.slot = 0;
    devices::Step steps{{&run, 1}, {}};
    executable->wait(executable->submit(steps));
    run.tokens = tokens.subspan(first + 1, count);
    run.logits = devices::Run::Logits::kAll;
    steps.draft = true;
    const auto rows = executable->wait(executable->submit(steps)).logits;
    logits.values.insert(logits.values.end(), rows.begin(), rows.end());
  }
  logits.rows = static_cast<int32_t>(tokens.size()) - 1;
  logits.columns = static_cast<int32_t>(logits.values.size()) / logits.rows;
  return logits;
}

Logits answer(devices::Device& device, const std::string& request) {
  std::istringstream in(request);
  std::string path, bar;
  engine::SessionOptions options;
  options.prefix_cache = false;
  in >> path >> options.context >> options.max_step_tokens >> bar;
  options.max_rows = options.max_step_tokens;
  const std::vector<int32_t> tokens{std::istream_iterator<int32_t>(in), {}};
  const auto model = engine::Model::load(path);
  if (bar == "drafter") return draft(device, *model, options.max_step_tokens, tokens);
  engine::Session session(model, device, options);
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
