// StarCoder2 (arXiv:2402.19173): layer norms and biases throughout, a feed-forward layer without
// gate.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_epsilon");
  h.rope.neox = true;
  Builder b(model, "starcoder2");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  a.window = h.window;
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto name = [&](std::string_view part) { return layer_name(layer, part); };
    const ValueId n = layer_norm(b, "attention norm", x, name("attn_norm"), h.epsilon);
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    const ValueId m = layer_norm(b, "feed-forward norm", x, name("ffn_norm"), h.epsilon);
    const ValueId up =
        b.op("activated", Activation{b.linear("up", m, name("ffn_up")), Function::kGeluTanh});
    x = residual(b, "feed-forward residual", x, b.linear("down", up, name("ffn_down")));
  }
  b.scope("");
  x = b.op("rows", SelectRows{x});
  x = layer_norm(b, "final norm", x, "output_norm", h.epsilon);
  return b.finish(logits_of(b, x, h, 1), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"starcoder2"};

}  // namespace

constinit const Family families::starcoder2 = {kArchitectures, build};

}  // namespace outboard::models
