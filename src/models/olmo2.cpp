// Norms after attention and feed-forward layer, none before: OLMo 2 (arXiv:2501.00656), which
// normalises q and k over all heads at once, OLMo 3 (arXiv:2512.13961), whose layers with a window
// are not stretched by YaRN, and EXAONE 4 (arXiv:2507.11407), which normalises per head and whose
// layers without a window know no positions.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h =
      read_hyperparameters(keys, "attention.layer_norm_rms_epsilon", Positions::kScaledRotary);
  h.rope.neox = true;
  const bool exaone = keys.architecture() == "exaone4";
  if (exaone && h.layers == 64 && !keys.contains("attention.sliding_window")) h.window = 4096;
  const std::vector<bool> sliding = sliding_layers(keys, h, 4);
  Rope local = h.rope;
  local.base = keys.positive_or("rope.freq_base_swa", local.base);
  if (!exaone) {
    local.scale = local.magnitude = 1;
    local.extrapolation = 0;
  }
  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  if (exaone) rope_factors(b, h);
  if (exaone) local.factors = h.rope.factors;
  AttentionLayer a(h);
  a.norms = exaone ? HeadNorms::kHeads : HeadNorms::kRow;
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto norm = [&](std::string_view what, ValueId value, std::string_view tensor) {
      return rms_norm(b, what, value, layer_name(layer, tensor), h.epsilon);
    };
    const bool slides = sliding[static_cast<size_t>(layer)];
    a.window = slides ? h.window : 0;
    a.rope = slides ? local : h.rope;
    if (exaone && h.window > 0 && !slides) a.rope.reset();
    const ValueId out = self_attention(b, x, layer, a);
    x = residual(b, "attention residual", x,
                 norm("after attention norm", out, "post_attention_norm"));
    const ValueId f = feed_forward(b, x, layer, Function::kSilu);
    x = residual(b, "feed-forward residual", x,
                 norm("after feed-forward norm", f, "post_ffw_norm"));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"olmo2", "exaone4"};

// --- Hugging Face's folders ---

constexpr formats::KnownField kFields[] = {{"hidden_act", R"(["silu"])"}};
constexpr formats::KnownField kWindowFields[] = {
    {"hidden_act", R"(["silu"])"},
    {"sliding_window"},
    {"layer_types", {}, formats::lists_layers},
};

// EXAONE 4 has a pattern, too, as "LLLG" or a number; layer_types decides.
bool is_usual_pattern(const formats::Json& config, const formats::Json& pattern) {
  return formats::json_field(config, "layer_types") != nullptr || pattern == 4 || pattern == "LLLG";
}
constexpr formats::KnownField kExaoneFields[] = {
    {"hidden_act", R"(["silu"])"},
    {"sliding_window"},
    {"sliding_window_pattern", {}, is_usual_pattern},
    {"layer_types", {}, formats::lists_layers},
};

constexpr formats::HfRename kLayerTensors[] = {
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"post_attention_layernorm", "post_attention_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
};

void write_windowed(formats::HfConfigWriter& w) {
  w.write_rope(w.write_sizes());
  w.write_windows(4096, 4);
}

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "olmo2",
     .architecture = "olmo2",
     .write = [](formats::HfConfigWriter& w) { w.write_rope(w.write_sizes()); },
     .defaults = {.epsilon = 1e-5},
     .fields = kFields,
     .tensors = kHfTensors,
     .layer_tensors = kLayerTensors},
    {.model_type = "olmo3",
     .architecture = "olmo2",
     .write = write_windowed,
     .defaults = {.epsilon = 1e-5},
     .fields = kWindowFields,
     .tensors = kHfTensors,
     .layer_tensors = kLayerTensors},
    {.model_type = "exaone4",
     .architecture = "exaone4",
     .write = write_windowed,
     .defaults = {.epsilon = 1e-5},
     .fields = kExaoneFields,
     .tensors = kHfTensors,
     .layer_tensors = kLayerTensors},
};

}  // namespace

constinit const Family families::olmo2 = {kArchitectures, build, kFolders};

}  // namespace outboard::models
