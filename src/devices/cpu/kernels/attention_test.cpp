// Every table's attention against a plain softmax in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "devices/cpu/kernels/kernels.h"
#include "formats/quantize.h"

namespace outboard::devices::cpu {
namespace {

struct Case {
  const char* name;
  int tokens;
  int group;
  int key_dim;
  int value_dim;
  int first_position;
  int window;
  float softcap;
  bool causal;
  int page_tokens;
  bool chunked = false;
  bool sinks = false;
  bool values_in_keys = false;

  int first_seen(int position) const {
    if (!causal || window == 0) return 0;
    return chunked ? position / window * window : std::max(0, position + 1 - window);
  }
};

const Case kCases[] = {
    {"one_token", 1, 3, 64, 64, 300, 0, 0, true, 16},
    {"first_token", 1, 3, 64, 64, 0, 0, 0, true, 16},
    {"prompt", 150, 3, 64, 64, 0, 0, 0, true, 16},
    {"later_prompt", 70, 2, 64, 64, 517, 0, 0, true, 32},
    {"one_head", 33, 1, 128, 128, 5, 0, 0, true, 64},
    {"odd_dims", 21, 5, 40, 24, 90, 0, 0, true, 7},
    {"odd_dims_one_token", 1, 7, 40, 24, 90, 0, 0, true, 7},
    {"wide", 9, 4, 256, 256, 200, 0, 0, true, 16},
    {"window", 140, 2, 64, 64, 100, 48, 0, true, 16},
    {"window_one_token", 1, 4, 64, 64, 1000, 500, 0, true, 16},
    {"softcap", 40, 2, 64, 64, 64, 0, 5.0F, true, 16},
    {"all_positions", 37, 2, 64, 64, 0, 0, 0, false, 16},
    {"beams", 6, 1, 64, 64, 20, 0, 0, false, 16},
    {"beams_of_groups", 4, 3, 40, 24, 70, 0, 0, false, 16},
    {"many_heads", 3, 71, 32, 32, 10, 0, 0, true, 16},
    {"long_context", 2, 3, 64, 64, 5000, 0, 0, true, 256},
    {"chunks", 140, 2, 64, 64, 100, 48, 0, true, 16, true},
    {"chunk_one_token", 1, 4, 64, 64, 1000, 300, 0, true, 16, true},
    {"sinks", 130, 4, 64, 64, 30, 0, 0, true, 16, false, true},
    {"sinks_and_window", 1, 8, 64, 64, 700, 128, 0, true, 16, false, true},
    {"latent", 70, 20, 576, 512, 40, 0, 0, true, 16, false, false, true},
    {"latent_one_token", 1, 16, 72, 64, 300, 0, 0, true, 32, false, false, true},
};

class AttentionTest : public testing::TestWithParam<std::tuple<const Kernels*, Case>> {};

TEST_P(AttentionTest, AgreesWithDoubleSoftmax) {
  const Kernels& kernels = *std::get<0>(GetParam());
  const Case& c = std::get<1>(GetParam());
  std::mt19937 random(99);
  std::normal_distribution<float> normal;
  const int context = c.first_position + c.tokens;
  const int page_count = (context + c.page_tokens - 1) / c.page_tokens;

  // Pages in any order; those before every window are gone.
  std::vector<int32_t> pages(static_cast<size_t>(page_count));
  std::iota(pages.begin(), pages.end(), 0);
  std::shuffle(pages.begin(), pages.end(), random);
  const int64_t key_page = int64_t{c.page_tokens} * c.key_dim + 24;
  const int64_t value_page = c.values_in_keys ? key_page : int64_t{c.page_tokens} * c.value_dim + 8;
  const int64_t value_row = c.values_in_keys ? c.key_dim : c.value_dim;
  std::vector<uint16_t> keys(static_cast<size_t>(page_count * key_page));
  std::vector<uint16_t> values(static_cast<size_t>(page_count * value_page));
  for (uint16_t& key : keys) key = formats::float_to_half(normal(random));
  for (uint16_t& value : values) value = formats::float_to_half(normal(random));
  if (c.values_in_keys) values = keys;
  std::vector<float> sinks(static_cast<size_t>(c.group));
  for (float& sink : sinks) sink = 3 * normal(random);
  const std::vector<int32_t> true_pages = pages;
  if (c.window > 0) {
    for (int p = 0; p < c.first_seen(c.first_position) / c.page_tokens; ++p) {
      pages[static_cast<size_t>(p)] = 1 << 30;  // reading it would fault
    }
  }

  const int64_t q_stride = int64_t{c.group} * c.key_dim + 8;
  const int64_t out_stride = int64_t{c.group} * c.value_dim + 16;
  std::vector<float> q(static_cast<size_t>(c.tokens * q_stride));
  for (float& x : q) x = 2 * normal(random);
  std::vector<float> out(static_cast<size_t>(c.tokens * out_stride), 123.0F);

  AttentionRun run;
  run.q = q.data();
  run.out = out.data();
  run.q_stride = q_stride;
  run.out_stride = out_stride;
  run.tokens = c.tokens;
  run.group = c.group;
  run.key_dim = c.key_dim;
  run.value_dim = c.value_dim;
  run.first_position = c.first_position;
  run.window = c.window;
  run.scale = 1.0F / std::sqrt(static_cast<float>(c.key_dim));
  run.softcap = c.softcap;
  run.causal = c.causal;
  run.context = context;
  run.keys = keys.data();
  run.values = values.data();
  run.pages = pages.data();
  run.key_page_stride = key_page;
  run.value_page_stride = value_page;
  run.value_row = value_row;
  run.page_tokens = c.page_tokens;
  run.chunked = c.chunked;
  run.sinks = c.sinks ? sinks.data() : nullptr;
  std::vector<std::byte> scratch(kernels.attention_scratch_bytes(c.group, c.key_dim, c.value_dim) +
                                 64);
  const auto address = reinterpret_cast<uintptr_t>(scratch.data());
  kernels.attention(run, scratch.data() + (64 - address % 64) % 64);

  // The same numbers as float32 give the same bits.
  const auto widened = [](const std::vector<uint16_t>& halves) {
    std::vector<float> floats;
    for (const uint16_t half : halves) floats.push_back(formats::half_to_float(half));
    return floats;
  };
  const std::vector<float> float_keys = widened(keys);
  const std::vector<float> float_values = widened(values);
  std::vector<float> float_out(out.size(), 123.0F);
  run.keys = float_keys.data();
  run.values = float_values.data();
  run.float_kv = true;
  run.out = float_out.data();
  kernels.attention(run, scratch.data() + (64 - address % 64) % 64);
  EXPECT_EQ(float_out, out);

  for (int t = 0; t < c.tokens; ++t) {
    const int end = c.causal ? c.first_position + t + 1 : context;
    const int begin = c.first_seen(end - 1);
    for (int h = 0; h < c.group; ++h) {
      std::vector<double> weights;
      for (int p = begin; p < end; ++p) {
        const uint16_t* key = keys.data() +
                              true_pages[static_cast<size_t>(p / c.page_tokens)] * key_page +
                              (p % c.page_tokens) * c.key_dim;
        double score = 0;
        for (int d = 0; d < c.key_dim; ++d) {
          score += static_cast<double>(q[static_cast<size_t>(t * q_stride + h * c.key_dim + d)]) *
                   formats::half_to_float(key[d]);
        }
        score *= run.scale;
        if (c.softcap > 0) score = c.softcap * std::tanh(score / c.softcap);
        weights.push_back(score);
      }
      double top = *std::max_element(weights.begin(), weights.end());
      double total = 0;
      if (c.sinks) {
        const double sink = sinks[static_cast<size_t>(h)];
        top = std::max(top, sink);
        total = std::exp(sink - top);
      }
      for (double& weight : weights) total += weight = std::exp(weight - top);
      for (int d = 0; d < c.value_dim; ++d) {
        double expected = 0;
        for (int p = begin; p < end; ++p) {
          const uint16_t* value = values.data() +
                                  true_pages[static_cast<size_t>(p / c.page_tokens)] * value_page +
                                  (p % c.page_tokens) * value_row;
          expected +=
              weights[static_cast<size_t>(p - begin)] / total * formats::half_to_float(value[d]);
        }
        ASSERT_NEAR(out[static_cast<size_t>(t * out_stride + h * c.value_dim + d)], expected,
                    c.key_dim > 256 ? 8e-6 : 4e-6)
            << "token " << t << ", head " << h << ", element " << d;
      }
    }
    for (int64_t i = c.group * c.value_dim; i < out_stride; ++i) {
      ASSERT_EQ(out[static_cast<size_t>(t * out_stride + i)], 123.0F) << "wrote past the heads";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, AttentionTest,
                         testing::Combine(testing::ValuesIn(available_kernels()),
                                          testing::ValuesIn(kCases)),
                         [](const auto& row) {
                           return std::string(std::get<0>(row.param)->name) + "_" +
                                  std::get<1>(row.param).name;
                         });

}  // namespace
}  // namespace outboard::devices::cpu
