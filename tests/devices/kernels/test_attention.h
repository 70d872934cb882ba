// For tests: one layer's queries, keys, values and cache, and attention to them in double.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <random>

#include "formats/quantize.h"
#include "tests/devices/kernels/test_step.h"

namespace outboard::devices::gpu::kernels {

struct RunCase {
  int position;  // of its first token
  int tokens;
  int source = 0;  // its number, where there are sources; neighbours share it
};
struct AttentionCase {
  const char* name;
  std::vector<RunCase> runs;
  int heads = 4, kv_heads = 2, key_dim = 64, value_dim = 64;
  int splits = 4, page_tokens = 32, window = 0;
  float softcap = 0;
  int rotary = 64;
  bool neox = true, norms = false;
  int padding = 0;                // tokens of no run at the end
  std::vector<int> sources = {};  // tokens of each; the runs attend to these instead
  bool chunked = false, sinks = false;
  bool latent = false;       // values in keys
  bool value_norms = false;  // without weights
  bool norms_after = false;  // of q and k, after their turn
  float magnitude = 1;
  float position_scale = 0, position_length = 1, position_offset = 0;  // of q

  int first_seen(int position) const {
    if (window == 0) return 0;
    return chunked ? position / window * window : std::max(0, position - window + 1);
  }
};
inline void PrintTo(const AttentionCase& c, std::ostream* out) { *out << c.name; }

constexpr float kEpsilon = 1e-6F;
constexpr double kHalfUlp = 0x1p-10;    // relative distance of neighbours in float16
constexpr double kTurnError = 0x1p-19;  // of sine and cosine, and of the angle before

class AttentionLayer {
 public:
  explicit AttentionLayer(const AttentionCase& test) : c(test), random_(7) {
    tokens = c.padding;
    int context = 1;
    for (const RunCase& run : c.runs) {
      tokens += run.tokens;
      context = std::max(context, run.position + run.tokens);
    }
    TestLimits limits;
    limits.tokens = tokens;
    limits.runs = static_cast<int>(c.runs.size());
    for (const int length : c.sources) context = std::max(context, length);
    limits.pages_per_run = (context + c.page_tokens - 1) / c.page_tokens;
    limits.page_tokens = c.page_tokens;
    limits.sources = !c.sources.empty();
    layout = make_layout(limits);
    record_ = runner.allocate<uint8_t>(index(layout.bytes));
    fill_record();
    fill_cache((limits.runs + static_cast<int>(c.sources.size())) * limits.pages_per_run);
    q = fill(c.heads * c.key_dim + 8);
    k = fill(c.kv_heads * c.key_dim + 16);
    v = fill(c.kv_heads * c.value_dim + 4);
    q_before.assign(q.begin(), q.end());
    args.q = KernelRunner::ptr(q);
    args.k = KernelRunner::ptr(k);
    args.v = KernelRunner::ptr(v);
    args.q_stride = c.heads * c.key_dim + 8;
    args.k_stride = c.kv_heads * c.key_dim + 16;
    args.v_stride = c.kv_heads * c.value_dim + 4;
    fill_norm_and_rope();
    args.step = {KernelRunner::const_ptr(record_), layout};
    args.pages = layout.pages;
    args.heads = c.heads;
    args.kv_heads = c.kv_heads;
    args.key_dim = c.key_dim;
    args.value_dim = c.value_dim;
    args.window = c.window;
    args.scale = 1 / std::sqrt(static_cast<float>(c.key_dim));
    args.softcap = c.softcap;
    args.tokens = tokens;
    args.source = c.sources.empty() ? 0 : 1;
    args.chunked = c.chunked ? 1 : 0;
    args.values_in_keys = c.latent ? 1 : 0;
    if (c.latent) args.v = {};
    if (c.value_norms) args.v_norm = {NormKind::kRms, kEpsilon, {}, {}};
    if (c.sinks) {
      sinks = runner.allocate<float>(index(c.heads));
      for (float& sink : sinks) sink = 2 * normal_(random_);
      args.sinks = KernelRunner::const_ptr(sinks);
    }
  }

  uint64_t key_at(int run, int kv_head, int position) {
    return row_at(run, kv_head, position, c.key_dim);
  }
  uint64_t value_at(int run, int kv_head, int position) {
    return row_at(run, kv_head, position, c.latent ? c.key_dim : c.value_dim);
  }

  // A head normed and turned.
  std::vector<double> turned(std::span<const float> x, int position, std::span<float> weight) {
    std::vector<double> out(x.begin(), x.end());
    const auto norm = [&] {
      double squares = 0;
      for (double e : out) squares += e * e;
      const double factor = 1 / std::sqrt(squares / static_cast<double>(out.size()) + kEpsilon);
      for (size_t i = 0; i < out.size(); ++i) out[i] *= factor * weight[i];
    };
    if (c.norms && !c.norms_after) norm();
    for (int i = 0; i < c.rotary / 2; ++i) {
      const double angle = position * std::pow(10000.0, -2.0 * i / c.rotary);
      const auto a = index(c.neox ? i : 2 * i);
      const auto b = index(c.neox ? i + c.rotary / 2 : 2 * i + 1);
      const double x0 = out[a];
      const double x1 = out[b];
      out[a] = c.magnitude * (x0 * std::cos(angle) - x1 * std::sin(angle));
      out[b] = c.magnitude * (x0 * std::sin(angle) + x1 * std::cos(angle));
    }
    if (c.norms && c.norms_after) norm();
    return out;
  }
  std::vector<double> query(int token, int head) {
    const std::span<const float> row(q_before.data() + token * args.q_stride + head * c.key_dim,
                                     index(c.key_dim));
    const int position = record().positions()[index(token)];
    std::vector<double> out = turned(row, position, q_weight);
    const double steps =
        std::floor((position + double{c.position_offset}) / double{c.position_length});
    for (double& e : out) e *= 1 + c.position_scale * std::log(1 + steps);
    return out;
  }

  // What the new tokens left in the cache, and that nothing else changed.
  void check_cache() {
    std::vector<uint16_t> expected(cache_before_);
    for (int t = 0; t < tokens; ++t) {
      const int position = record().positions()[index(t)];
      if (position < 0) continue;
      const int run = record().token_run()[index(t)];
      for (int head = 0; head < c.kv_heads; ++head) {
        const std::vector<double> key =
            turned(k.subspan(index(t * args.k_stride + head * c.key_dim), index(c.key_dim)),
                   position, k_weight);
        for (size_t i = 0; i < key.size(); ++i) {
          const size_t at = key_at(run, head, position) + i;
          // Next to the true value: turned in float32, rounded to float16.
          ASSERT_NEAR(formats::half_to_float(cache[at]), key[i],
                      std::abs(key[i]) * kHalfUlp / 2 + 8 * kTurnError)
              << "key " << i << " of token " << t;
          expected[at] = cache[at];
        }
        for (int i = 0; i < c.value_dim && !c.latent; ++i) {
          const auto from = index(t * args.v_stride + head * c.value_dim + i);
          const size_t at = values_begin_ + value_at(run, head, position) + index(i);
          if (!c.value_norms) {
            expected[at] = formats::float_to_half(v[from]);
            continue;
          }
          const std::span<float> row =
              v.subspan(index(t * args.v_stride + head * c.value_dim), index(c.value_dim));
          double squares = 0;
          for (const float e : row) squares += static_cast<double>(e) * e;
          const double want = v[from] / std::sqrt(squares / c.value_dim + kEpsilon);
          ASSERT_NEAR(formats::half_to_float(cache[at]), want, std::abs(want) * kHalfUlp);
          expected[at] = cache[at];
        }
      }
    }
    ASSERT_TRUE(std::ranges::equal(expected, cache));
  }

  bool is_cache_unchanged() const { return std::ranges::equal(cache_before_, cache); }

  // Attention of a head of a token, and by how much float32 may be off.
  struct Expected {
    std::vector<double> out, bound;
  };
  // rounding: of q and of probabilities before they are multiplied.
  Expected attention(int token, int head, double rounding) {
    const int run = record().token_run()[index(token)];
    const int position = record().positions()[index(token)];
    const int first = c.first_seen(position);
    const int last = c.sources.empty() ? position : source_tokens(run) - 1;
    const int kv_head = head / (c.heads / c.kv_heads);
    const std::vector<double> query = this->query(token, head);
    const auto n = index(last - first + 1);
    std::vector<double> scores(n);
    std::vector<double> errors(n);
    for (size_t i = 0; i < n; ++i) {
      double sum = 0;
      double magnitude = 0;
      const uint64_t at = key_at(run, kv_head, first + static_cast<int>(i));
      for (size_t e = 0; e < query.size(); ++e) {
        const double product = query[e] * formats::half_to_float(cache[at + e]);
        sum += product;
        magnitude +=
            std::abs(product) + kTurnError * std::abs(formats::half_to_float(cache[at + e]));
      }
      // Each product is rounded at most once for each addition that follows; q once for each of
      // norm, weight, and turn.
      errors[i] = args.scale * magnitude * (c.key_dim / 4.0 + 8) * 0x1p-24 +
                  args.scale * magnitude * (2 * kTurnError + rounding);
      scores[i] = sum * args.scale;
      if (c.softcap != 0) {
        scores[i] = c.softcap * std::tanh(scores[i] / c.softcap);
        errors[i] += c.softcap * 0x1p-21;
      }
      errors[i] += std::abs(scores[i]) * 0x1p-22 + 0x1p-21;
    }
    double top = *std::ranges::max_element(scores);
    double sum = 0;
    double mean_error = 0;
    if (c.sinks) {
      const double sink = sinks[index(head)];
      top = std::max(top, sink);
      sum = std::exp(sink - top);
    }
    for (size_t i = 0; i < n; ++i) {
      scores[i] = std::exp(scores[i] - top);
      sum += scores[i];
      mean_error += scores[i] * errors[i];
    }
    mean_error /= sum;
    const double additions = (static_cast<double>(n) + 64) * 0x1p-24 + rounding;
    Expected result;
    result.out.resize(index(c.value_dim));
    result.bound.resize(result.out.size());
    for (size_t i = 0; i < n; ++i) {
      const double p = scores[i] / sum;
      const uint64_t at = values_begin_ + value_at(run, kv_head, first + static_cast<int>(i));
      for (size_t e = 0; e < result.out.size(); ++e) {
        const double value = formats::half_to_float(cache[at + e]);
        result.out[e] += p * value;
        result.bound[e] += p * std::abs(value) * (errors[i] + mean_error + additions);
      }
    }
    return result;
  }
  int source_tokens(int run) { return c.sources[index(c.runs[index(run)].source)]; }
  void expect_attention(int token, int head, std::span<const double> out, double rounding) {
    const Expected expected = attention(token, head, rounding);
    for (size_t e = 0; e < out.size(); ++e)
      ASSERT_NEAR(out[e], expected.out[e], expected.bound[e] + 1e-30)
          << "element " << e << " of head " << head << " of token " << token;
  }

  TestRecord record() { return {record_, layout}; }
  std::span<float> fill(int stride) {
    const auto out = runner.allocate<float>(index(tokens * stride));
    for (float& x : out) x = normal_(random_);
    return out;
  }

  const AttentionCase& c;
  KernelRunner runner;
  int tokens = 0;
  StepLayout layout{};
  std::span<float> q, k, v, q_weight, k_weight, sinks;
  std::vector<float> q_before;
  std::span<uint16_t> cache;  // keys of a page, then its values, with a gap behind
  AttentionArgs args{};

 private:
  void fill_record() {
    std::ranges::fill(record_, uint8_t{0});
    TestRecord r = record();
    size_t t = 0;
    for (size_t run = 0; run < c.runs.size(); ++run)
      for (int i = 0; i < c.runs[run].tokens; ++i, ++t) {
        r.positions()[t] = c.runs[run].position + i;
        r.token_run()[t] = static_cast<int>(run);
      }
    for (; t < index(tokens); ++t) r.positions()[t] = -1;
    std::vector<int32_t> pages((c.runs.size() + c.sources.size()) * index(layout.pages_per_run));
    std::iota(pages.begin(), pages.end(), 0);
    std::ranges::shuffle(pages, random_);
    for (size_t run = 0; run < c.runs.size(); ++run)
      std::copy_n(pages.begin() + static_cast<ptrdiff_t>(run) * layout.pages_per_run,
                  layout.pages_per_run, r.pages(static_cast<int>(run)).begin());
    if (c.sources.empty()) return;
    for (size_t run = 0; run < c.runs.size(); ++run) {
      const int source = c.runs[run].source;
      const bool shared = run > 0 && c.runs[run - 1].source == source;
      r.source_run()[run] = shared ? r.source_run()[run - 1] : static_cast<int>(run);
      r.source_tokens()[run] = c.sources[index(source)];
      std::copy_n(
          pages.begin() + (static_cast<ptrdiff_t>(c.runs.size()) + source) * layout.pages_per_run,
          layout.pages_per_run, r.source_pages(static_cast<int>(run)).begin());
    }
  }
  // Positions that the runs have already; all others hold NaN.
  void fill_cache(int pages) {
    const size_t keys = index(c.kv_heads) * c.page_tokens * c.key_dim;
    const size_t values = c.latent ? 0 : index(c.kv_heads) * c.page_tokens * c.value_dim;
    page_stride_ = keys + values + 64;
    values_begin_ = c.latent ? 0 : keys;
    cache = runner.allocate<uint16_t>(index(pages) * page_stride_);
    std::ranges::fill(cache, uint16_t{0x7e00});
    for (size_t run = 0; run < c.runs.size(); ++run)
      for (int p = 0;
           p < (c.sources.empty() ? c.runs[run].position : source_tokens(static_cast<int>(run)));
           ++p)
        for (int head = 0; head < c.kv_heads; ++head) {
          uint16_t* key = &cache[key_at(static_cast<int>(run), head, p)];
          for (int i = 0; i < c.key_dim; ++i) key[i] = formats::float_to_half(normal_(random_));
          uint16_t* value = &cache[values_begin_ + value_at(static_cast<int>(run), head, p)];
          for (int i = 0; i < c.value_dim && !c.latent; ++i)
            value[i] = formats::float_to_half(normal_(random_));
        }
    cache_before_.assign(cache.begin(), cache.end());
    args.cache.keys = KernelRunner::ptr(cache);
    args.cache.values = KernelRunner::ptr(cache.subspan(values_begin_));
    args.cache.page_stride = page_stride_;
  }
  void fill_norm_and_rope() {
    q_weight = runner.allocate<float>(index(c.key_dim));
    k_weight = runner.allocate<float>(index(c.key_dim));
    for (float& x : q_weight) x = 1 + normal_(random_) / 4;
    for (float& x : k_weight) x = 1 + normal_(random_) / 4;
    if (c.norms) {
      args.q_norm = {NormKind::kRms, kEpsilon, KernelRunner::const_ptr(q_weight), {}};
      args.k_norm = {NormKind::kRms, kEpsilon, KernelRunner::const_ptr(k_weight), {}};
    }
    const auto turns = runner.allocate<float>(index(c.rotary));
    for (int i = 0; i < c.rotary / 2; ++i) {
      const double exact = std::pow(10000.0, -2.0 * i / c.rotary) / (2 * std::numbers::pi);
      const auto high = static_cast<float>(exact);
      turns[index(2 * i)] = high;
      turns[index(2 * i + 1)] = static_cast<float>(exact - high);
    }
    args.q_rope = {c.rotary, c.neox ? 1 : 0, KernelRunner::const_ptr(turns)};
    args.q_rope.magnitude = c.magnitude;
    args.q_rope.norm_after = c.norms_after ? 1 : 0;
    args.k_rope = args.q_rope;
    args.q_rope.position_scale = c.position_scale;
    args.q_rope.position_length = c.position_length;
    args.q_rope.position_offset = c.position_offset;
  }
  uint64_t row_at(int run, int kv_head, int position, int dim) {
    const auto pages = c.sources.empty() ? record().pages(run) : record().source_pages(run);
    const auto page = static_cast<uint64_t>(pages[index(position / c.page_tokens)]);
    return page * page_stride_ +
           static_cast<uint64_t>(kv_head * c.page_tokens + position % c.page_tokens) *
               static_cast<uint64_t>(dim);
  }

  std::mt19937 random_;
  std::normal_distribution<float> normal_;
  std::span<uint8_t> record_;
  std::vector<uint16_t> cache_before_;
  uint64_t page_stride_ = 0, values_begin_ = 0;
};

}  // namespace outboard::devices::gpu::kernels
