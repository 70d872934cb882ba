// Qwen 3.5, 3.6 and 3.8, their mixtures, and Qwen3-Next (Qwen's published implementations in
// transformers): of four layers three have the gated delta rule (arXiv:2412.06464) instead of
// attention, whose own layers turn a part of each head and gate what comes out. A head for further
// tokens is one more layer with attention.
#include <fmt/format.h>

#include <numeric>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

struct Delta {
  int64_t taps, key_dim, value_dim;
  int key_heads, heads;
  float epsilon;
  bool is_next;  // Qwen3-Next: heads that share a key head stand side by side

  int64_t keys() const { return key_heads * key_dim; }
  int64_t values() const { return heads * value_dim; }
};

Delta read_delta(Keys& keys, float epsilon) {
  const Recurrence r = read_recurrence(keys);
  if (r.heads % r.groups != 0)
    fail("{}: {}, expected a divisor of the {} heads", keys.full("ssm.group_count"), r.groups,
         r.heads);
  return {r.taps,
          r.state,
          r.inner / r.heads,
          r.groups,
          r.heads,
          epsilon,
          keys.architecture() == "qwen3next"};
}

// What goes through the convolution, queries, keys, values; and the gate of what comes out.
struct Projected {
  ValueId qkv, z;
};

Projected project(Builder& b, ValueId x, int layer, const Delta& d) {
  if (!d.is_next || b.optional_weight(layer_name(layer, "ssm_in.weight")) == kNone)
    return {b.linear("qkv", x, layer_name(layer, "attn_qkv")),
            b.linear("z", x, layer_name(layer, "attn_gate"))};
  // Older files: key head by key head, with the values and gates of its heads.
  const ValueId all = b.linear("qkvz", x, layer_name(layer, "ssm_in"));
  const int64_t values = d.values() / d.key_heads;
  const auto part = [&](std::string_view name, int64_t begin, int64_t size) {
    return b.op(name, Slice{all, begin, size, d.key_heads});
  };
  const ValueId q = part("q", 0, d.key_dim), k = part("k", d.key_dim, d.key_dim);
  const ValueId v = part("v", 2 * d.key_dim, values);
  return {b.op("qkv", Concat{b.op("qk", Concat{q, k}), v}),
          part("z", 2 * d.key_dim + values, values)};
}

struct Rates {
  ValueId alpha, beta;
};

Rates rates(Builder& b, ValueId x, int layer, const Delta& d) {
  if (!d.is_next)
    return {b.linear("alpha", x, layer_name(layer, "ssm_alpha")),
            b.linear("beta", x, layer_name(layer, "ssm_beta"))};
  const ValueId all = b.linear("beta and alpha", x, layer_name(layer, "ssm_ba"));
  const int64_t each = d.heads / d.key_heads;
  const ValueId beta = b.op("beta", Slice{all, 0, each, d.key_heads});
  return {b.op("alpha", Slice{all, each, each, d.key_heads}), beta};
}

ValueId delta_rule(Builder& b, ValueId x, int layer, const Delta& d) {
  const auto [projected, z] = project(b, x, layer, d);
  const auto [alpha, beta] = rates(b, x, layer, d);
  const ValueId qkv =
      causal_conv(b, projected, layer_name(layer, "ssm_conv1d"), d.taps, Function::kSilu);
  const ValueId out =
      b.op("delta rule", GatedDelta{.q = b.op("q", Slice{qkv, 0, d.keys()}),
                                    .k = b.op("k", Slice{qkv, d.keys(), d.keys()}),
                                    .v = b.op("v", Slice{qkv, 2 * d.keys(), d.values()}),
                                    .alpha = alpha,
                                    .beta = beta,
                                    .a = b.weight(layer_name(layer, "ssm_a")),
                                    .dt = b.weight(layer_name(layer, "ssm_dt.bias")),
                                    .state = b.slot_state(d.heads * d.key_dim * d.value_dim),
                                    .heads = d.heads,
                                    .key_heads = d.key_heads,
                                    .epsilon = d.epsilon,
                                    .neighbours = d.is_next});
  const ValueId normed = rms_norm(b, "norm", out, layer_name(layer, "ssm_norm"), d.epsilon);
  return b.linear("delta rule output", b.op("gated", Gate{z, normed, Function::kSilu}),
                  layer_name(layer, "ssm_out"));
}

// The layers with the delta rule.
std::vector<bool> recurrent_layers(Keys& keys, int layers) {
  if (keys.contains("attention.recurrent_layers"))
    return keys.sliding_layers("attention.recurrent_layers", 4, layers);
  return keys.sliding_layers("full_attention_interval", 4, layers);
}

// A text's positions are the same in all sections but the last, which text does not have.
void check_sections(Keys& keys) {
  const std::vector<int> s = keys.each_layer("rope.dimension_sections", 0, 4, 0, 1 << 20);
  if (keys.contains("rope.dimension_sections") &&
      (s[3] != 0 || std::accumulate(s.begin(), s.end(), 0) == 0))
    fail("{}: [{}, {}, {}, {}], expected some of the first three and none of the last",
         keys.full("rope.dimension_sections"), s[0], s[1], s[2], s[3]);
}

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon",
                                           Positions::kRotary, Heads::kSomeLayers);
  h.rope.neox = true;
  check_sections(keys);
  const ExpertChoice experts = read_experts(keys, {.shared_weighed = true});
  const Delta delta = read_delta(keys, h.epsilon);
  const std::vector<bool> recurrent = recurrent_layers(keys, h.layers);
  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  a.norms = HeadNorms::kHeads;
  a.query_gated = true;
  a.scale = keys.number_or("attention.scale", 0);
  const auto add_layer = [&](ValueId in, int layer, bool is_recurrent) {
    ValueId n = rms_norm(b, "attention norm", in, layer_name(layer, "attn_norm"), h.epsilon);
    n = is_recurrent ? delta_rule(b, n, layer, delta) : self_attention(b, n, layer, a);
    const ValueId sum = residual(b, "attention residual", in, n);
    n = rms_norm(b, "feed-forward norm", sum, layer_name(layer, "post_attention_norm"), h.epsilon);
    return residual(b, "feed-forward residual", sum,
                    mixture(b, n, layer, Function::kSilu, experts));
  };
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    x = add_layer(x, layer, recurrent[static_cast<size_t>(layer)]);
  }
  if (!has_drafter(b, h)) return b.finish(rms_logits(b, x, h), h.context_length);
  const ValueId logits = kept_logits(b, x, h);
  b.begin_drafter();
  x = add_layer(drafter_input(b, h), h.layers, false);
  return b.finish(logits, h.context_length, drafter_logits(b, x, h));
}

constexpr std::string_view kArchitectures[] = {"qwen35", "qwen35moe", "qwen3next"};

}  // namespace

constinit const Family families::qwen35 = {kArchitectures, build};

}  // namespace outboard::models
