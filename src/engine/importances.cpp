#include "engine/importances.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "support/error.h"

namespace outboard::engine {
namespace {

constexpr int kPageTokens = 32;

// Matrices of a weight, and which of them no quantized file rounds by importances: the output and
// what doubles as it.
bool is_collected(const std::string& name) {
  return name != "output.weight" && name != "token_embd.weight";
}

class Collector {
 public:
  Collector(const Model& model, formats::CollectedInputs& out)
      : program_(model.program()), out_(out), sums_(program_.weights.size(), nullptr) {}

  void add(program::WeightId id, int matrix, std::span<const float> row) {
    const auto index = static_cast<size_t>(id);
    const program::Weight& weight = program_.weights[index];
    if (!is_collected(weight.name)) return;
    formats::InputSums*& sums = sums_[index];
    if (sums == nullptr) {
      sums = &out_.weights[weight.name];
      const size_t matrices =
          weight.shape.size() > 2 ? static_cast<size_t>(weight.shape.front()) : 1;
      sums->counts.resize(matrices);
      sums->squares.resize(matrices * row.size());
    }
    ++sums->counts[static_cast<size_t>(matrix)];
    double* squares = sums->squares.data() + static_cast<size_t>(matrix) * row.size();
    for (size_t i = 0; i < row.size(); ++i) squares[i] += static_cast<double>(row[i]) * row[i];
  }

 private:
  const program::Program& program_;
  formats::CollectedInputs& out_;
  std::vector<formats::InputSums*> sums_;  // by weight, into out_
};

}  // namespace

formats::CollectedInputs collect_inputs(const Model& model, std::span<const int32_t> tokens,
                                        int chunk, int threads,
                                        const std::function<void(size_t, size_t)>& progress) {
  const text::Tokenizer& tokenizer = model.tokenizer();
  const auto length = static_cast<size_t>(chunk);
  if (tokens.size() < length)
    throw Error(
        fmt::format("the text has {} tokens, less than one chunk of {}", tokens.size(), chunk),
        "Use a longer text or a smaller --ctx.");
  formats::CollectedInputs out;
  out.chunks = static_cast<uint32_t>(tokens.size() / length);
  out.chunk_tokens = static_cast<uint32_t>(chunk);

  Collector collector(model, out);
  devices::CompileOptions options;
  options.max_tokens = chunk;
  options.max_rows = 1;
  options.pages = (chunk + kPageTokens - 1) / kPageTokens;
  options.page_tokens = kPageTokens;
  options.slots = 1;
  options.look_at_input = [&](program::WeightId weight, int matrix, std::span<const float> row) {
    collector.add(weight, matrix, row);
  };
  const auto device = devices::open_cpu(threads);
  const auto executable = device->compile(model.program(), model.shared_file(), options);
  std::vector<int32_t> pages(static_cast<size_t>(options.pages));
  std::iota(pages.begin(), pages.end(), 0);
  for (uint32_t i = 0; i < out.chunks; ++i) {
    const auto part = tokens.subspan(i * length, length);
    std::vector<int32_t> text(part.begin(), part.end());
    if (tokenizer.adds_bos()) text[0] = tokenizer.bos();
    devices::Run run{text, 0, pages, devices::Run::Logits::kNone, nullptr};
    run.slot = 0;
    executable->wait(executable->submit({{&run, 1}, {}}));
    progress(i + 1, out.chunks);
  }
  for (const auto& [name, sums] : out.weights)
    if (!std::ranges::all_of(sums.squares, [](double x) { return std::isfinite(x); }))
      throw Error(
          fmt::format("{}: what goes into {} is NaN or infinite", model.file().path.string(), name),
          "`outboard run` with the same model tells where that begins.");
  return out;
}

}  // namespace outboard::engine
