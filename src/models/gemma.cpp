// Gemma 3, text (arXiv:2503.19786): norms before and after each part, q and k normalised per head,
// five layers with a sliding window for each that sees everything, and a rope base for each kind.
#include <fmt/format.h>

#include <cmath>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

program::Program build_gemma3(const formats::Model& model, Keys& keys) {
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

}  // namespace outboard::models
