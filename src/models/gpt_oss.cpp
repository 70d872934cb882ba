// gpt-oss (OpenAI, arXiv:2508.10925): every other layer with a window of 128, attention sinks,
// YaRN, biases everywhere, and experts weighed by a softmax over the chosen alone.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon");
  h.rope.neox = true;
  const std::vector<bool> sliding = sliding_layers(keys, h, 2);
  const ExpertChoice experts =
      read_experts(keys, {.gating = Gating::kSoftmaxOfChosen, .normalise = false});
  Builder b(model, "gpt-oss");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  a.sinks = true;
  Rope local = h.rope;
  local.base = keys.positive_or("rope.freq_base_swa", local.base);
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const bool slides = sliding[static_cast<size_t>(layer)];
    a.window = slides ? h.window : 0;
    a.rope = slides ? local : h.rope;
    ValueId n = rms_norm(b, "attention norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    n = rms_norm(b, "feed-forward norm", x, layer_name(layer, "post_attention_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x,
                 mixture(b, n, layer, Function::kSwigluOai, experts));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"gpt-oss"};

}  // namespace

constinit const Family families::gpt_oss = {kArchitectures, build};

}  // namespace outboard::models
