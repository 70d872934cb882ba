#include "models/models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "models/tiny_model.h"
#include "support/error.h"

namespace outboard::models {
namespace {

using ::testing::HasSubstr;

std::string error_of(const formats::Model& model) {
  try {
    build_program(model);
  } catch (const Error& e) {
    return e.message() + " / " + e.hint();
  }
  return "no error";
}

class EveryFamily : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Models, EveryFamily, ::testing::ValuesIn(supported_architectures()));

TEST_P(EveryFamily, BuildsAVerifiedProgram) {
  const program::Program p = build_program(tiny_model(GetParam()));
  EXPECT_EQ(p.vocabulary, 260);
  EXPECT_EQ(p.context_length, 512);
  // Marian: the source's shared by the encoder's layers, two for cross attention, two of the
  // decoder.
  EXPECT_EQ(p.states.size(), GetParam() == "marian" ? 5u : 2u);
}

TEST_P(EveryFamily, UsesEveryTensor) {
  const formats::Model model = tiny_model(GetParam());
  const program::Program p = build_program(model);
  EXPECT_EQ(p.weights.size(), model.tensors().size());
}

// Each tensor left out in turn: refused by name, or truly optional (a bias).
TEST_P(EveryFamily, NamesAMissingTensor) {
  const formats::Model whole = tiny_model(GetParam());
  for (const formats::Tensor& missing : whole.tensors()) {
    formats::Model model;
    model.metadata = whole.metadata;
    for (const formats::Tensor& t : whole.tensors())
      if (t.name != missing.name) model.add(t);
    const std::string message = error_of(model);
    const bool optional = missing.name.ends_with(".bias") || missing.name == "output.weight";
    if (!optional) {
      EXPECT_THAT(message, HasSubstr(missing.name));
    }
  }
}

// Each matrix with a row too many: refused, naming a tensor.
TEST_P(EveryFamily, RefusesWrongShapes) {
  const formats::Model whole = tiny_model(GetParam());
  for (size_t wrong = 0; wrong < whole.tensors().size(); ++wrong) {
    formats::Model model;
    model.metadata = whole.metadata;
    for (size_t i = 0; i < whole.tensors().size(); ++i) {
      formats::Tensor t = whole.tensors()[i];
      if (i == wrong) ++t.shape.back();
      model.add(t);
    }
    EXPECT_NE(error_of(model), "no error") << whole.tensors()[wrong].name;
  }
}

TEST(Models, UnknownArchitectureListsThoseSupported) {
  formats::Model model = tiny_model("llama");
  model.metadata.set("general.architecture", std::string("mamba"));
  EXPECT_THAT(error_of(model), HasSubstr("\"mamba\" is not supported"));
  EXPECT_THAT(error_of(model), HasSubstr("gemma3, gpt2, llama, marian, qwen2, qwen3, qwen3moe"));
}

TEST(Models, HostileNumbersAreRefusedByKey) {
  const std::pair<const char*, formats::MetadataValue> cases[] = {
      {"llama.block_count", uint32_t{0}},
      {"llama.block_count", uint32_t{4000000000U}},
      {"llama.block_count", std::string("two")},
      {"llama.embedding_length", uint64_t{1} << 60},
      {"llama.attention.head_count", uint32_t{0}},
      {"llama.attention.head_count", int32_t{-4}},
      {"llama.attention.head_count_kv", uint32_t{0}},
      {"llama.attention.head_count_kv", uint32_t{3}},
      {"llama.attention.layer_norm_rms_epsilon", -1.0F},
      {"llama.rope.freq_base", 0.0F},
      {"llama.rope.dimension_count", uint32_t{17}},
      {"llama.rope.dimension_count", uint32_t{1000}},
      {"llama.context_length", uint32_t{0}},
      {"llama.attention.key_length", uint32_t{15}},
  };
  for (const auto& [key, value] : cases) {
    formats::Model model = tiny_model("llama");
    model.metadata.set(key, value);
    EXPECT_NE(error_of(model), "no error") << key;
  }
}

TEST(Models, OptionsThatAreNotImplementedAreRefusedTogether) {
  formats::Model model = tiny_model("qwen2");
  model.metadata.set("qwen2.rope.scaling.type", std::string("yarn"));
  model.metadata.set("qwen2.final_logit_softcapping", 30.0F);
  const std::string message = error_of(model);
  EXPECT_THAT(message, HasSubstr("yarn"));
  EXPECT_THAT(message, HasSubstr("final_logit_softcapping = 30"));
}

TEST(Models, Gemma3AlternatesWindows) {
  const program::Program p = build_program(tiny_model("gemma3"));
  for (const program::Op& op : p.ops)
    if (const auto* a = std::get_if<program::Attention>(&op.kind)) {
      EXPECT_EQ(a->window, 40);
    }
}

}  // namespace
}  // namespace outboard::models
