// StableLM (arXiv:2402.17834): layer norms, part of each head turned. The 12B normalises every head
// of q and k with weights of its own, and has attention and feed-forward layer side by side.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_epsilon");
  h.rope.neox = true;
  keys.flag_or("use_parallel_residual", false);  // told by whether there is a feed-forward norm
  Builder b(model, "stablelm");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto name = [&](std::string_view part) { return layer_name(layer, part); };
    const bool heads_normed = b.optional_weight(name("attn_q_norm.weight")) != kNone;
    a.norms = heads_normed ? HeadNorms::kEveryHead : HeadNorms::kNone;
    const ValueId n = layer_norm(b, "attention norm", x, name("attn_norm"), h.epsilon);
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    const bool parallel = b.optional_weight(name("ffn_norm.weight")) == kNone;
    const ValueId m =
        parallel ? n : layer_norm(b, "feed-forward norm", x, name("ffn_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x, feed_forward(b, m, layer, Function::kSilu));
  }
  b.scope("");
  x = b.op("rows", SelectRows{x});
  x = layer_norm(b, "final norm", x, "output_norm", h.epsilon);
  return b.finish(logits_of(b, x, h, 1), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"stablelm"};

}  // namespace

constinit const Family families::stablelm = {kArchitectures, build};

}  // namespace outboard::models
