// Granite 3 and 4 (IBM), dense and mixtures: Llama's layer with four factors, of the embedding, the
// residual, the scores and the logits (arXiv:2408.13359's power scheduler models). Granite 4's
// hybrids have Mamba-2 in most layers instead of attention.
#include <fmt/format.h>

#include <algorithm>

#include "models/family.h"
#include "support/error.h"

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

// The hybrids: kinds of layers by both of their names.
std::vector<bool> attending_layers(const formats::HfConfigWriter& w) {
  const formats::Json* types = formats::json_field(w.config(), "layer_types");
  if (types == nullptr) types = formats::json_field(w.config(), "layers_block_type");
  if (types == nullptr || !types->is_array() ||
      static_cast<int64_t>(types->size()) != w.size("num_hidden_layers"))
    fail("layer_types: expected a list of num_hidden_layers names");
  std::vector<bool> attends;
  for (const formats::Json& type : *types) {
    const std::string name = type.is_string() ? type.get<std::string>() : type.dump();
    attends.push_back(name == "attention" || name == "full_attention");
    if (!attends.back() && name != "mamba" && name != "linear_attention")
      fail("layer_types: found {}, expected \"mamba\" or \"attention\"", name);
  }
  return attends;
}

void write_hybrid(formats::HfConfigWriter& w) {
  write_config(w);
  const formats::Json& config = w.config();
  std::vector<int64_t> kv_heads;
  const int64_t heads = w.size("num_attention_heads");
  for (const bool attends : attending_layers(w))
    kv_heads.push_back(attends ? w.optional_size("num_key_value_heads").value_or(heads) : 0);
  w.set("attention.head_count_kv", kv_heads);
  const bool turns = formats::json_string(config, "position_embedding_type") == "rope";
  w.set_flag("rope.scaling.finetuned", turns);
  const int64_t inner = w.optional_size("mamba_expand").value_or(2) * w.size("hidden_size");
  w.set("ssm.inner_size", inner);
  w.set("ssm.time_step_rank", w.optional_size("mamba_n_heads").value_or(128));
  w.set("ssm.group_count", w.optional_size("mamba_n_groups").value_or(1));
  w.set("ssm.state_size", w.optional_size("mamba_d_state").value_or(256));
  w.set("ssm.conv_kernel", w.optional_size("mamba_d_conv").value_or(4));
}

// Granite 4.0 Micro: a hybrid's folder whose layers all attend is the dense family's.
bool attends_only(const formats::Json& config) {
  const formats::Json* types = formats::json_field(config, "layer_types");
  return formats::json_int(config, "num_local_experts").value_or(8) == 0 && types != nullptr &&
         types->is_array() && std::ranges::all_of(*types, [](const formats::Json& type) {
           return type.is_string() && type.get<std::string>() == "attention";
         });
}

void write_attending(formats::HfConfigWriter& w) {
  write_config(w);
  w.set_flag("rope.scaling.finetuned",
             formats::json_string(w.config(), "position_embedding_type") == "rope");
  w.set("feed_forward_length", w.size("shared_intermediate_size"));
}

bool has_experts(const formats::Json& config) {
  return formats::json_int(config, "num_local_experts").value_or(8) > 0;
}

// What all layers' feed-forward part is, where there are no experts.
void write_dense_hybrid(formats::HfConfigWriter& w) {
  write_hybrid(w);
  w.set("feed_forward_length", w.size("shared_intermediate_size"));
}

void write_hybrid_mixture(formats::HfConfigWriter& w) {
  write_hybrid(w);
  w.set("expert_count", w.size("num_local_experts"));
  w.set("expert_used_count", w.size("num_experts_per_tok"));
  w.set("expert_shared_feed_forward_length", w.size("shared_intermediate_size"));
}

constexpr formats::KnownField kHybridFields[] = {
    {"hidden_act", R"(["silu"])"},
    {"embedding_multiplier"},
    {"residual_multiplier"},
    {"attention_multiplier"},
    {"logits_scaling"},
    {"num_local_experts"},
    {"num_experts_per_tok"},
    {"shared_intermediate_size"},
    {"layer_types"},
    {"layers_block_type"},
    {"position_embedding_type", R"(["rope", "nope"])"},
    {"normalization_function", R"(["rmsnorm"])"},
    {"mamba_expand"},
    {"mamba_n_heads"},
    {"mamba_n_groups"},
    {"mamba_d_state"},
    {"mamba_d_conv"},
    {"mamba_d_head"},      // follows from the others
    {"mamba_conv_bias"},   // the tensors tell
    {"mamba_proj_bias"},   // likewise
    {"mamba_chunk_size"},  // how much is computed at once
    {"time_step_limit", {}, formats::has_no_limit},
    // Training's.
    {"output_router_logits"},
    {"router_aux_loss_coef"},
    {"init_method"},
};

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

constexpr auto kDenseHybridTensors =
    joined(kHfHybridLayerTensors, {
                                      {"post_attention_layernorm", "ffn_norm"},
                                      {"shared_mlp.input_linear", "ffn_gate"},
                                      {"shared_mlp.output_linear", "ffn_down"},
                                  });
constexpr formats::HfRename kDenseHalves[] = {{"ffn_gate", "ffn_up"}};
constexpr auto kHybridMixtureTensors =
    joined(kHfHybridLayerTensors, {
                                      {"post_attention_layernorm", "ffn_norm"},
                                      {"block_sparse_moe.router.layer", "ffn_gate_inp"},
                                      {"block_sparse_moe.input_linear", "ffn_gate_up_exps"},
                                      {"block_sparse_moe.output_linear", "ffn_down_exps"},
                                      {"shared_mlp.input_linear", "ffn_gate_shexp"},
                                      {"shared_mlp.output_linear", "ffn_down_shexp"},
                                  });

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
    {.model_type = "granitemoehybrid",
     .architecture = "granite",
     .applies = attends_only,
     .write = write_attending,
     .fields = kHybridFields,
     .tensors = kHfTensors,
     .layer_tensors = kDenseHybridTensors,
     .halved_layer_tensors = kDenseHalves},
    {.model_type = "granitemoehybrid",
     .architecture = "granitehybrid",
     .applies = has_experts,
     .write = write_hybrid_mixture,
     .fields = kHybridFields,
     .tensors = kHfTensors,
     .layer_tensors = kHybridMixtureTensors,
     .halved_layer_tensors = kHalves},
    {.model_type = "granitemoehybrid",
     .architecture = "granitehybrid",
     .write = write_dense_hybrid,
     .fields = kHybridFields,
     .tensors = kHfTensors,
     .layer_tensors = kDenseHybridTensors,
     .halved_layer_tensors = kDenseHalves},
};

}  // namespace

constinit const Family families::granite = {kArchitectures, build, kFolders};

}  // namespace outboard::models
