// Gemma 3, text (arXiv:2503.19786): norms before and after each part, q and k normalised per head,
// five layers with a sliding window for each that sees everything, and a rope base for each kind.
#include <fmt/format.h>

#include <cmath>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon");
  // Every sixth layer is global. Local layers turn at base 10,000 and are never scaled. GGUF files
  // carry these facts of the family only where they differ.
  const int64_t pattern = keys.period_or("attention.sliding_window_pattern", 6);
  // ollama has other names for both bases. Files of its own making have been seen without any, and
  // 10,000 would be wrong for the global layers.
  float local_base = keys.positive_or("rope.local.freq_base", 10000);
  local_base = keys.positive_or("rope.freq_base_swa", local_base);
  if (!keys.contains("rope.freq_base")) {
    if (!keys.contains("rope.global.freq_base"))
      fail("metadata {}: the key is missing, expected a number", keys.full("rope.freq_base"));
    h.rope_base = keys.positive_or("rope.global.freq_base", 0);
  }
  // Scores are scaled by the head's width, except in the 27B (62 layers), which takes width /
  // heads.
  const auto scale_base = h.layers == 62 ? static_cast<float>(h.width) / static_cast<float>(h.heads)
                                         : static_cast<float>(h.key_dim);
  float scale = keys.number_or("attention.scale", 0);
  if (scale <= 0) scale = 1.0F / std::sqrt(scale_base);

  Builder b(model, "gemma3");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight"),
                                      std::sqrt(static_cast<float>(h.width))});
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto name = [&](std::string_view part) { return fmt::format("blk.{}.{}", layer, part); };
    const bool global = (layer + 1) % pattern == 0;
    const float base = global ? h.rope_base : local_base;
    const float rope_scale = global ? h.rope_scale : 1;

    const ValueId n = rms_norm(b, "attention norm", x, name("attn_norm"), h.epsilon);
    ValueId q = b.linear("q", n, name("attn_q"));
    ValueId k = b.linear("k", n, name("attn_k"));
    const ValueId v = b.linear("v", n, name("attn_v"));
    q = rms_norm(b, "q norm", q, name("attn_q_norm"), h.epsilon);
    k = rms_norm(b, "k norm", k, name("attn_k_norm"), h.epsilon);
    q = b.op("q rope", Rope{q, h.key_dim, h.rotary, base, rope_scale, kNone, true});
    k = b.op("k rope", Rope{k, h.key_dim, h.rotary, base, rope_scale, kNone, true});
    const StateId kv = b.kv_state(h.kv_heads, h.key_dim, h.value_dim);
    ValueId a = b.op("attention", Attention{q, k, v, kv, h.heads, global ? 0 : h.window, scale, 0});
    a = b.linear("attention output", a, name("attn_output"));
    a = rms_norm(b, "after attention norm", a, name("post_attention_norm"), h.epsilon);
    x = b.op("attention residual", Add{x, a});

    const ValueId m = rms_norm(b, "feed-forward norm", x, name("ffn_norm"), h.epsilon);
    ValueId f = feed_forward(b, m, layer, Function::kGeluTanh, 0);
    f = rms_norm(b, "after feed-forward norm", f, name("post_ffw_norm"), h.epsilon);
    x = b.op("feed-forward residual", Add{x, f});
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"gemma3"};

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

constinit const Family families::gemma3 = {kArchitectures, build, kFolders};

}  // namespace outboard::models
