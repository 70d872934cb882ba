// ERNIE 4.5 (Baidu, technical report of 2025-06): Llama's layer; of the mixtures, experts from some
// layer on, chosen with a bias, and shared ones.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  const Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon");
  const ExpertChoice experts = read_experts(keys);
  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  const AttentionLayer a(h);
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    ValueId n = rms_norm(b, "attention norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    n = rms_norm(b, "feed-forward norm", x, layer_name(layer, "ffn_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x, mixture(b, n, layer, Function::kSilu, experts));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"ernie4_5", "ernie4_5-moe"};

}  // namespace

constinit const Family families::ernie4_5 = {kArchitectures, build};

}  // namespace outboard::models
