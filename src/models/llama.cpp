// Llama (arXiv:2302.13971, 2307.09288, 2407.21783), Mistral (arXiv:2310.06825) and SmolLM2: one
// architecture, "llama". And those that differ from it in a line: Mistral 3 and Ministral 3
// (queries grow with their position), SmolLM3 (arXiv:2501.15383's rope on three layers of four),
// Seed-OSS (biases, another name of a norm), Hunyuan dense (norms of q and k after their rope).
// Tensor names and metadata keys as llama.cpp writes them.
#include <fmt/format.h>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h =
      read_hyperparameters(keys, "attention.layer_norm_rms_epsilon", Positions::kScaledRotary);
  const std::string& architecture = keys.architecture();
  // GGUF's converter reorders q and k so that rotary pairs are neighbours; folders keep halves.
  h.rope.neox = model.metadata.get_bool("outboard.rope.neox", false) ||
                architecture == "seed_oss" || architecture == "hunyuan-dense";
  const ExpertChoice experts = read_experts(keys);
  const float scale = keys.number_or("attention.scale", 0);
  const std::string_view ffn_norm = architecture == "seed_oss" ? "post_attention_norm" : "ffn_norm";

  Builder b(model, architecture);
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  rope_factors(b, h);
  AttentionLayer a(h);
  a.window = h.window;
  a.scale = scale;
  if (architecture == "hunyuan-dense") a.norms = HeadNorms::kHeadsAfterRope;
  if (architecture == "mistral3")
    if (const float by_position = keys.number_or("attention.temperature_scale", 0);
        by_position != 0)
      a.query_scale =
          PositionScale{kNone, by_position, static_cast<float>(h.rope.original_context), 0};
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    a.rope = h.rope;
    if (architecture == "smollm3" && (layer + 1) % 4 == 0) a.rope.reset();
    ValueId n = rms_norm(b, "attention norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    n = rms_norm(b, "feed-forward norm", x, layer_name(layer, ffn_norm), h.epsilon);
    x = residual(b, "feed-forward residual", x, mixture(b, n, layer, Function::kSilu, experts));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

// --- Hugging Face's folders ---

void write_config(formats::HfConfigWriter& w, int64_t window) {
  const int64_t rotated = w.write_sizes();
  w.set("vocab_size", w.vocabulary());
  w.set("rope.dimension_count", rotated);
  // The folder's q and k rows are made for rotating halves, GGUF's for neighbours.
  w.set_any("outboard.rope.neox", true);
  if (window > 0) w.set("attention.sliding_window", window);
  w.write_rope(rotated);
}

bool has_window(const formats::Json& config) {
  return !config.contains("sliding_window") ||
         formats::json_field(config, "sliding_window") != nullptr;
}

constexpr std::string_view kArchitectures[] = {"llama", "mistral3", "smollm3", "seed_oss",
                                               "hunyuan-dense"};

constexpr formats::KnownField kLlamaFields[] = {
    {"hidden_act", R"(["silu", "swish"])"},
    {"is_llama_config", "[true]"},
    {"layer_types",
     {},
     [](const formats::Json& config, const formats::Json&) {
       return formats::all_layers_slide(config, false, "num_hidden_layers");
     }},
};

// Mistral's layers all have a window (v0.1; later models write null); a config without the field
// has the family's. One that the context never fills changes nothing.
void write_mistral(formats::HfConfigWriter& w) {
  const int64_t window =
      has_window(w.config()) ? w.optional_size("sliding_window").value_or(4096) : 0;
  const bool fills = window < w.optional_size("max_position_embeddings").value_or(2048);
  write_config(w, fills ? window : 0);
}

constexpr formats::KnownField kMistralFields[] = {
    {"hidden_act", R"(["silu", "swish"])"},
    {"sliding_window"},
    {"layer_types",
     {},
     [](const formats::Json& config, const formats::Json&) {
       return formats::all_layers_slide(config, has_window(config), "num_hidden_layers");
     }},
};

// Mixtral: Mistral's layer with experts, and no window.
void write_mixtral(formats::HfConfigWriter& w) {
  write_config(w, w.optional_size("sliding_window").value_or(0));
  w.set("expert_count", w.size("num_local_experts"));
  w.set("expert_used_count", w.size("num_experts_per_tok"));
}

constexpr formats::KnownField kMixtralFields[] = {
    {"hidden_act", R"(["silu", "swish"])"},
    {"sliding_window"},
    {"num_local_experts"},
    {"num_experts_per_tok"},
    // Training's.
    {"router_jitter_noise"},
    {"output_router_logits"},
    {"router_aux_loss_coef"},
};

constexpr formats::HfRename kMixtralLayerTensors[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "ffn_norm"},
    {"block_sparse_moe.gate", "ffn_gate_inp"},
    {"block_sparse_moe.experts.*.w1", "ffn_gate_exps"},
    {"block_sparse_moe.experts.*.w2", "ffn_down_exps"},
    {"block_sparse_moe.experts.*.w3", "ffn_up_exps"},
};

// SmolLM3 turns three layers of four.
bool every_fourth(const formats::Json& config, const formats::Json& /*value*/) {
  const formats::Json* turned = formats::json_field(config, "no_rope_layers");  // 1: it has a rope
  if (turned == nullptr)
    return formats::json_int(config, "no_rope_layer_interval").value_or(4) == 4;
  if (!turned->is_array() ||
      static_cast<int64_t>(turned->size()) != formats::json_int(config, "num_hidden_layers"))
    return false;
  for (size_t i = 0; i < turned->size(); ++i)
    if ((*turned)[i] != ((i + 1) % 4 == 0 ? 0 : 1)) return false;
  return true;
}

constexpr formats::KnownField kSmolLm3Fields[] = {
    {"hidden_act", R"(["silu", "swish"])"},
    {"no_rope_layers", {}, every_fourth},
    {"no_rope_layer_interval", {}, every_fourth},
    // With use_sliding_window false there is no window.
    {"sliding_window"},
    {"max_window_layers"},
    {"use_sliding_window", "[false]"},
    {"layer_types",
     {},
     [](const formats::Json& config, const formats::Json&) {
       return formats::all_layers_slide(config, false, "num_hidden_layers");
     }},
};

constexpr formats::KnownField kSeedOssFields[] = {
    {"hidden_act", R"(["silu", "swish"])"},
    {"attention_out_bias"},  // the tensors tell
    {"residual_dropout"},
};

constexpr formats::HfRename kSeedOssLayerTensors[] = {
    {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"}, {"post_attention_layernorm", "post_attention_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};

// Ministral 3, with or without its eyes. Queries grow with their position by the rotation's
// llama_4_scaling_beta.
void write_ministral(formats::HfConfigWriter& w) {
  write_config(w, w.optional_size("sliding_window").value_or(0));
  const auto beta = formats::json_number(w.rotation(), "llama_4_scaling_beta");
  if (!beta) return;
  // It counts in original contexts, which are YaRN's own.
  if (formats::json_string(w.rotation(), "rope_type") != "yarn")
    fail("rope_parameters: llama_4_scaling_beta: expected with rope_type \"yarn\" alone");
  w.set("attention.temperature_scale", *beta);
}

constexpr formats::KnownField kMinistralFields[] = {
    {"hidden_act", R"(["silu", "swish"])"},
    {"sliding_window"},
    {"layer_types",
     {},
     [](const formats::Json& config, const formats::Json&) {
       return formats::all_layers_slide(
           config, formats::json_field(config, "sliding_window") != nullptr, "num_hidden_layers");
     }},
    // Its eyes; only its text is used.
    {"vision_config"},
    {"image_token_index"},
    {"image_token_id"},
    {"multimodal_projector_bias"},
    {"projector_hidden_act"},
    {"spatial_merge_size"},
    {"vision_feature_layer"},
};
constexpr formats::KnownField kMinistralRope[] = {{"llama_4_scaling_beta"}};
constexpr std::string_view kMinistralUnneeded[] = {"vision_tower.", "multi_modal_projector."};

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "llama",
     .architecture = "llama",
     .write = [](formats::HfConfigWriter& w) { write_config(w, 0); },
     .fields = kLlamaFields,
     .tensors = kHfTensors,
     .layer_tensors = kHfLayerTensors},
    {.model_type = "mistral",
     .architecture = "llama",
     .write = write_mistral,
     .fields = kMistralFields,
     .tensors = kHfTensors,
     .layer_tensors = kHfLayerTensors},
    {.model_type = "mixtral",
     .architecture = "llama",
     .write = write_mixtral,
     .defaults = {.context = 131072, .kv_heads = 8, .rope_theta = 1e6, .epsilon = 1e-5},
     .fields = kMixtralFields,
     .tensors = kHfTensors,
     .layer_tensors = kMixtralLayerTensors},
    {.model_type = "mistral3",
     .text_model_type = "ministral3",
     .architecture = "mistral3",
     .write = write_ministral,
     .defaults = {.context = 262144,
                  .heads = 32,
                  .kv_heads = 8,
                  .head_dim = 128,
                  .rope_theta = 1e6,
                  .epsilon = 1e-5},
     .fields = kMinistralFields,
     .rope_fields = kMinistralRope,
     .tensors = kHfTensors,
     .layer_tensors = kHfLayerTensors,
     .unneeded_tensors = kMinistralUnneeded},
    {.model_type = "smollm3",
     .architecture = "smollm3",
     .write = [](formats::HfConfigWriter& w) { write_config(w, 0); },
     .defaults = {.context = 32768, .heads = 16, .kv_heads = 4, .rope_theta = 2e6},
     .tied_embeddings = true,
     .fields = kSmolLm3Fields,
     .tensors = kHfTensors,
     .layer_tensors = kHfLayerTensors},
    {.model_type = "seed_oss",
     .architecture = "seed_oss",
     .write = [](formats::HfConfigWriter& w) { w.write_rope(w.write_sizes()); },
     .defaults = {.context = 524288, .heads = 80, .kv_heads = 8, .head_dim = 128},
     .fields = kSeedOssFields,
     .tensors = kHfTensors,
     .layer_tensors = kSeedOssLayerTensors},
};

}  // namespace

constinit const Family families::llama = {kArchitectures, build, kFolders};

}  // namespace outboard::models
