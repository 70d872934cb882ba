// Granite 3 and 4 (IBM), dense and mixtures: Llama's layer with four factors, of the embedding, the
// residual, the scores and the logits (arXiv:2408.13359's power scheduler models).
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h =
      read_hyperparameters(keys, "attention.layer_norm_rms_epsilon", Positions::kScaledRotary);
  const ExpertChoice experts = read_experts(keys);
  const auto factor = [&](std::string_view name) {
    const float value = keys.number_or(name, 0);
    return value == 0 ? 1 : value;  // 0 stands for none
  };
  const float embedding_scale = factor("embedding_scale");
  const float residual_scale = factor("residual_scale");
  const float logit_scale = keys.number("logit_scale");

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
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a), residual_scale);
    n = rms_norm(b, "feed-forward norm", x, layer_name(layer, "ffn_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x, mixture(b, n, layer, Function::kSilu, experts),
                 residual_scale);
  }
  return b.finish(rms_logits(b, x, h, logit_scale == 0 ? 1 : 1 / logit_scale), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"granite", "granitemoe"};

}  // namespace

constinit const Family families::granite = {kArchitectures, build};

}  // namespace outboard::models
