// Attention kernels against norm, rope and softmax in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <random>

#include "devices/amd/kernels/test_step.h"
#include "formats/quantize.h"

namespace outboard::devices::amd::kernels {
namespace {

using formats::float_to_half;
using formats::half_to_float;

struct RunCase {
  int position;  // of its first token
  int tokens;
};
struct Case {
  const char* name;
  std::vector<RunCase> runs;
  int heads = 4, kv_heads = 2, key_dim = 64, value_dim = 64;
  int splits = 4, page_tokens = 32, window = 0;
  float softcap = 0;
  int rotary = 64;
  bool neox = true, norms = false;
  int padding = 0;  // tokens of no run at the end
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

constexpr float kEpsilon = 1e-6F;
constexpr double kHalfUlp = 0x1p-10;    // relative distance of neighbours in float16
constexpr double kTurnError = 0x1p-19;  // of sine and cosine, and of the angle before

class Layer {
 public:
  explicit Layer(const Case& test) : c(test), random_(7) {
    tokens = c.padding;
    int context = 1;
    for (const RunCase& run : c.runs) {
      tokens += run.tokens;
      context = std::max(context, run.position + run.tokens);
    }
    TestLimits limits;
    limits.tokens = tokens;
    limits.runs = static_cast<int>(c.runs.size());
    limits.pages_per_run = (context + c.page_tokens - 1) / c.page_tokens;
    limits.page_tokens = c.page_tokens;
    layout = make_layout(limits);
    record_ = runner.allocate<uint8_t>(index(layout.bytes));
    fill_record();
    fill_cache(limits.runs * limits.pages_per_run);
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
    args.heads = c.heads;
    args.kv_heads = c.kv_heads;
    args.key_dim = c.key_dim;
    args.value_dim = c.value_dim;
    args.window = c.window;
    args.scale = 1 / std::sqrt(static_cast<float>(c.key_dim));
    args.softcap = c.softcap;
    args.tokens = tokens;
  }

  uint64_t key_at(int run, int kv_head, int position) {
    return row_at(run, kv_head, position, c.key_dim);
  }
  uint64_t value_at(int run, int kv_head, int position) {
    return row_at(run, kv_head, position, c.value_dim);
  }

  // A head normed and turned.
  std::vector<double> turned(std::span<const float> x, int position, std::span<float> weight) {
    std::vector<double> out(x.begin(), x.end());
    if (c.norms) {
      double squares = 0;
      for (double e : out) squares += e * e;
      const double factor = 1 / std::sqrt(squares / static_cast<double>(out.size()) + kEpsilon);
      for (size_t i = 0; i < out.size(); ++i) out[i] *= factor * weight[i];
    }
    for (int i = 0; i < c.rotary / 2; ++i) {
      const double angle = position * std::pow(10000.0, -2.0 * i / c.rotary);
      const auto a = index(c.neox ? i : 2 * i);
      const auto b = index(c.neox ? i + c.rotary / 2 : 2 * i + 1);
      const double x0 = out[a];
      const double x1 = out[b];
      out[a] = x0 * std::cos(angle) - x1 * std::sin(angle);
      out[b] = x0 * std::sin(angle) + x1 * std::cos(angle);
    }
    return out;
  }
  std::vector<double> query(int token, int head) {
    const std::span<const float> row(q_before.data() + token * args.q_stride + head * c.key_dim,
                                     index(c.key_dim));
    return turned(row, record().positions()[index(token)], q_weight);
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
          ASSERT_NEAR(half_to_float(cache[at]), key[i],
                      std::abs(key[i]) * kHalfUlp / 2 + 8 * kTurnError)
              << "key " << i << " of token " << t;
          expected[at] = cache[at];
        }
        for (int i = 0; i < c.value_dim; ++i) {
          const auto from = index(t * args.v_stride + head * c.value_dim + i);
          expected[values_begin_ + value_at(run, head, position) + index(i)] =
              float_to_half(v[from]);
        }
      }
    }
    ASSERT_TRUE(std::ranges::equal(expected, cache));
  }

  // Attention of a head of a token, and by how much float32 may be off.
  struct Expected {
    std::vector<double> out, bound;
  };
  // rounding: of q and of probabilities before they are multiplied.
  Expected attention(int token, int head, double rounding) {
    const int run = record().token_run()[index(token)];
    const int position = record().positions()[index(token)];
    const int first = c.window > 0 ? std::max(0, position - c.window + 1) : 0;
    const int kv_head = head / (c.heads / c.kv_heads);
    const std::vector<double> query = this->query(token, head);
    const auto n = index(position - first + 1);
    std::vector<double> scores(n);
    std::vector<double> errors(n);
    for (size_t i = 0; i < n; ++i) {
      double sum = 0;
      double magnitude = 0;
      const uint64_t at = key_at(run, kv_head, first + static_cast<int>(i));
      for (size_t e = 0; e < query.size(); ++e) {
        const double product = query[e] * half_to_float(cache[at + e]);
        sum += product;
        magnitude += std::abs(product) + kTurnError * std::abs(half_to_float(cache[at + e]));
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
    const double top = *std::ranges::max_element(scores);
    double sum = 0;
    double mean_error = 0;
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
        const double value = half_to_float(cache[at + e]);
        result.out[e] += p * value;
        result.bound[e] += p * std::abs(value) * (errors[i] + mean_error + additions);
      }
    }
    return result;
  }
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

  const Case& c;
  KernelRunner runner;
  int tokens = 0;
  StepLayout layout{};
  std::span<float> q, k, v, q_weight, k_weight;
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
    std::vector<int32_t> pages(c.runs.size() * index(layout.pages_per_run));
    std::iota(pages.begin(), pages.end(), 0);
    std::ranges::shuffle(pages, random_);
    for (size_t run = 0; run < c.runs.size(); ++run)
      std::copy_n(pages.begin() + static_cast<ptrdiff_t>(run) * layout.pages_per_run,
                  layout.pages_per_run, r.pages(static_cast<int>(run)).begin());
  }
  // Positions that the runs have already; all others hold NaN.
  void fill_cache(int pages) {
    const size_t keys = index(c.kv_heads) * c.page_tokens * c.key_dim;
    const size_t values = index(c.kv_heads) * c.page_tokens * c.value_dim;
    page_stride_ = keys + values + 64;
    values_begin_ = keys;
    cache = runner.allocate<uint16_t>(index(pages) * page_stride_);
    std::ranges::fill(cache, uint16_t{0x7e00});
    for (size_t run = 0; run < c.runs.size(); ++run)
      for (int p = 0; p < c.runs[run].position; ++p)
        for (int head = 0; head < c.kv_heads; ++head) {
          uint16_t* key = &cache[key_at(static_cast<int>(run), head, p)];
          for (int i = 0; i < c.key_dim; ++i) key[i] = float_to_half(normal_(random_));
          uint16_t* value = &cache[values_begin_ + value_at(static_cast<int>(run), head, p)];
          for (int i = 0; i < c.value_dim; ++i) value[i] = float_to_half(normal_(random_));
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
    args.k_rope = args.q_rope;
  }
  uint64_t row_at(int run, int kv_head, int position, int dim) {
    const auto page = static_cast<uint64_t>(record().pages(run)[index(position / c.page_tokens)]);
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

class AttentionDecode : public testing::TestWithParam<Case> {};

TEST_P(AttentionDecode, AgreesWithDouble) {
  const Case& c = GetParam();
  Layer s(c);
  const auto heads = index(s.tokens * c.heads * c.splits);
  const auto sums = s.runner.allocate<float>(heads * index(c.value_dim));
  const auto stats = s.runner.allocate<float>(heads * 2);
  std::ranges::fill(stats, 0.0F);
  s.args.splits = {
      KernelRunner::ptr(sums), KernelRunner::ptr(stats), c.heads, c.value_dim, c.splits, c.window};
  s.runner.run("attention_decode", s.args,
               {static_cast<uint32_t>(c.splits), static_cast<uint32_t>(c.kv_heads),
                static_cast<uint32_t>(s.tokens)});
  ASSERT_NO_FATAL_FAILURE(s.check_cache());
  for (int t = 0; t < s.tokens; ++t) {
    const int position = s.record().positions()[index(t)];
    const int seen = c.window > 0 ? std::min(position + 1, c.window) : position + 1;
    for (int head = 0; head < c.heads; ++head) {
      double top = -INFINITY;
      double sum = 0;
      std::vector<double> out(index(c.value_dim));
      for (int pass = 0; pass < 2; ++pass)
        for (int split = 0; split < c.splits; ++split) {
          const auto at = index((t * c.heads + head) * c.splits + split);
          if (split * split_positions(seen, c.splits) >= seen || position < 0) {
            ASSERT_EQ(stats[at * 2 + 1], 0) << "a split without positions was written";
            continue;
          }
          const double maximum = stats[at * 2];
          if (pass == 0) {
            top = std::max(top, maximum);
            continue;
          }
          sum += stats[at * 2 + 1] * std::exp(maximum - top);
          for (size_t e = 0; e < out.size(); ++e)
            out[e] += sums[at * out.size() + e] * std::exp(maximum - top);
        }
      if (position < 0) continue;
      for (double& x : out) x /= sum;
      ASSERT_NO_FATAL_FAILURE(s.expect_attention(t, head, out, 0));
    }
  }
}

std::vector<Case> decode_cases() {
  return {
      {.name = "first_token", .runs = {{0, 1}}},
      {.name = "one_split", .runs = {{64, 1}}, .splits = 1},
      {.name = "several_runs", .runs = {{63, 1}, {300, 1}, {0, 1}, {128, 1}}, .padding = 2},
      {.name = "tiny",
       .runs = {{37, 1}},
       .key_dim = 16,
       .value_dim = 16,
       .page_tokens = 8,
       .rotary = 16},
      {.name = "odd_dims",
       .runs = {{200, 1}},
       .heads = 6,
       .key_dim = 80,
       .value_dim = 40,
       .rotary = 32,
       .neox = false},
      {.name = "llama",
       .runs = {{1000, 1}},
       .heads = 8,
       .key_dim = 128,
       .value_dim = 128,
       .rotary = 128,
       .neox = false},
      {.name = "gemma",
       .runs = {{700, 1}},
       .heads = 4,
       .kv_heads = 1,
       .key_dim = 256,
       .value_dim = 256,
       .window = 512,
       .rotary = 256,
       .norms = true},
      {.name = "softcap", .runs = {{400, 1}, {20, 1}}, .softcap = 5, .norms = true},
      {.name = "no_group", .runs = {{257, 1}}, .heads = 3, .kv_heads = 3, .rotary = 0},
      {.name = "group_of_7", .runs = {{257, 1}}, .heads = 14, .kv_heads = 2, .norms = true},
      {.name = "group_of_16", .runs = {{300, 1}}, .heads = 16, .kv_heads = 1, .page_tokens = 16},
      {.name = "window_in_a_page", .runs = {{100, 1}, {5, 1}}, .window = 33},
      {.name = "long_context", .runs = {{4099, 1}}, .heads = 2, .kv_heads = 1, .splits = 12},
      {.name = "longest_context",
       .runs = {{33000, 1}},
       .heads = 1,
       .kv_heads = 1,
       .key_dim = 16,
       .value_dim = 16,
       .splits = 7,
       .rotary = 16},
  };
}
INSTANTIATE_TEST_SUITE_P(Shapes, AttentionDecode, testing::ValuesIn(decode_cases()),
                         [](const auto& test) { return test.param.name; });

TEST(AttentionDecodeCost, ReadsKeysAndValuesOnce) {
  const Case c{.name = "llama 8B",
               .runs = {{4095, 1}},
               .heads = 32,
               .kv_heads = 8,
               .key_dim = 128,
               .value_dim = 128,
               .splits = 12,
               .rotary = 128};
  Layer s(c);
  const auto rows = index(c.heads * c.splits);
  const auto sums = s.runner.allocate<float>(rows * index(c.value_dim));
  const auto stats = s.runner.allocate<float>(rows * 2);
  s.args.splits = {
      KernelRunner::ptr(sums), KernelRunner::ptr(stats), c.heads, c.value_dim, c.splits, 0};
  s.runner.run("attention_decode", s.args, {12, 8, 1});
  const auto& counters = s.runner.counters();
  const double positions = 4096;
  const double kv_bytes = positions * c.kv_heads * (c.key_dim + c.value_dim) * 2;
  const double pairs = positions * c.heads;
  EXPECT_LT(static_cast<double>(counters.gl2_miss_bytes), 1.05 * kv_bytes);
  // 8 fused multiply-adds a lane are needed; the rest is addresses, softmax, and the workgroup's
  // beginning and end.
  EXPECT_LT(static_cast<double>(counters.instructions()) / pairs, 22);
  EXPECT_LT(static_cast<double>(counters.lds_bank_conflicts) / pairs, 0.05);
}

class AttentionPrompt : public testing::TestWithParam<Case> {};

TEST_P(AttentionPrompt, AgreesWithDouble) {
  const Case& c = GetParam();
  Layer s(c);
  const int stride = c.heads * c.value_dim + 4;
  const auto out = s.fill(stride);
  s.args.out = KernelRunner::ptr(out);
  s.args.out_stride = stride;
  s.runner.run("rope_kv", s.args, {static_cast<uint32_t>(s.tokens), 1, 1});
  ASSERT_NO_FATAL_FAILURE(s.check_cache());
  s.runner.run("attention_prompt", s.args,
               {static_cast<uint32_t>((s.tokens + 15) / 16), static_cast<uint32_t>(c.heads), 1});
  for (int t = 0; t < s.tokens; ++t)
    for (int head = 0; head < c.heads; ++head) {
      if (s.record().positions()[index(t)] < 0) continue;
      const auto* row = &out[index(t * stride + head * c.value_dim)];
      ASSERT_NO_FATAL_FAILURE(
          s.expect_attention(t, head, std::vector<double>(row, row + c.value_dim), kHalfUlp / 2));
    }
}

TEST(AttentionPromptCost, MultipliesWithWmma) {
  const Case c{.name = "llama 8B",
               .runs = {{960, 64}},
               .heads = 4,
               .kv_heads = 1,
               .key_dim = 128,
               .value_dim = 128,
               .rotary = 128};
  Layer s(c);
  const int stride = c.heads * c.value_dim;
  s.args.out = KernelRunner::ptr(s.fill(stride));
  s.args.out_stride = stride;
  s.runner.run("rope_kv", s.args, {64, 1, 1});
  const auto before = s.runner.counters();
  s.runner.run("attention_prompt", s.args, {4, 4, 1});
  const auto& counters = s.runner.counters();
  const double pairs = 64 * 992.0 * c.heads;
  // 8 for the scores and 8 for the values of each 16 x 16.
  const double wmma = static_cast<double>(counters.wmma - before.wmma);
  EXPECT_LT(wmma, 1.05 * pairs / 256 * 16);
  const double instructions = static_cast<double>(counters.instructions() - before.instructions());
  EXPECT_LT(instructions / pairs, 2.5);
  EXPECT_LT(static_cast<double>(counters.lds_bank_conflicts) / pairs, 0.03);
}

std::vector<Case> prompt_cases() {
  return {
      {.name = "one_token", .runs = {{0, 1}}},
      {.name = "prompt", .runs = {{0, 150}}, .padding = 10},
      {.name = "later", .runs = {{517, 35}}},
      {.name = "mixed", .runs = {{40, 1}, {99, 1}, {0, 21}, {7, 30}}, .padding = 3},
      {.name = "odd_dims",
       .runs = {{90, 21}},
       .heads = 6,
       .key_dim = 80,
       .value_dim = 40,
       .page_tokens = 16,
       .rotary = 32,
       .neox = false},
      {.name = "tiny", .runs = {{0, 40}}, .key_dim = 16, .value_dim = 16, .rotary = 16},
      {.name = "llama",
       .runs = {{130, 17}},
       .heads = 4,
       .kv_heads = 1,
       .key_dim = 128,
       .value_dim = 128,
       .rotary = 128,
       .neox = false},
      {.name = "gemma",
       .runs = {{30, 40}},
       .heads = 2,
       .kv_heads = 1,
       .key_dim = 256,
       .value_dim = 256,
       .window = 24,
       .rotary = 256,
       .norms = true},
      {.name = "long_context",
       .runs = {{4080, 20}},
       .heads = 2,
       .kv_heads = 1,
       .key_dim = 16,
       .value_dim = 16,
       .rotary = 16},
      {.name = "softcap", .runs = {{10, 33}}, .softcap = 5},
  };
}
INSTANTIATE_TEST_SUITE_P(Shapes, AttentionPrompt, testing::ValuesIn(prompt_cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace outboard::devices::amd::kernels
