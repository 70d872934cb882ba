// Muse Glimmer (Meta, 2026): the embedding normalised, norms before and after each part, attention
// held back by a gate, a window and rotary positions on three layers of four, and neither on the
// fourth.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  const Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon");
  constexpr float kAfterEpsilon = 1e-8F;  // of the norms after each part; no key has it
  const std::vector<bool> sliding = sliding_layers(keys, h, 4);
  const float logit_scale = keys.number("logit_scale");
  Builder b(model, "muse-glimmer");
  ValueId x = b.op("tokens", Embed{b.tokens(), b.weight("token_embd.weight")});
  x = b.op("embedding", RmsNorm{x, kNone, h.epsilon, h.width});
  AttentionLayer a(h);
  a.norms = HeadNorms::kHeads;
  a.gated = true;
  Rope local = h.rope;
  local.base = keys.positive_or("rope.freq_base_swa", local.base);
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto norm = [&](std::string_view what, ValueId value, std::string_view tensor,
                          float epsilon) {
      return rms_norm(b, what, value, layer_name(layer, tensor), epsilon);
    };
    const bool slides = sliding[static_cast<size_t>(layer)];
    a.window = slides ? h.window : 0;
    a.rope = local;
    if (!slides) a.rope.reset();
    const ValueId n = norm("attention norm", x, "attn_norm", h.epsilon);
    const ValueId out = self_attention(b, n, layer, a);
    x = residual(b, "attention residual", x,
                 norm("after attention norm", out, "post_attention_norm", kAfterEpsilon));
    const ValueId m = norm("feed-forward norm", x, "ffn_norm", h.epsilon);
    const ValueId f = feed_forward(b, m, layer, Function::kSilu);
    x = residual(b, "feed-forward residual", x,
                 norm("after feed-forward norm", f, "post_ffw_norm", kAfterEpsilon));
  }
  return b.finish(rms_logits(b, x, h, logit_scale), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"muse-glimmer"};

}  // namespace

constinit const Family families::muse_glimmer = {kArchitectures, build};

}  // namespace outboard::models
