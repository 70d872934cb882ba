// What a mask costs: the time of each along a text, of a matcher that has seen nothing before.
//   grammar_bench MODEL.gguf
// The text is taken apart greedily, the longest token first. A decoding step adds one mask.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string_view>
#include <vector>

#include "formats/gguf.h"
#include "grammar/json_schema.h"
#include "grammar/matcher.h"
#include "support/error.h"
#include "text/tokenizer.h"

namespace outboard::grammar {
namespace {

using Clock = std::chrono::steady_clock;
double microseconds(Clock::time_point since) {
  return std::chrono::duration<double, std::micro>(Clock::now() - since).count();
}

constexpr std::string_view kText =
    R"({"name": "A string of the usual kind, with words in it", "list": [1, 2.5, null, true, )"
    R"({"deep": {"er": ["x", "y \"quoted\" z"]}}], "n": -12e5})";
constexpr std::string_view kSchema = R"({"type": "object", "properties": {
  "name": {"type": "string", "maxLength": 200}, "list": {"type": "array"}, "n": {"type": "number"}}})";

// The longest token that the text begins with.
int32_t first_token(const Vocabulary& vocabulary, std::string_view text) {
  const auto nodes = vocabulary.nodes();
  int32_t token = -1;
  size_t depth = 0;
  for (size_t i = 0; i + 1 < nodes.size() && depth < text.size() && nodes[i].depth > depth;) {
    if (nodes[i].byte != static_cast<uint8_t>(text[depth])) {
      i = nodes[i].after;
      continue;
    }
    ++depth;
    if (nodes[i].first_token < nodes[i + 1].first_token)
      token = vocabulary.tokens()[nodes[i].first_token];
    ++i;
  }
  if (token < 0) fail("no token begins {}", text);
  return token;
}

void measure(const char* name, const std::shared_ptr<const Grammar>& grammar,
             const std::shared_ptr<const Vocabulary>& vocabulary) {
  Matcher matcher(grammar, vocabulary);
  std::vector<double> times;
  for (std::string_view rest = kText; !rest.empty();) {
    const auto begin = Clock::now();
    matcher.mask();
    times.push_back(microseconds(begin));
    const int32_t token = first_token(*vocabulary, rest);
    if (!matcher.accept(token)) fail("{}: token {} is not allowed", name, token);
    rest.remove_prefix(vocabulary->piece(token).size());
  }
  double sum = 0;
  for (const double time : times) sum += time;
  std::ranges::sort(times);
  std::printf("%-32s %3zu masks: mean %7.1f us, median %7.1f us, most %7.1f us\n", name,
              times.size(), sum / static_cast<double>(times.size()), times[times.size() / 2],
              times.back());
}

void run(const char* path) {
  const auto model = formats::open_gguf(path);
  const auto tokenizer = text::Tokenizer::from_metadata(model.metadata);
  auto begin = Clock::now();
  const auto vocabulary = std::make_shared<const Vocabulary>(*tokenizer);
  std::printf("%zu tokens, their trie made in %.1f ms\n", vocabulary->size(),
              microseconds(begin) / 1000);
  begin = Clock::now();
  const auto any = any_json(false);
  const auto schema = compile_schema_text(kSchema).grammar;
  std::printf("both grammars made in %.2f ms\n", microseconds(begin) / 1000);
  measure("any JSON", any, vocabulary);
  measure("a schema with counted text", schema, vocabulary);
}

}  // namespace
}  // namespace outboard::grammar

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: grammar_bench MODEL.gguf\n");
    return 2;
  }
  try {
    outboard::grammar::run(argv[1]);
  } catch (const outboard::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}
