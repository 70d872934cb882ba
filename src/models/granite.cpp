// Granite 3 and 4 (IBM), dense and mixtures: Llama's layer with four factors, of the embedding, the
// residual, the scores and the logits (arXiv:2408.13359's power scheduler models). Granite 4's
// hybrids have Mamba-2 in most layers instead of attention.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  const bool hybrid = keys.architecture() == "granitehybrid";
  Hyperparameters h =
      read_hyperparameters(keys, "attention.layer_norm_rms_epsilon", Positions::kScaledRotary,
                           hybrid ? Heads::kSomeLayers : Heads::kEqual);
  h.rope.neox = model.metadata.get_bool("outboard.rope.neox", false);
  const ExpertChoice experts = read_experts(keys);
  const auto factor = [&](std::string_view name) {
    const float value = keys.number_or(name, 0);
    return value == 0 ? 1 : value;  // 0 stands for none
  };
  const float embedding_scale = factor("embedding_scale");
  const float residual_scale = factor("residual_scale");
  const float logit_scale = keys.number("logit_scale");

  const Recurrence recurrence = hybrid ? read_recurrence(keys) : Recurrence{};
  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight"), embedding_scale});
  rope_factors(b, h);
  AttentionLayer a(h);
  // How this family says that it knows no positions.
  if (!keys.flag_or("rope.scaling.finetuned", true)) a.rope.reset();
  a.scale = keys.number_or("attention.scale", 0);
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    ValueId n = rms_norm(b, "attention norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    a.kv_heads = h.layer_kv_heads[static_cast<size_t>(layer)];
    n = a.kv_heads > 0 ? self_attention(b, n, layer, a)
                       : mamba2(b, n, layer, recurrence, h.epsilon);
    x = residual(b, "attention residual", x, n, residual_scale);
    n = rms_norm(b, "feed-forward norm", x, layer_name(layer, "ffn_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x, mixture(b, n, layer, Function::kSilu, experts),
                 residual_scale);
  }
  return b.finish(rms_logits(b, x, h, logit_scale == 0 ? 1 : 1 / logit_scale), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"granite", "granitemoe", "granitehybrid"};

// --- Hugging Face's folders ---

void write_config(formats::HfConfigWriter& w) {
  const int64_t turned = w.write_sizes();
  w.set("rope.dimension_count", turned);
  // As with Llama's: the folder's q and k rows are made for rotating halves.
  w.set_any("outboard.rope.neox", true);
  w.write_rope(turned);
  const auto factor = [&](const char* key, const char* field) {
    w.set(key, formats::json_number(w.config(), field).value_or(1));
  };
  factor("embedding_scale", "embedding_multiplier");
  factor("residual_scale", "residual_multiplier");
  factor("attention.scale", "attention_multiplier");
  factor("logit_scale", "logits_scaling");
}

void write_mixture(formats::HfConfigWriter& w) {
  write_config(w);
  w.set("expert_count", w.size("num_local_experts"));
  w.set("expert_used_count", w.size("num_experts_per_tok"));
  if (const auto shared = w.optional_size("shared_intermediate_size"))
    w.set("expert_shared_feed_forward_length", *shared);
}

constexpr formats::KnownField kFields[] = {
    {"hidden_act", R"(["silu"])"}, {"embedding_multiplier"}, {"residual_multiplier"},
    {"attention_multiplier"},      {"logits_scaling"},
};
constexpr formats::KnownField kMixtureFields[] = {
    {"hidden_act", R"(["silu"])"},
    {"embedding_multiplier"},
    {"residual_multiplier"},
    {"attention_multiplier"},
    {"logits_scaling"},
    {"num_local_experts"},
    {"num_experts_per_tok"},
    {"shared_intermediate_size"},
    // Training's.
    {"output_router_logits"},
    {"router_aux_loss_coef"},
};

// The router softmaxes over the chosen alone, which is what normalising gives.
constexpr formats::HfRename kMixtureLayerTensors[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "ffn_norm"},
    {"block_sparse_moe.router.layer", "ffn_gate_inp"},
    {"block_sparse_moe.input_linear", "ffn_gate_up_exps"},
    {"block_sparse_moe.output_linear", "ffn_down_exps"},
    {"shared_mlp.input_linear", "ffn_gate_shexp"},
    {"shared_mlp.output_linear", "ffn_down_shexp"},
};
constexpr formats::HfRename kHalves[] = {{"ffn_gate_shexp", "ffn_up_shexp"}};

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "granite",
     .architecture = "granite",
     .write = write_config,
     .fields = kFields,
     .tensors = kHfTensors,
     .layer_tensors = kHfLayerTensors},
    {.model_type = "granitemoe",
     .architecture = "granitemoe",
     .write = write_mixture,
     .fields = kMixtureFields,
     .tensors = kHfTensors,
     .layer_tensors = kMixtureLayerTensors},
    {.model_type = "granitemoeshared",
     .architecture = "granitemoe",
     .write = write_mixture,
     .fields = kMixtureFields,
     .tensors = kHfTensors,
     .layer_tensors = kMixtureLayerTensors,
     .halved_layer_tensors = kHalves},
};

}  // namespace

constinit const Family families::granite = {kArchitectures, build, kFolders};

}  // namespace outboard::models
