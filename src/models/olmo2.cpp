// Norms after attention and feed-forward layer, none before: OLMo 2 (arXiv:2501.00656), which
// normalises q and k over all heads at once, OLMo 3 (arXiv:2512.13961), whose layers with a window
// are not stretched by YaRN, and EXAONE 4 (arXiv:2507.11407), which normalises per head and whose
// layers without a window know no positions.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h =
      read_hyperparameters(keys, "attention.layer_norm_rms_epsilon", Positions::kScaledRotary);
  h.rope.neox = true;
  const bool exaone = keys.architecture() == "exaone4";
  if (exaone && h.layers == 64 && !keys.contains("attention.sliding_window")) h.window = 4096;
  const std::vector<bool> sliding = sliding_layers(keys, h, 4);
  Rope local = h.rope;
  local.base = keys.positive_or("rope.freq_base_swa", local.base);
  if (!exaone) {
    local.scale = local.magnitude = 1;
    local.extrapolation = 0;
  }
  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  if (exaone) rope_factors(b, h);
  if (exaone) local.factors = h.rope.factors;
  AttentionLayer a(h);
  a.norms = exaone ? HeadNorms::kHeads : HeadNorms::kRow;
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto norm = [&](std::string_view what, ValueId value, std::string_view tensor) {
      return rms_norm(b, what, value, layer_name(layer, tensor), h.epsilon);
    };
    const bool slides = sliding[static_cast<size_t>(layer)];
    a.window = slides ? h.window : 0;
    a.rope = slides ? local : h.rope;
    if (exaone && h.window > 0 && !slides) a.rope.reset();
    const ValueId out = self_attention(b, x, layer, a);
    x = residual(b, "attention residual", x,
                 norm("after attention norm", out, "post_attention_norm"));
    const ValueId f = feed_forward(b, x, layer, Function::kSilu);
    x = residual(b, "feed-forward residual", x,
                 norm("after feed-forward norm", f, "post_ffw_norm"));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"olmo2", "exaone4"};

}  // namespace

constinit const Family families::olmo2 = {kArchitectures, build};

}  // namespace outboard::models
