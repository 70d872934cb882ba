// Mamba-2 (arXiv:2405.21060), and what attention stands beside it in: Nemotron-H (arXiv:2504.03624)
// and Nemotron 3, whose layers are a scan or attention or a feed-forward each; Falcon-H1
// (arXiv:2507.22448), whose layers have both side by side.
#include <fmt/ranges.h>

#include <algorithm>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

constexpr std::string_view kEpsilon = "attention.layer_norm_rms_epsilon";

Program build_mamba2(const formats::Model& model, Keys& keys) {
  const Hyperparameters h =
      read_hyperparameters(keys, kEpsilon, Positions::kLearned, Heads::kSomeLayers);
  keys.each_layer("feed_forward_length", 0, h.layers, 0, 1 << 20);  // there is none
  const Recurrence r = read_recurrence(keys);
  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const ValueId n = rms_norm(b, "norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    x = residual(b, "residual", x, mamba2(b, n, layer, r, h.epsilon));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

Program build_falcon_h1(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, kEpsilon);
  h.rope.neox = true;
  const Recurrence r = read_recurrence(keys);
  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  a.scale = keys.number_or("attention.scale", 0);
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    ValueId n = rms_norm(b, "norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    const bool normed = b.optional_weight(layer_name(layer, "ssm_norm.weight")) != kNone;
    const ValueId scan = mamba2(b, n, layer, r, h.epsilon, normed);
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    x = residual(b, "scan residual", x, scan);
    // llama.cpp's converter leaves ".weight" out of this name.
    const std::string name = layer_name(layer, "ffn_norm");
    n = b.optional_weight(name) != kNone
            ? b.op("feed-forward norm", RmsNorm{x, b.weight(name), h.epsilon, h.width})
            : rms_norm(b, "feed-forward norm", x, name, h.epsilon);
    x = residual(b, "feed-forward residual", x, feed_forward(b, n, layer, Function::kSilu));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

// Experts without gates; those of Nemotron 3 Super read and write a shorter row than the router and
// the shared expert do.
ValueId nemotron_mixture(Builder& b, ValueId x, int layer, const ExpertChoice& choice) {
  Experts e = experts_of(b, x, layer, Function::kReluSquared, choice);
  const bool latent = b.optional_weight(layer_name(layer, "ffn_latent_down.weight")) != kNone;
  if (latent) {
    e.routed = x;
    e.x = b.linear("latent", x, layer_name(layer, "ffn_latent_down"));
  }
  ValueId out = b.op("experts", e);
  if (latent) out = b.linear("from latent", out, layer_name(layer, "ffn_latent_up"));
  return b.op("all experts",
              Add{out, plain_feed_forward(b, x, layer, Function::kReluSquared, "_shexp")});
}

Program build_nemotron(const formats::Model& model, Keys& keys) {
  const std::string_view epsilon =
      keys.contains(kEpsilon) ? kEpsilon : "attention.layer_norm_epsilon";
  const Hyperparameters h =
      read_hyperparameters(keys, epsilon, Positions::kLearned, Heads::kSomeLayers);
  keys.number_or("attention.layer_norm_epsilon", 0);  // the other one is of the prediction head
  const std::vector<int> hidden = keys.each_layer("feed_forward_length", {}, h.layers, 0, 1 << 20);
  const Recurrence r = read_recurrence(keys);
  const ExpertChoice experts =
      read_experts(keys, {.gating = Gating::kSigmoid, .normalise = false, .gated = false});
  keys.integer_or("moe_latent_size", 0, 0, 1 << 20);  // the tensors tell
  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  a.rope.reset();
  a.scale = keys.number_or("attention.scale", 0);
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto i = static_cast<size_t>(layer);
    ValueId n = rms_norm(b, "norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    if (hidden[i] > 0) {
      n = experts.used > 0 ? nemotron_mixture(b, n, layer, experts)
                           : plain_feed_forward(b, n, layer, Function::kReluSquared);
    } else if (h.layer_kv_heads[i] > 0) {
      a.heads = h.layer_heads[i];
      a.kv_heads = h.layer_kv_heads[i];
      n = self_attention(b, n, layer, a);
    } else {
      n = mamba2(b, n, layer, r, h.epsilon);
    }
    x = residual(b, "residual", x, n);
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kMamba2[] = {"mamba2"};
constexpr std::string_view kNemotron[] = {"nemotron_h", "nemotron_h_moe"};
constexpr std::string_view kFalcon[] = {"falcon-h1"};

}  // namespace

Recurrence read_recurrence(Keys& keys) {
  Recurrence r{};
  r.taps = keys.integer("ssm.conv_kernel", 2, 64);
  r.inner = keys.integer("ssm.inner_size", 1, 1 << 20);
  r.state = keys.integer("ssm.state_size", 1, 8192);
  r.heads = static_cast<int>(keys.integer("ssm.time_step_rank", 1, 1 << 16));
  r.groups = static_cast<int>(keys.integer("ssm.group_count", 1, 1 << 16));
  if (r.inner % r.heads != 0)
    fail("{}: {}, expected a divisor of the {} of {}", keys.full("ssm.time_step_rank"), r.heads,
         r.inner, keys.full("ssm.inner_size"));
  return r;
}

ValueId causal_conv(Builder& b, ValueId x, std::string_view tensor, int64_t taps,
                    Function function) {
  const WeightId weight = b.weight(fmt::format("{}.weight", tensor));
  const std::vector<int64_t> shape = b.weight_shape(weight);
  if (shape.size() != 2 || shape[1] != taps)
    fail("{}.weight: shape [{}], expected [channels, {} taps]", tensor, fmt::join(shape, ", "),
         taps);
  return b.op("convolution", SsmConv{x, weight, b.optional_weight(fmt::format("{}.bias", tensor)),
                                     b.slot_state((taps - 1) * shape[0]), function});
}

ValueId mamba2(Builder& b, ValueId x, int layer, const Recurrence& r, float epsilon, bool normed) {
  const ValueId all = b.linear("zxbcdt", x, layer_name(layer, "ssm_in"));
  const int64_t shared = r.groups * r.state;  // of b, and of c
  const auto part = [&](std::string_view name, ValueId of, int64_t begin, int64_t size) {
    return b.op(name, Slice{of, begin, size});
  };
  const ValueId z = part("z", all, 0, r.inner);
  const ValueId dt = part("dt", all, 2 * r.inner + 2 * shared, r.heads);
  const ValueId xbc = causal_conv(b, part("xbc", all, r.inner, r.inner + 2 * shared),
                                  layer_name(layer, "ssm_conv1d"), r.taps, Function::kSilu);
  ValueId y = b.op("scan", SelectiveScan{.x = part("x", xbc, 0, r.inner),
                                         .b = part("b", xbc, r.inner, shared),
                                         .c = part("c", xbc, r.inner + shared, shared),
                                         .dt = dt,
                                         .a = b.weight(layer_name(layer, "ssm_a")),
                                         .dt_bias = b.weight(layer_name(layer, "ssm_dt.bias")),
                                         .skip = b.weight(layer_name(layer, "ssm_d")),
                                         .state = b.slot_state(r.state * r.inner),
                                         .heads = r.heads,
                                         .groups = r.groups});
  y = b.op("gated", Gate{z, y, Function::kSilu});
  if (normed) y = rms_norm(b, "norm", y, layer_name(layer, "ssm_norm"), epsilon);
  return b.linear("scan output", y, layer_name(layer, "ssm_out"));
}

constinit const Family families::mamba2 = {kMamba2, build_mamba2};
constinit const Family families::nemotron_h = {kNemotron, build_nemotron};
constinit const Family families::falcon_h1 = {kFalcon, build_falcon_h1};

}  // namespace outboard::models
