// Qwen 2 and 2.5 (arXiv:2407.10671, 2412.15115): Llama's layer with biases on q, k and v.
// Qwen 3 and Qwen 3 MoE (arXiv:2505.09388): no biases, q and k normalised per head.
#include <fmt/format.h>

#include <cmath>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  const Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon");
  const std::string& architecture = keys.architecture();
  const bool head_norms = architecture != "qwen2";

  const int experts_used = read_experts_used(keys);
  Builder b(model, architecture);
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto name = [&](std::string_view part) { return fmt::format("blk.{}.{}", layer, part); };

    const ValueId n = rms_norm(b, "attention norm", x, name("attn_norm"), h.epsilon);
    ValueId q = b.linear("q", n, name("attn_q"));
    ValueId k = b.linear("k", n, name("attn_k"));
    const ValueId v = b.linear("v", n, name("attn_v"));
    if (head_norms) {
      q = rms_norm(b, "q norm", q, name("attn_q_norm"), h.epsilon);
      k = rms_norm(b, "k norm", k, name("attn_k_norm"), h.epsilon);
    }
    q = b.op("q rope", Rope{q, h.key_dim, h.rotary, h.rope_base, h.rope_scale, kNone, true});
    k = b.op("k rope", Rope{k, h.key_dim, h.rotary, h.rope_base, h.rope_scale, kNone, true});
    const StateId kv = b.kv_state(h.kv_heads, h.key_dim, h.value_dim);
    const float scale = 1.0F / std::sqrt(static_cast<float>(h.key_dim));
    const ValueId a = b.op("attention", Attention{q, k, v, kv, h.heads, h.window, scale, 0});
    x = b.op("attention residual", Add{x, b.linear("attention output", a, name("attn_output"))});

    const ValueId m = rms_norm(b, "feed-forward norm", x, name("ffn_norm"), h.epsilon);
    const ValueId f = feed_forward(b, m, layer, Function::kSilu, experts_used);
    x = b.op("feed-forward residual", Add{x, f});
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"qwen2", "qwen3", "qwen3moe"};

// --- Hugging Face's folders ---

// Layers from max_window_layers on have the window.
bool sees_everything(const formats::Json& config, const formats::Json& /*use_sliding_window*/) {
  if (!formats::json_bool(config, "use_sliding_window").value_or(false)) return true;
  if (formats::json_field(config, "layer_types") != nullptr) return true;  // it decides
  const auto layers = formats::json_int(config, "num_hidden_layers");
  const auto first = formats::json_int(config, "max_window_layers").value_or(28);
  return layers && first >= *layers;
}

constexpr formats::KnownField kFields[] = {
    {"hidden_act", R"(["silu", "swish"])"},
    {"use_mrope", "[false]"},
    // With use_sliding_window false there is no window.
    {"sliding_window"},
    {"max_window_layers"},
    {"use_sliding_window", {}, sees_everything},
    {"layer_types",
     {},
     [](const formats::Json& config, const formats::Json&) {
       return formats::all_layers_slide(config, false, "num_hidden_layers");
     }},
};

void write_config(formats::HfConfigWriter& w) { w.write_rope(w.write_sizes()); }

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "qwen2",
     .architecture = "qwen2",
     .write = write_config,
     .fields = kFields,
     .tensors = kHfTensors,
     .layer_tensors = kHfLayerTensors},
    {.model_type = "qwen3",
     .architecture = "qwen3",
     .write = write_config,
     .fields = kFields,
     .tensors = kHfTensors,
     .layer_tensors = kHfLayerTensors},
};

}  // namespace

constinit const Family families::qwen = {kArchitectures, build, kFolders};

}  // namespace outboard::models
