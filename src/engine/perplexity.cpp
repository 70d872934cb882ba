#include "engine/perplexity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "support/error.h"

namespace outboard::engine {
namespace {

// -log p(token) under the softmax of a row.
double surprise(std::span<const float> logits, int32_t token) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - top);
  return std::log(sum) + top - logits[static_cast<size_t>(token)];
}

}  // namespace

PerplexityResult perplexity(Session& session, const Model& model, std::span<const int32_t> tokens,
                            const std::function<void(size_t, size_t)>& progress) {
  const auto length = static_cast<size_t>(session.context());
  if (tokens.size() < 2 * length)
    throw Error(fmt::format("the text has {} tokens; perplexity over chunks of {} needs {}",
                            tokens.size(), length, 2 * length),
                "Use a longer text or a smaller --ctx.");
  PerplexityResult result;
  result.chunks = tokens.size() / length;
  const auto vocabulary = static_cast<size_t>(model.program().vocabulary);
  double sum = 0;
  double squares = 0;
  std::vector<int32_t> chunk;
  for (size_t i = 0; i < result.chunks; ++i) {
    const auto part = tokens.subspan(i * length, length);
    chunk.assign(part.begin(), part.end());
    if (model.tokenizer().adds_bos()) chunk[0] = model.tokenizer().bos();
    session.evaluate(chunk, [&](size_t first, std::span<const float> logits) {
      for (size_t row = 0; row * vocabulary < logits.size(); ++row) {
        const size_t position = first + row;
        if (position < length / 2 || position + 1 >= length) continue;
        const double s =
            surprise(logits.subspan(row * vocabulary, vocabulary), chunk[position + 1]);
        if (!std::isfinite(s))
          throw Error(fmt::format("{}: the perplexity is infinite: token {}, at position {} of "
                                  "chunk {}, has a logit of minus infinity",
                                  model.file().path.string(), chunk[position + 1], position + 1, i),
                      "The model cannot write this text: measure it with another one.");
        sum += s;
        squares += s * s;
        ++result.tokens;
      }
    });
    progress(i + 1, result.chunks);
  }
  const auto n = static_cast<double>(result.tokens);
  const double mean = sum / n;
  result.perplexity = std::exp(mean);
  if (!std::isfinite(result.perplexity))
    throw Error(fmt::format("{}: the perplexity is e^{:.4g}, which is no number a computer holds",
                            model.file().path.string(), mean),
                "The weights may be damaged or wrongly converted: get the file again.");
  result.error =
      n > 1 ? std::sqrt(std::max(0.0, squares / n - mean * mean) / (n - 1)) * result.perplexity : 0;
  return result;
}

}  // namespace outboard::engine
