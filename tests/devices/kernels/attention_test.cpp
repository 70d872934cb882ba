// Attention kernels against norm, rope and softmax in double.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/devices/kernels/test_attention.h"

namespace outboard::devices::gpu::kernels {
namespace {

using Case = AttentionCase;
using Layer = AttentionLayer;

// Where attention_decode keeps splits, and its rows.
struct DecodeRows {
  explicit DecodeRows(Layer& s, int splits) : stride(s.c.heads * s.c.value_dim + 4) {
    const auto heads = index(s.tokens * s.c.heads * splits);
    s.args.splits.sums = KernelRunner::ptr(s.runner.allocate<float>(heads * index(s.c.value_dim)));
    s.args.splits.stats = KernelRunner::ptr(s.runner.allocate<float>(heads * 2));
    ended = s.runner.allocate<uint32_t>(index(s.tokens * s.c.kv_heads));
    std::ranges::fill(ended, 0U);
    s.args.splits.ended = KernelRunner::ptr(ended);
    s.args.splits.splits = splits;
    out = s.fill(stride);
    s.args.out = KernelRunner::ptr(out);
    s.args.out_stride = stride;
    s.runner.run("attention_decode", s.args,
                 {static_cast<uint32_t>(splits), static_cast<uint32_t>(s.c.kv_heads),
                  static_cast<uint32_t>(s.tokens)});
  }
  std::span<const float> row(int token) const {
    return std::span(out).subspan(index(token * stride), index(stride - 4));
  }

  int stride;
  std::span<uint32_t> ended;
  std::span<float> out;
};

class AttentionDecode : public testing::TestWithParam<Case> {};

TEST_P(AttentionDecode, AgreesWithDouble) {
  const Case& c = GetParam();
  Layer s(c);
  const DecodeRows rows(s, c.splits);
  if (c.sources.empty())
    ASSERT_NO_FATAL_FAILURE(s.check_cache());
  else
    ASSERT_TRUE(s.is_cache_unchanged());
  // The next launch begins as this one did.
  ASSERT_THAT(rows.ended, testing::Each(0U));
  for (int t = 0; t < s.tokens; ++t) {
    if (s.record().positions()[index(t)] < 0) {
      ASSERT_THAT(rows.row(t), testing::Each(0.0F)) << "of no token";
      continue;
    }
    for (int head = 0; head < c.heads; ++head) {
      const auto* row = &rows.row(t)[index(head * c.value_dim)];
      ASSERT_NO_FATAL_FAILURE(
          s.expect_attention(t, head, std::vector<double>(row, row + c.value_dim), 0));
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
      {.name = "source", .runs = {{3, 1}}, .kv_heads = 4, .rotary = 0, .sources = {37}},
      {.name = "sources_shared",
       .runs = {{3, 1, 0}, {3, 1, 0}, {3, 1, 0}, {9, 1, 1}, {0, 1, 2}, {0, 1, 2}},
       .kv_heads = 4,
       .rotary = 0,
       .padding = 2,
       .sources = {200, 1, 64}},
      {.name = "source_of_many",
       .runs = {{5, 1}, {5, 1}, {5, 1}, {5, 1}, {5, 1}, {5, 1}, {5, 1}, {5, 1}, {5, 1}, {5, 1}},
       .heads = 4,
       .kv_heads = 2,
       .key_dim = 24,
       .value_dim = 40,
       .rotary = 0,
       .sources = {150}},
      {.name = "longest_context",
       .runs = {{33000, 1}},
       .heads = 1,
       .kv_heads = 1,
       .key_dim = 16,
       .value_dim = 16,
       .splits = 7,
       .rotary = 16},
      {.name = "chunks", .runs = {{300, 1}, {5, 1}}, .window = 96, .chunked = true},
      {.name = "sinks", .runs = {{200, 1}}, .window = 128, .sinks = true},
      {.name = "yarn", .runs = {{90, 1}}, .magnitude = 1.35F},
      {.name = "norms_after", .runs = {{90, 1}}, .norms = true, .norms_after = true},
      {.name = "growing_queries",
       .runs = {{700, 1}},
       .rotary = 0,
       .norms = true,
       .position_scale = 0.1F,
       .position_length = 100,
       .position_offset = 1},
      {.name = "latent",
       .runs = {{130, 1}},
       .heads = 20,
       .kv_heads = 1,
       .key_dim = 576,
       .value_dim = 512,
       .rotary = 64,
       .latent = true},
      {.name = "gemma_4",
       .runs = {{130, 1}},
       .heads = 4,
       .kv_heads = 1,
       .key_dim = 512,
       .value_dim = 512,
       .rotary = 512,
       .norms = true,
       .value_norms = true},
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
  const DecodeRows rows(s, c.splits);
  const auto& counters = s.runner.counters();
  const double positions = 4096;
  const double kv_bytes = positions * c.kv_heads * (c.key_dim + c.value_dim) * 2;
  const double pairs = positions * c.heads;
  EXPECT_LT(static_cast<double>(counters.gl2_miss_bytes), 1.05 * kv_bytes);
  // 8 fused multiply-adds a lane are needed; the rest is addresses, softmax, and the workgroup's
  // beginning and end.
  EXPECT_LT(static_cast<double>(counters.instructions()) / pairs, 25.4);
  EXPECT_LT(static_cast<double>(counters.lds_bank_conflicts) / pairs, 0.05);
}

// A kernel's rows against the reference.
template <typename Rows>
void run_and_check(Layer& s, const Case& c, const char* kernel, std::array<uint32_t, 3> workgroups,
                   const Rows& out, int stride) {
  std::ranges::fill(out, std::numeric_limits<float>::quiet_NaN());
  s.runner.run(kernel, s.args, workgroups);
  for (int t = 0; t < s.tokens; ++t)
    for (int head = 0; head < c.heads; ++head) {
      if (s.record().positions()[index(t)] < 0) continue;
      const auto* row = &out[index(t * stride + head * c.value_dim)];
      ASSERT_NO_FATAL_FAILURE(
          s.expect_attention(t, head, std::vector<double>(row, row + c.value_dim), kHalfUlp / 2))
          << kernel << ", token " << t << ", head " << head;
    }
}

bool is_for_tiles(const Case& c) {
  return c.key_dim == c.value_dim && (c.key_dim == 64 || c.key_dim == 128) && !c.latent;
}
std::array<uint32_t, 3> tiles_of(const Layer& s) {
  return {static_cast<uint32_t>(attention_tiles(s.tokens, s.c.heads, s.c.kv_heads)),
          static_cast<uint32_t>(s.c.kv_heads), 1};
}

// Both kernels for prompts.
template <typename Rows>
void run_prompt(Layer& s, const Case& c, const Rows& out, int stride) {
  ASSERT_NO_FATAL_FAILURE(
      run_and_check(s, c, "attention_prompt",
                    {static_cast<uint32_t>((s.tokens + 15) / 16), static_cast<uint32_t>(c.heads),
                     static_cast<uint32_t>(c.value_dim + 255) / 256},
                    out, stride));
  if (is_for_tiles(c))
    run_and_check(s, c, c.key_dim == 64 ? "attention_tiles_64" : "attention_tiles_128", tiles_of(s),
                  out, stride);
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
  run_prompt(s, c, out, stride);
}

class AttentionSource : public testing::TestWithParam<Case> {};

TEST_P(AttentionSource, AgreesWithDouble) {
  const Case& c = GetParam();
  Layer s(c);
  const int stride = c.heads * c.value_dim + 4;
  const auto out = s.fill(stride);
  s.args.out = KernelRunner::ptr(out);
  s.args.out_stride = stride;
  run_prompt(s, c, out, stride);
}

TEST(RopeKv, KeysAndValuesAlone) {
  const Case c{.name = "keys", .runs = {{0, 21}, {5, 2}}, .rotary = 0, .padding = 1};
  Layer s(c);
  s.args.heads = 0;
  s.args.q = {};
  s.runner.run("rope_kv", s.args, {static_cast<uint32_t>(s.tokens), 1, 1});
  ASSERT_NO_FATAL_FAILURE(s.check_cache());
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

TEST(AttentionTilesCost, ReadsKeysOnceForAGroup) {
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
  s.runner.run("attention_tiles_128", s.args, tiles_of(s));
  const auto& counters = s.runner.counters();
  const double pairs = 64 * 992.0 * c.heads;
  EXPECT_LT(static_cast<double>(counters.wmma - before.wmma), 1.05 * pairs / 256 * 16);
  const double instructions = static_cast<double>(counters.instructions() - before.instructions());
  // Some 0.8 where the context is long, and maxima are found early.
  EXPECT_LT(instructions / pairs, 1.6);
  // Stores of values meet in pairs.
  const auto conflicts = counters.lds_bank_conflicts - before.lds_bank_conflicts;
  EXPECT_LT(static_cast<double>(conflicts) / pairs, 0.04);
  // Keys and values once a workgroup, beside q and what comes out.
  const double lines = static_cast<double>(counters.gl2_reads - before.gl2_reads);
  const double rows = 4 * 1024.0 * 2 * c.key_dim * 2 + 64.0 * c.heads * c.key_dim * 4;
  EXPECT_LT(lines * 128, 1.3 * rows);
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
      {.name = "many_runs",
       .runs = {{70, 90}, {3, 1}, {511, 1}, {0, 40}, {64, 64}},
       .heads = 3,
       .kv_heads = 3,
       .page_tokens = 16,
       .padding = 20},
      {.name = "group_of_3", .runs = {{33, 100}}, .heads = 9, .kv_heads = 3, .padding = 28},
      {.name = "group_of_7",
       .runs = {{600, 33}},
       .heads = 14,
       .kv_heads = 2,
       .key_dim = 128,
       .value_dim = 128,
       .page_tokens = 8,
       .rotary = 128},
      {.name = "window_of_128",
       .runs = {{700, 70}, {20, 30}},
       .heads = 4,
       .kv_heads = 1,
       .key_dim = 128,
       .value_dim = 128,
       .window = 37,
       .rotary = 128,
       .sinks = true},
      {.name = "chunks", .runs = {{300, 21}, {5, 21}}, .window = 96, .chunked = true},
      {.name = "sinks", .runs = {{200, 21}}, .window = 128, .sinks = true},
      {.name = "yarn", .runs = {{90, 21}}, .magnitude = 1.35F},
      {.name = "norms_after", .runs = {{90, 21}}, .norms = true, .norms_after = true},
      {.name = "growing_queries",
       .runs = {{700, 21}},
       .rotary = 0,
       .norms = true,
       .position_scale = 0.1F,
       .position_length = 100,
       .position_offset = 1},
      {.name = "latent",
       .runs = {{130, 21}},
       .heads = 20,
       .kv_heads = 1,
       .key_dim = 576,
       .value_dim = 512,
       .rotary = 64,
       .latent = true},
      {.name = "gemma_4",
       .runs = {{130, 21}},
       .heads = 4,
       .kv_heads = 1,
       .key_dim = 512,
       .value_dim = 512,
       .rotary = 512,
       .norms = true,
       .value_norms = true},
  };
}
std::vector<Case> source_cases() {
  return {
      {.name = "one", .runs = {{0, 21}}, .kv_heads = 4, .rotary = 0, .padding = 3, .sources = {90}},
      {.name = "several",
       .runs = {{7, 1, 0}, {7, 1, 0}, {7, 1, 0}, {4, 9, 1}, {0, 1, 2}, {0, 14, 3}, {2, 1, 3}},
       .rotary = 0,
       .sources = {33, 1, 200, 16}},
      {.name = "tiny",
       .runs = {{0, 5, 0}, {0, 12, 1}},
       .kv_heads = 4,
       .key_dim = 16,
       .value_dim = 16,
       .page_tokens = 8,
       .rotary = 0,
       .sources = {17, 40}},
  };
}
INSTANTIATE_TEST_SUITE_P(Shapes, AttentionPrompt, testing::ValuesIn(prompt_cases()),
                         [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionSource, testing::ValuesIn(source_cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace outboard::devices::gpu::kernels
