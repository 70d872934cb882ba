// Gemma 2 (arXiv:2408.00118) and Gemma 3, text (arXiv:2503.19786): norms before and after each
// part, and layers with a sliding window between those that see everything: every other one of
// Gemma 2, which caps scores; five for each of Gemma 3, which normalises q and k per head instead
// and has a rope base for each kind.
#include <fmt/format.h>

#include <cmath>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

// Gemma 3's. ollama has other names for both bases. Files of its own making have been seen without
// any, and 10,000 would be wrong for the layers that see everything.
float local_base(Keys& keys, Hyperparameters& h) {
  if (!keys.contains("rope.freq_base")) {
    if (!keys.contains("rope.global.freq_base"))
      fail("metadata {}: the key is missing, expected a number", keys.full("rope.freq_base"));
    h.rope.base = keys.positive_or("rope.global.freq_base", 0);
  }
  return keys.positive_or("rope.freq_base_swa", keys.positive_or("rope.local.freq_base", 10000));
}

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon");
  h.rope.neox = true;
  const bool third = keys.architecture() == "gemma3";
  // GGUF files carry these facts of the family only where they differ.
  if (!third && !keys.contains("attention.sliding_window")) h.window = 4096;
  if (!third && !keys.contains("final_logit_softcapping")) h.softcap = 30;
  const std::vector<bool> sliding = sliding_layers(keys, h, third ? 6 : 2);
  Rope local = h.rope;
  if (third) {  // local layers are never scaled
    local = {.x = kNone,
             .head_dim = h.key_dim,
             .rotary = h.rope.rotary,
             .base = local_base(keys, h),
             .scale = 1,
             .factors = kNone,
             .neox = true};
  } else {
    local.base = keys.positive_or("rope.freq_base_swa", local.base);
  }
  // Scores are scaled by the head's width, except in the 27B (62 layers, 46 of Gemma 2), which
  // takes width / heads.
  const auto scale_base = h.layers == (third ? 62 : 46)
                              ? static_cast<float>(h.width) / static_cast<float>(h.heads)
                              : static_cast<float>(h.key_dim);
  AttentionLayer a(h);
  a.scale = keys.number_or("attention.scale", 0);
  if (a.scale <= 0) a.scale = 1.0F / std::sqrt(scale_base);
  if (third) a.norms = HeadNorms::kHeads;
  if (!third) a.softcap = keys.number_or("attn_logit_softcapping", 50);

  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight"),
                                      std::sqrt(static_cast<float>(h.width))});
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto norm = [&](std::string_view what, ValueId value, std::string_view tensor) {
      return rms_norm(b, what, value, layer_name(layer, tensor), h.epsilon);
    };
    a.rope = sliding[static_cast<size_t>(layer)] ? local : h.rope;
    a.window = sliding[static_cast<size_t>(layer)] ? h.window : 0;
    const ValueId n = norm("attention norm", x, "attn_norm");
    const ValueId out = self_attention(b, n, layer, a);
    x = residual(b, "attention residual", x,
                 norm("after attention norm", out, "post_attention_norm"));

    const ValueId m = norm("feed-forward norm", x, "ffn_norm");
    const ValueId f = feed_forward(b, m, layer, Function::kGeluTanh);
    x = residual(b, "feed-forward residual", x,
                 norm("after feed-forward norm", f, "post_ffw_norm"));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"gemma2", "gemma3"};

// --- Hugging Face's folders ---

void write_config(formats::HfConfigWriter& w) {
  const formats::Json& config = w.config();
  const int64_t head_dim = w.write_sizes();
  w.write_rope(head_dim);
  const auto cap = formats::json_number(config, "final_logit_softcapping");
  if (cap && *cap != 0) w.set("final_logit_softcapping", *cap);
  w.set("attention.sliding_window", w.optional_size("sliding_window").value_or(4096));
  // Every nth layer sees everything; 6 is the family's and is not stored.
  auto pattern = w.optional_size("sliding_window_pattern");
  if (!pattern) pattern = w.optional_size("_sliding_window_pattern");
  // Newer configs list the layers instead, and the list counts.
  if (const auto sliding = formats::sliding_layers(config))
    if (const auto listed = formats::window_pattern(*sliding)) pattern = listed;
  if (pattern && *pattern != 6) w.set("attention.sliding_window_pattern", *pattern);
  const auto scalar = formats::json_number(config, "query_pre_attn_scalar");
  if (scalar && *scalar > 0 && *scalar != static_cast<double>(head_dim))
    w.set("attention.scale", 1 / std::sqrt(*scalar));
}

bool layers_alternate(const formats::Json& config, const formats::Json& /*layer_types*/) {
  const auto sliding = formats::sliding_layers(config);
  return sliding &&
         static_cast<int64_t>(sliding->size()) == formats::json_int(config, "num_hidden_layers") &&
         formats::window_pattern(*sliding).has_value();
}

constexpr formats::KnownField kFields[] = {
    {"sliding_window"},
    {"rope_local_base_freq"},
    {"sliding_window_pattern"},
    {"_sliding_window_pattern"},
    {"query_pre_attn_scalar"},
    {"final_logit_softcapping"},
    {"layer_types", {}, layers_alternate},
    {"hidden_act", R"(["gelu_pytorch_tanh"])"},
    {"hidden_activation", R"(["gelu_pytorch_tanh"])"},
    {"use_bidirectional_attention", "[false]"},
    // The eyes of a Gemma that also sees; only its text is used.
    {"vision_config"},
    {"mm_tokens_per_image"},
    {"image_token_index"},
    {"image_token_id"},
    {"boi_token_index"},
    {"boi_token_id"},
    {"eoi_token_index"},
    {"eoi_token_id"},
};

// Gemma 2: null is no cap.
void write_second(formats::HfConfigWriter& w) {
  const formats::Json& config = w.config();
  w.write_rope(w.write_sizes());
  const auto cap = [&](const char* key, const char* field, double usual) {
    const double otherwise = config.contains(field) ? 0 : usual;
    w.set(key, formats::json_number(config, field).value_or(otherwise));
  };
  cap("attn_logit_softcapping", "attn_logit_softcapping", 50);
  cap("final_logit_softcapping", "final_logit_softcapping", 30);
  w.set("attention.sliding_window", w.optional_size("sliding_window").value_or(4096));
  if (const auto sliding = formats::sliding_layers(config))
    w.set("attention.sliding_window_pattern", *sliding);
  const double scalar = formats::json_number(config, "query_pre_attn_scalar").value_or(256);
  if (!(scalar > 0)) fail("query_pre_attn_scalar: found {}, expected more than 0", scalar);
  w.set("attention.scale", 1 / std::sqrt(scalar));
}

constexpr formats::KnownField kSecondFields[] = {
    {"sliding_window"},
    {"sliding_window_size",
     {},  // its first name
     [](const formats::Json& config, const formats::Json& size) {
       const formats::Json* own = formats::json_field(config, "sliding_window");
       return own != nullptr && *own == size;
     }},
    {"query_pre_attn_scalar"},
    {"final_logit_softcapping"},
    {"attn_logit_softcapping"},
    {"layer_types", {}, formats::lists_layers},
    {"hidden_act", R"(["gelu_pytorch_tanh"])"},
    {"hidden_activation", R"(["gelu_pytorch_tanh"])"},
    {"use_bidirectional_attention", "[false]"},
};

constexpr formats::HfRename kLayerTensors[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"post_attention_layernorm", "post_attention_norm"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
};
constexpr std::string_view kUnneededTensors[] = {"vision_tower.", "multi_modal_projector."};

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "gemma2",
     .architecture = "gemma2",
     .write = write_second,
     .defaults = {.vocabulary = 256000,
                  .context = 8192,
                  .heads = 8,
                  .kv_heads = 4,
                  .head_dim = 256,
                  .rope_theta = 10000},
     .tied_embeddings = true,
     .fields = kSecondFields,
     .tensors = kHfTensors,
     .layer_tensors = kLayerTensors,
     .norms_plus_1 = true,
     .never_spaces_prefix = true},
    {.model_type = "gemma3",
     .text_model_type = "gemma3_text",
     .architecture = "gemma3",
     .write = write_config,
     .positions = formats::HfPositions::kRotaryByLayerType,
     // Models that also see leave most to the family's defaults.
     .defaults = {.vocabulary = 262208,
                  .context = 131072,
                  .heads = 8,
                  .kv_heads = 4,
                  .head_dim = 256,
                  .rope_theta = 1e6},
     .tied_embeddings = true,
     .fields = kFields,
     .tensors = kHfTensors,
     .layer_tensors = kLayerTensors,
     .unneeded_tensors = kUnneededTensors,
     .norms_plus_1 = true,
     .rows_beyond_tokens = true,
     .never_spaces_prefix = true},
};

}  // namespace

constinit const Family families::gemma = {kArchitectures, build, kFolders};

}  // namespace outboard::models
