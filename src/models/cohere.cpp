// Command R (Cohere) and Command R7B / A (arXiv:2504.00698): layer norms without bias, attention
// and feed-forward layer side by side on the same normed row, factors of the logits. The second
// kind has a window on three layers of four, and positions on those alone.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  const Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_epsilon");
  const bool second = keys.architecture() == "cohere2";
  const float logit_scale = keys.number_or("logit_scale", 0);
  std::vector<bool> sliding(static_cast<size_t>(h.layers), false);
  if (second) sliding = sliding_layers(keys, h, 4);
  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  if (b.optional_weight(layer_name(0, "attn_q_norm.weight")) != kNone)  // Command R+
    a.norms = HeadNorms::kEveryHead;
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const bool slides = sliding[static_cast<size_t>(layer)];
    a.window = slides ? h.window : 0;
    a.rope = h.rope;
    if (second && !slides) a.rope.reset();
    const ValueId n = layer_norm(b, "norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    const ValueId attended = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    x = residual(b, "feed-forward residual", attended, feed_forward(b, n, layer, Function::kSilu));
  }
  b.scope("");
  x = b.op("rows", SelectRows{x});
  x = layer_norm(b, "final norm", x, "output_norm", h.epsilon);
  return b.finish(logits_of(b, x, h, logit_scale == 0 ? 1 : logit_scale), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"command-r", "cohere2"};

}  // namespace

constinit const Family families::cohere = {kArchitectures, build};

}  // namespace outboard::models
