// LFM2 and its mixtures (Liquid AI, arXiv:2511.23404): layers of a short convolution between two
// gates, and some of attention.
#include <fmt/format.h>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

ValueId short_convolution(Builder& b, ValueId x, int layer, int64_t taps) {
  const ValueId all = b.linear("bcx", x, layer_name(layer, "shortconv.in_proj"));
  const int64_t width = b.width(all) / 3;
  const auto part = [&](std::string_view name, int64_t i) {
    return b.op(name, Slice{all, i * width, width});
  };
  const ValueId in = b.op("bx", Gate{part("b", 0), part("x", 2), Function::kIdentity});
  const ValueId out =
      causal_conv(b, in, layer_name(layer, "shortconv.conv"), taps, Function::kIdentity);
  return b.linear("convolution output", b.op("cy", Gate{part("c", 1), out, Function::kIdentity}),
                  layer_name(layer, "shortconv.out_proj"));
}

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon",
                                           Positions::kRotary, Heads::kSomeLayers);
  h.rope.neox = true;
  const int64_t taps = keys.integer("shortconv.l_cache", 2, 64);
  const bool mixture_family = keys.architecture() == "lfm2moe";
  const ExpertChoice experts =
      mixture_family ? read_experts(keys, {.gating = Gating::kSigmoid}) : ExpertChoice{};
  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  a.norms = HeadNorms::kHeads;
  a.window = h.window;
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto i = static_cast<size_t>(layer);
    ValueId n = rms_norm(b, "norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    if (h.layer_kv_heads[i] > 0) {
      a.kv_heads = h.layer_kv_heads[i];
      n = self_attention(b, n, layer, a);
    } else {
      n = short_convolution(b, n, layer, taps);
    }
    x = residual(b, "residual", x, n);
    n = rms_norm(b, "feed-forward norm", x, layer_name(layer, "ffn_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x, mixture(b, n, layer, Function::kSilu, experts));
  }
  b.scope("");
  // Files have the last norm under this name (llama.cpp, llama-arch.cpp).
  x = rms_norm(b, "final norm", b.op("rows", SelectRows{x}), "token_embd_norm", h.epsilon);
  return b.finish(logits_of(b, x, h, 1), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"lfm2", "lfm2moe"};

}  // namespace

constinit const Family families::lfm2 = {kArchitectures, build};

}  // namespace outboard::models
