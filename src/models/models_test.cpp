#include "models/models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
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
  size_t states = 2;
  // The source's shared by the encoder's layers, two for cross attention, two of the decoder.
  if (GetParam() == "marian") states = 5;
  for (const char* name : {"qwen35", "qwen35moe", "qwen3next", "granitehybrid", "lfm2", "lfm2moe"})
    if (GetParam() == name) states = 1;  // the other layer keeps its state in a slot
  for (const char* name : {"mamba2", "nemotron_h", "nemotron_h_moe"})
    if (GetParam() == name) states = 0;
  EXPECT_EQ(program::without_drafter(p).states.size(), states);
  EXPECT_EQ(p.states.size(), states + (p.drafter_ops > 0 ? 1 : 0));
  EXPECT_EQ(p.slot_states.empty(), states >= 2 && GetParam() != "falcon-h1");
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
    // Without this norm StableLM's parts stand side by side; q, k and v may come in one or apart.
    const bool either_way = missing.name.ends_with("ffn_norm.weight") && GetParam() == "stablelm";
    // Of Gemma 4, values may be the keys.
    const bool keys = missing.name.ends_with("attn_v.weight") && GetParam() == "gemma4";
    const bool apart = missing.name.ends_with("attn_qkv.weight") && GetParam() == "phi3";
    // A bias of a convolution is optional, one of its time steps is not.
    const bool bias = missing.name.ends_with(".bias") && !missing.name.ends_with("ssm_dt.bias");
    // A file may say that it has a head for further tokens and not have it; its last norm may be
    // the model's.
    const bool head = missing.name.ends_with("nextn.eh_proj.weight") ||
                      missing.name.ends_with("nextn.shared_head_norm.weight");
    const bool optional =
        bias || missing.name == "output.weight" || either_way || keys || apart || head;
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
  EXPECT_THAT(error_of(model), HasSubstr("cohere2, command-r, deepseek2, "));
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
  model.metadata.set("qwen2.rope.scaling.type", std::string("dynamic"));
  EXPECT_THAT(error_of(model), HasSubstr("\"dynamic\""));
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
                     formats::MetadataArray{std::vector<bool>{true}});
  EXPECT_THAT(error_of(other), HasSubstr("1 layers, expected 2"));
}

// Frequencies as transformers' modeling_rope_utils.py gives them for gpt-oss' numbers (64 elements,
// base 150,000, 32 times 4,096 positions, ends of the ramp rounded).
TEST(Models, YarnMixesFrequencies) {
  formats::Model model = tiny_model("qwen2");
  model.metadata.set("qwen2.rope.scaling.type", std::string("yarn"));
  model.metadata.set("qwen2.rope.scaling.factor", 32.0F);
  model.metadata.set("qwen2.rope.scaling.original_context_length", uint32_t{4096});
  const program::Program p = build_program(model);
  program::Rope rope{};
  for (const program::Op& op : p.ops)
    if (const auto* r = std::get_if<program::Rope>(&op.kind)) rope = *r;
  EXPECT_FLOAT_EQ(rope.magnitude, 1.3465736F);  // 1 + ln(32) / 10
  rope.rotary = 64;
  rope.base = 150000;
  const std::vector<double> frequencies = program::rope_frequencies(rope, {});
  // The ramp goes from pair 8 to pair 18.
  for (const int pair : {0, 7, 8}) {
    EXPECT_DOUBLE_EQ(frequencies[static_cast<size_t>(pair)], std::pow(150000.0, -pair / 32.0));
  }
  EXPECT_DOUBLE_EQ(frequencies[13], std::pow(150000.0, -13 / 32.0) * (0.5 + 0.5 / 32));
  for (const int pair : {18, 31}) {
    EXPECT_DOUBLE_EQ(frequencies[static_cast<size_t>(pair)], std::pow(150000.0, -pair / 32.0) / 32);
  }
}

// Layers that only predict tokens further on are left out, and not complained about.
TEST(Models, LayersThatPredictFurtherAreLeftOut) {
  formats::Model model = tiny_model("glm4");
  model.metadata.set("glm4.nextn_predict_layers", uint32_t{1});
  std::vector<std::string> unheard;
  const program::Program p = build_program(model, &unheard);
  EXPECT_TRUE(unheard.empty());
  EXPECT_EQ(p.states.size(), 1u);
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
        "model.layers.0.mlp.odd_proj.weight", "model.layers.0.mlp.up_proj"}) {
    EXPECT_THROW(formats::gguf_tensor_name(families::llama.folders[0], name), Error) << name;
  }
  const auto name_of = [](const formats::HfFamily& family, std::string_view name) {
    const auto found = formats::gguf_tensor_name(family, name);
    return found ? found->name : std::string("not needed");
  };
  EXPECT_EQ(name_of(families::llama.folders[0], "model.layers.12.mlp.up_proj.weight"),
            "blk.12.ffn_up.weight");
  EXPECT_EQ(name_of(families::gemma.folders[1], "language_model.model.norm.weight"),
            "output_norm.weight");
  EXPECT_EQ(name_of(families::gemma.folders[1], "vision_tower.x.weight"), "not needed");
  EXPECT_EQ(name_of(families::gpt2.folders[0], "transformer.h.3.attn.bias"), "not needed");
  const auto row = formats::gguf_tensor_name(families::stablelm.folders[0],
                                             "model.layers.3.self_attn.q_layernorm.norms.7.weight");
  ASSERT_TRUE(row);
  EXPECT_EQ(row->name, "blk.3.attn_q_norm.weight");
  EXPECT_EQ(row->part, size_t{7});
}

}  // namespace
}  // namespace outboard::models
