// Qwen 2 and 2.5 (arXiv:2407.10671, 2412.15115): Llama's layer with biases on q, k and v; of Qwen 2
// MoE, with a shared expert. Qwen 3 and Qwen 3 MoE (arXiv:2505.09388): no biases, q and k
// normalised per head.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon");
  const std::string& architecture = keys.architecture();
  h.rope.neox = true;
  const ExpertChoice experts = read_experts(keys, {.normalise = architecture != "qwen2moe",
                                                   .shared_weighed = architecture == "qwen2moe"});
  Builder b(model, architecture);
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  a.window = h.window;
  a.norms = architecture.starts_with("qwen2") ? HeadNorms::kNone : HeadNorms::kHeads;
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    ValueId n = rms_norm(b, "attention norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    n = rms_norm(b, "feed-forward norm", x, layer_name(layer, "ffn_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x, mixture(b, n, layer, Function::kSilu, experts));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"qwen2", "qwen2moe", "qwen3", "qwen3moe"};

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

// The mixtures. In every layer, as published ones have them.
void write_mixture(formats::HfConfigWriter& w) {
  write_config(w);
  w.set("expert_count", w.size("num_experts"));
  w.set("expert_used_count", w.size("num_experts_per_tok"));
  w.set("expert_feed_forward_length", w.size("moe_intermediate_size"));
  if (const auto shared = w.optional_size("shared_expert_intermediate_size"))
    w.set("expert_shared_feed_forward_length", *shared);
  w.set_flag("expert_weights_norm",
             formats::json_bool(w.config(), "norm_topk_prob").value_or(false));
}

constexpr formats::KnownField kMixtureFields[] = {
    {"hidden_act", R"(["silu", "swish"])"},
    {"use_mrope", "[false]"},
    {"sliding_window"},
    {"max_window_layers"},
    {"use_sliding_window", {}, sees_everything},
    {"layer_types",
     {},
     [](const formats::Json& config, const formats::Json&) {
       return formats::all_layers_slide(config, false, "num_hidden_layers");
     }},
    {"num_experts"},
    {"num_experts_per_tok"},
    {"moe_intermediate_size"},
    {"shared_expert_intermediate_size"},
    {"norm_topk_prob"},
    {"decoder_sparse_step", "[1]"},
    {"mlp_only_layers", "[[]]"},
    {"qkv_bias"},  // the tensors tell
    // Training's.
    {"output_router_logits"},
    {"router_aux_loss_coef"},
};

constexpr formats::HfRename kMixtureLayerTensors[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate", "ffn_gate_inp"},
    {"mlp.experts.*.gate_proj", "ffn_gate_exps"},
    {"mlp.experts.*.up_proj", "ffn_up_exps"},
    {"mlp.experts.*.down_proj", "ffn_down_exps"},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
};

constexpr formats::HfFamily mixture_folder(std::string_view model_type,
                                           std::string_view architecture) {
  return {.model_type = model_type,
          .architecture = architecture,
          .write = write_mixture,
          .fields = kMixtureFields,
          .tensors = kHfTensors,
          .layer_tensors = kMixtureLayerTensors};
}

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
    mixture_folder("qwen2_moe", "qwen2moe"),
    mixture_folder("qwen3_moe", "qwen3moe"),
};

}  // namespace

constinit const Family families::qwen = {kArchitectures, build, kFolders};

}  // namespace outboard::models
