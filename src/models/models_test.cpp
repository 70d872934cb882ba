#include "models/models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "formats/hf_tensors.h"
#include "models/family.h"
#include "models/tiny_model.h"
#include "support/error.h"

namespace outboard::models {
namespace {

using ::testing::ElementsAre;
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

TEST(Models, OptionsThatAreNotImplementedAreNamedTogether) {
  formats::Model model = tiny_model("qwen2");
  model.metadata.set("qwen2.attention.clamp_kqv", 8.0F);
  model.metadata.set("qwen2.attn_logit_softcapping", 50.0F);
  model.metadata.set("qwen2.logit_scale", 1.0F);
  model.metadata.set("qwen2.attention.causal", false);
  model.metadata.set("qwen2.vocab_size", uint32_t{260});
  model.metadata.set("qwen2.gate", std::string("x"));
  std::vector<std::string> unheard;
  build_program(model, &unheard);
  EXPECT_THAT(unheard,
              ElementsAre("metadata qwen2.attention.clamp_kqv = 8 (0)",
                          "metadata qwen2.attn_logit_softcapping = 50 (0)",
                          "metadata qwen2.attention.causal = 0 (1)", "metadata qwen2.gate"));
  model.metadata.set("qwen2.rope.scaling.type", std::string("yarn"));
  EXPECT_THAT(error_of(model), HasSubstr("\"yarn\""));
}

TEST(Models, LogitsAreCapped) {
  formats::Model model = tiny_model("gemma3");
  model.metadata.set("gemma3.final_logit_softcapping", 30.0F);
  const program::Program p = build_program(model);
  const auto* cap = std::get_if<program::Softcap>(&p.ops.back().kind);
  ASSERT_NE(cap, nullptr);
  EXPECT_EQ(cap->cap, 30);
  EXPECT_EQ(p.logits, p.ops.back().out);
}

TEST(Models, Gemma3TakesOllamasNames) {
  formats::Model model = tiny_model("gemma3");
  formats::Model other;
  for (const auto& [key, value] : model.metadata.entries())
    if (!key.starts_with("gemma3.rope.freq_base")) other.metadata.set(key, value);
  for (const formats::Tensor& t : model.tensors()) other.add(t);
  EXPECT_THAT(error_of(other), HasSubstr("gemma3.rope.freq_base"));
  other.metadata.set("gemma3.rope.global.freq_base", 1e6F);
  other.metadata.set("gemma3.rope.local.freq_base", 1e4F);
  other.metadata.set("gemma3.attention.sliding_window_pattern",
                     formats::MetadataArray{std::vector<bool>{true, false, true, false}});
  std::vector<std::string> unheard;
  const program::Program p = build_program(other, &unheard);
  EXPECT_TRUE(unheard.empty());
  std::vector<float> bases;
  for (const program::Op& op : p.ops)
    if (const auto* rope = std::get_if<program::Rope>(&op.kind)) bases.push_back(rope->base);
  EXPECT_THAT(bases, ElementsAre(1e4F, 1e4F, 1e6F, 1e6F));
  other.metadata.set("gemma3.attention.sliding_window_pattern",
                     formats::MetadataArray{std::vector<bool>{true, false, false}});
  EXPECT_THAT(error_of(other), HasSubstr("layer 2"));
}

TEST(Models, Gemma3AlternatesWindows) {
  formats::Model model = tiny_model("gemma3");
  const auto windows = [&] {
    std::vector<int> found;
    for (const program::Op& op : build_program(model).ops)
      if (const auto* a = std::get_if<program::Attention>(&op.kind)) found.push_back(a->window);
    return found;
  };
  EXPECT_THAT(windows(), ElementsAre(40, 40));  // of six layers the last sees everything
  model.metadata.set("gemma3.attention.sliding_window_pattern", uint32_t{2});
  EXPECT_THAT(windows(), ElementsAre(40, 0));
}

TEST(HfTensorNames, UnknownNamesAreRefused) {
  for (const char* name :
       {"", "x", "model.layers", "model.layers.0", "model.layers.x.mlp.up_proj.weight",
        "model.layers.99999999999.mlp.up_proj.weight", "model.norm.other",
        "model.layers.0.mlp.odd_proj.weight"}) {
    EXPECT_THROW(formats::gguf_tensor_name(families::llama.folders[0], name), Error) << name;
  }
  EXPECT_EQ(
      formats::gguf_tensor_name(families::llama.folders[0], "model.layers.12.mlp.up_proj.weight"),
      "blk.12.ffn_up.weight");
  EXPECT_EQ(
      formats::gguf_tensor_name(families::gemma3.folders[0], "language_model.model.norm.weight"),
      "output_norm.weight");
  EXPECT_EQ(formats::gguf_tensor_name(families::gemma3.folders[0], "vision_tower.x.weight"),
            std::nullopt);
  EXPECT_EQ(formats::gguf_tensor_name(families::gpt2.folders[0], "transformer.h.3.attn.bias"),
            std::nullopt);
}

}  // namespace
}  // namespace outboard::models
