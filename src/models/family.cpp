#include "models/family.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "support/error.h"

namespace outboard::models {
namespace {

// Rotary positions and their scaling, as llama.cpp reads them (llama-model.cpp, load_hparams, and
// llama-context.cpp for YaRN's magnitude).
void read_rope(Keys& keys, Hyperparameters& h, bool by_tensors) {
  program::Rope& rope = h.rope;
  rope.head_dim = h.key_dim;
  rope.rotary = static_cast<int>(keys.integer_or("rope.dimension_count", h.key_dim, 2, h.key_dim));
  if (rope.rotary % 2 != 0)
    fail("{}: {}, expected an even number: pairs are turned", keys.full("rope.dimension_count"),
         rope.rotary);
  rope.base = keys.positive_or("rope.freq_base", 10000);
  // Files of 2023 have the older key. Without a type a factor is linear (llama.cpp, docs/gguf.md);
  // 0 stands for none.
  const std::string type = keys.text_or("rope.scaling.type", "linear");
  const char* key =
      keys.contains("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  const float factor = keys.number_or(key, 1) == 0 ? 1 : keys.positive_or(key, 1);
  rope.magnitude = keys.number_or("rope.scaling.attn_factor", 1);
  rope.original_context = keys.integer_or("rope.scaling.original_context_length", h.context_length,
                                          1, int64_t{1} << 30);
  if (type == "linear") {
    rope.scale = factor;
  } else if (type == "yarn") {
    rope.scale = factor;
    rope.extrapolation = keys.number_or("rope.scaling.yarn_ext_factor", 1);
    if (rope.extrapolation < 0) rope.extrapolation = 1;  // -1 stands for YaRN's own
    rope.beta_fast = keys.positive_or("rope.scaling.yarn_beta_fast", 32);
    rope.beta_slow = keys.positive_or("rope.scaling.yarn_beta_slow", 1);
    h.yarn_log_multiplier = keys.number_or("rope.scaling.yarn_log_multiplier", 0);
    const float by_length = yarn_magnitude(factor, 1);
    // Some converters write down what the length gives anyway. llama.cpp reads it of Grok alone.
    const float given = keys.number_or("rope.scaling.yarn_attn_factor", 1);
    if (given != 1 && std::abs(given - by_length) > 1e-3F * by_length)
      fail("{}: {}, expected 1 or what the factor gives, {}",
           keys.full("rope.scaling.yarn_attn_factor"), given, by_length);
    rope.magnitude *= h.yarn_log_multiplier == 0
                          ? by_length
                          : by_length / yarn_magnitude(factor, h.yarn_log_multiplier);
  } else if (by_tensors && type == "llama3") {
    h.rope_freqs = true;
  } else if (by_tensors && (type == "longrope" || type == "su")) {  // su: its first name
    h.long_rope = true;
  } else if (type != "none") {
    throw Error(fmt::format("{} = \"{}\": Outboard does not implement this scaling",
                            keys.full("rope.scaling.type"), type),
                "It runs models with none, linear scaling, YaRN, LongRoPE and Llama 3.1's.");
  }
}

}  // namespace

float yarn_magnitude(float factor, float multiplier) {
  return factor <= 1 ? 1 : 0.1F * multiplier * std::log(factor) + 1;
}

Hyperparameters read_hyperparameters(Keys& keys, std::string_view epsilon_key, Positions positions,
                                     Heads heads) {
  Hyperparameters h;
  h.layers = static_cast<int>(keys.integer("block_count", 1, 1024));
  h.width = keys.integer("embedding_length", 1, 1 << 20);
  h.context_length = keys.integer("context_length", 1, int64_t{1} << 30);
  const int least = heads == Heads::kSomeLayers ? 0 : 1;
  const auto first = [](const std::vector<int>& all) {
    const auto some = std::ranges::find_if(all, [](int count) { return count > 0; });
    return some != all.end() ? *some : 1;
  };
  h.layer_heads = keys.each_layer("attention.head_count", {}, h.layers, least, 4096);
  h.heads = first(h.layer_heads);
  // Models without attention say that they have no heads.
  const bool some = std::ranges::any_of(h.layer_heads, [](int count) { return count > 0; });
  h.layer_kv_heads =
      keys.each_layer("attention.head_count_kv", some ? h.heads : 0, h.layers, least, 4096);
  h.kv_heads = first(h.layer_kv_heads);
  if (heads == Heads::kEqual)
    for (const auto* all : {&h.layer_heads, &h.layer_kv_heads})
      if (std::ranges::adjacent_find(*all, std::not_equal_to<>()) != all->end())
        throw Error(fmt::format("{}: layers have different numbers of heads", keys.architecture()),
                    "Outboard runs such layers of gemma4 alone.");
  const int64_t head_dim = std::max<int64_t>(1, h.width / h.heads);
  h.key_dim = static_cast<int>(keys.integer_or("attention.key_length", head_dim, 1, 8192));
  h.value_dim = static_cast<int>(keys.integer_or("attention.value_length", h.key_dim, 1, 8192));
  for (size_t i = 0; i < h.layer_heads.size(); ++i)
    if (h.layer_kv_heads[i] > 0 &&
        (h.layer_heads[i] == 0 || h.layer_heads[i] % h.layer_kv_heads[i] != 0))
      fail("{}: {}, expected a divisor of the {} heads", keys.full("attention.head_count_kv"),
           h.layer_kv_heads[i], h.layer_heads[i]);
  for (const int dim : {h.key_dim, h.value_dim})
    if (dim % 8 != 0)
      throw Error(
          fmt::format("{}: heads of {} elements, expected a multiple of 8", keys.architecture(),
                      dim),
          "Outboard does not run models with such heads yet (OpenLLaMA 3B has 100); choose another "
          "size or a model of another family.");
  h.epsilon = keys.number(epsilon_key);
  if (h.epsilon < 0) fail("{}: {}, expected 0 or more", keys.full(epsilon_key), h.epsilon);

  // Layers that predict tokens further on: the text does without.
  const auto more = static_cast<int>(keys.integer_or("nextn_predict_layers", 0, 0, h.layers - 1));
  h.layers -= more;
  if (positions != Positions::kLearned) {
    read_rope(keys, h, positions == Positions::kScaledRotary);
    h.softcap = keys.number_or("final_logit_softcapping", 0);
    if (h.softcap < 0)
      fail("{}: {}, expected 0 or more", keys.full("final_logit_softcapping"), h.softcap);
    h.window =
        static_cast<int>(keys.integer_or("attention.sliding_window", 0, 0, int64_t{1} << 30));
  }
  return h;
}

void rope_factors(program::Builder& b, Hyperparameters& h) {
  h.rope.factors =
      h.rope_freqs ? b.weight("rope_freqs.weight") : b.optional_weight("rope_freqs.weight");
  const program::WeightId far = h.long_rope ? b.weight("rope_factors_long.weight")
                                            : b.optional_weight("rope_factors_long.weight");
  if (far == program::kNone) return;
  h.rope.factors = b.weight("rope_factors_short.weight");
  h.rope.long_factors = far;
}

std::vector<bool> sliding_layers(Keys& keys, const Hyperparameters& h, int64_t period) {
  std::vector<bool> sliding =
      keys.sliding_layers("attention.sliding_window_pattern", period, h.layers);
  if (h.window == 0) sliding.assign(sliding.size(), false);
  return sliding;
}

std::string layer_name(int layer, std::string_view part) {
  return fmt::format("blk.{}.{}", layer, part);
}

namespace {

struct Rows {
  program::ValueId q, k, v;
  program::ValueId gate = program::kNone;
};

Rows query_key_value(program::Builder& b, program::ValueId x, int layer, const AttentionLayer& a) {
  const auto name = [&](std::string_view part) { return layer_name(layer, part); };
  if (a.query_gated) {
    const program::ValueId all = b.linear("q and gate", x, name("attn_q"));
    const auto half = [&](std::string_view what, int64_t begin) {
      return b.op(what, program::Slice{all, begin, a.key_dim, a.heads});
    };
    const program::ValueId q = half("q", 0), k = b.linear("k", x, name("attn_k"));
    return {q, k, b.linear("v", x, name("attn_v")), half("attention gate", a.key_dim)};
  }
  if (b.optional_weight(name("attn_qkv.weight")) == program::kNone)
    return {b.linear("q", x, name("attn_q")), b.linear("k", x, name("attn_k")),
            b.linear("v", x, name("attn_v"))};
  const program::ValueId all = b.linear("qkv", x, name("attn_qkv"));
  const int64_t q = int64_t{a.heads} * a.key_dim;
  const int64_t k = int64_t{a.kv_heads} * a.key_dim;
  const int64_t v = int64_t{a.kv_heads} * a.value_dim;
  return {b.op("q", program::Slice{all, 0, q}), b.op("k", program::Slice{all, q, k}),
          b.op("v", program::Slice{all, q + k, v})};
}

}  // namespace

program::ValueId self_attention(program::Builder& b, program::ValueId x, int layer,
                                const AttentionLayer& a) {
  const auto name = [&](std::string_view part) { return layer_name(layer, part); };
  auto [q, k, v, gate] = query_key_value(b, x, layer, a);
  const auto norm = [&] {
    q = rms_norm(b, "q norm", q, name("attn_q_norm"), a.epsilon);
    k = rms_norm(b, "k norm", k, name("attn_k_norm"), a.epsilon);
  };
  if (a.norms == HeadNorms::kHeads || a.norms == HeadNorms::kRow) norm();
  if (a.norms == HeadNorms::kEveryHead) {
    const auto every_head = [&](std::string_view what, program::ValueId value,
                                std::string_view part) {
      return b.op(what, program::LayerNorm{value, b.weight(name(part)), program::kNone, a.epsilon,
                                           a.key_dim});
    };
    q = every_head("q norm", q, "attn_q_norm.weight");
    k = every_head("k norm", k, "attn_k_norm.weight");
  }
  if (a.rope) {
    program::Rope rope = *a.rope;
    rope.x = q;
    q = b.op("q rope", rope);
    rope.x = k;
    k = b.op("k rope", rope);
  }
  if (a.norms == HeadNorms::kHeadsAfterRope) norm();
  if (a.norms == HeadNorms::kUnweighedAfterRope) {
    q = b.op("q norm", program::RmsNorm{q, program::kNone, a.epsilon, a.key_dim});
    k = b.op("k norm", program::RmsNorm{k, program::kNone, a.epsilon, a.key_dim});
  }
  if (a.query_scale) {
    program::PositionScale scale = *a.query_scale;
    scale.x = q;
    q = b.op("q scaled", scale);
  }
  const program::StateId kv = b.kv_state(a.kv_heads, a.key_dim, a.value_dim);
  const float scale = a.scale > 0 ? a.scale : 1.0F / std::sqrt(static_cast<float>(a.key_dim));
  program::ValueId out = b.op(
      "attention",
      program::Attention{.q = q,
                         .k = k,
                         .v = v,
                         .state = kv,
                         .heads = a.heads,
                         .window = a.window,
                         .scale = scale,
                         .softcap = a.softcap,
                         .sinks = a.sinks ? b.weight(name("attn_sinks.weight")) : program::kNone,
                         .chunked = a.chunked});
  if (a.gated) gate = b.linear("attention gate", x, name("attn_gate"));
  if (gate != program::kNone)
    out = b.op("gated attention", program::Gate{gate, out, program::Function::kSigmoid});
  return b.linear("attention output", out, name("attn_output"));
}

program::WeightId output_weight(program::Builder& builder) {
  const program::WeightId own = builder.optional_weight("output.weight");
  return own != program::kNone ? own : builder.weight("token_embd.weight");
}

program::ValueId rms_norm(program::Builder& builder, std::string_view name, program::ValueId x,
                          std::string_view tensor, float epsilon) {
  const program::WeightId weight = builder.weight(fmt::format("{}.weight", tensor));
  const int64_t group = builder.weight_shape(weight).back();
  return builder.op(name, program::RmsNorm{x, weight, epsilon, group});
}

program::ValueId layer_norm(program::Builder& builder, std::string_view name, program::ValueId x,
                            std::string_view tensor, float epsilon) {
  return builder.op(
      name, program::LayerNorm{x, builder.weight(fmt::format("{}.weight", tensor)),
                               builder.optional_weight(fmt::format("{}.bias", tensor)), epsilon});
}

program::ValueId residual(program::Builder& b, std::string_view name, program::ValueId x,
                          program::ValueId branch, float scale) {
  if (scale != 1) branch = b.op("scaled", program::Scale{branch, scale});
  return b.op(name, program::Add{x, branch});
}

program::ValueId feed_forward(program::Builder& b, program::ValueId x, int layer,
                              program::Function function, std::string_view suffix) {
  const auto name = [&](std::string_view part) {
    return fmt::format("blk.{}.ffn_{}{}", layer, part, suffix);
  };
  const program::ValueId gate = b.linear("gate", x, name("gate"));
  const program::ValueId up = b.linear("up", x, name("up"));
  return b.linear("down", b.op("gated", program::Gate{gate, up, function}), name("down"));
}

program::ValueId plain_feed_forward(program::Builder& b, program::ValueId x, int layer,
                                    program::Function function, std::string_view suffix) {
  const auto name = [&](std::string_view part) {
    return fmt::format("blk.{}.ffn_{}{}", layer, part, suffix);
  };
  const program::ValueId up = b.linear("up", x, name("up"));
  return b.linear("down", b.op("activated", program::Activation{up, function}), name("down"));
}

program::ValueId fused_feed_forward(program::Builder& b, program::ValueId x, int layer,
                                    program::Function function) {
  const program::ValueId all = b.linear("gate and up", x, layer_name(layer, "ffn_up"));
  const int64_t hidden = b.weight_shape(b.weight(layer_name(layer, "ffn_up.weight"))).front() / 2;
  const program::ValueId gate = b.op("gate", program::Slice{all, 0, hidden});
  const program::ValueId up = b.op("up", program::Slice{all, hidden, hidden});
  return b.linear("down", b.op("gated", program::Gate{gate, up, function}),
                  layer_name(layer, "ffn_down"));
}

ExpertChoice read_experts(Keys& keys, ExpertChoice c) {
  c.used = static_cast<int>(keys.integer_or("expert_used_count", c.used, 0, 1024));
  if (c.used == 0) return c;
  const int64_t gating = keys.integer_or("expert_gating_func", 0, 0, 3);  // as llama.cpp counts
  if (gating == 1) c.gating = program::Gating::kSoftmax;
  if (gating == 2) c.gating = program::Gating::kSigmoid;
  if (gating == 3) c.gating = program::Gating::kSoftmaxOfChosen;
  const bool usual = keys.flag_or("norm_top_k_prob", c.normalise);  // ollama's name of it
  c.normalise = keys.flag_or("expert_weights_norm", usual);
  if (const float scale = keys.number_or("expert_weights_scale", c.scale); scale != 0)
    c.scale = scale;
  const auto count = [&](std::string_view name, int otherwise) {
    return static_cast<int>(keys.integer_or(name, otherwise, 0, 1024));
  };
  c.group_count = std::max(1, count("expert_group_count", c.group_count));
  c.group_used = std::max(1, count("expert_group_used_count", c.group_count));
  c.dense_layers = count("leading_dense_block_count", c.dense_layers);
  c.step = std::max(1, count("interleave_moe_layer_step", c.step));
  count("expert_shared_count", 0);  // the tensors tell
  return c;
}

program::Experts experts_of(program::Builder& b, program::ValueId x, int layer,
                            program::Function function, const ExpertChoice& choice) {
  const auto name = [&](std::string_view part) {
    return fmt::format("blk.{}.ffn_{}", layer, part);
  };
  const auto optional = [&](std::string_view part) { return b.optional_weight(name(part)); };
  program::Experts e{.x = x,
                     .router = b.weight(name("gate_inp.weight")),
                     .gate = optional("gate_up_exps.weight"),
                     .up = program::kNone,
                     .down = b.weight(name("down_exps.weight")),
                     .used = choice.used,
                     .normalise = choice.normalise,
                     .function = function,
                     .gating = choice.gating,
                     .scale = choice.scale,
                     .group_count = choice.group_count,
                     .group_used = choice.group_used,
                     .weights_first = choice.weights_first};
  if (!choice.gated) {
    e.gated = false;
    e.gate = b.weight(name("up_exps.weight"));
    e.gate_bias = optional("up_exps.bias");
  } else if (e.gate == program::kNone) {
    e.gate = b.weight(name("gate_exps.weight"));
    e.up = b.weight(name("up_exps.weight"));
    e.gate_bias = optional("gate_exps.bias");
    e.up_bias = optional("up_exps.bias");
  } else {
    e.gate_bias = optional("gate_up_exps.bias");
  }
  e.router_bias = optional("gate_inp.bias");
  e.selection_bias = b.optional_weight(layer_name(layer, "exp_probs_b.bias"));
  e.down_bias = optional("down_exps.bias");
  e.down_scale = optional("down_exps.scale");
  return e;
}

program::ValueId mixture(program::Builder& b, program::ValueId x, int layer,
                         program::Function function, const ExpertChoice& choice) {
  if (!choice.in_layer(layer)) return feed_forward(b, x, layer, function);
  program::ValueId out = b.op("experts", experts_of(b, x, layer, function, choice));
  const auto has = [&](std::string_view part) {
    return b.optional_weight(layer_name(layer, part)) != program::kNone;
  };
  if (!choice.shared_weighed && !has("ffn_gate_shexp.weight") && !has("ffn_down_shexp.weight"))
    return out;
  program::ValueId shared = feed_forward(b, x, layer, function, "_shexp");
  if (choice.shared_weighed)
    shared = b.op(
        "shared expert weighed",
        program::Gate{b.linear("shared expert weight", x, layer_name(layer, "ffn_gate_inp_shexp")),
                      shared, program::Function::kSigmoid});
  return b.op("all experts", program::Add{out, shared});
}

program::ValueId logits_of(program::Builder& builder, program::ValueId rows,
                           const Hyperparameters& h, float logit_scale) {
  program::ValueId x = builder.op(
      "logits",
      program::Linear{rows, output_weight(builder), builder.optional_weight("output.bias")});
  if (logit_scale != 1) x = builder.op("scaled logits", program::Scale{x, logit_scale});
  return h.softcap > 0 ? builder.op("capped logits", program::Softcap{x, h.softcap}) : x;
}

program::ValueId rms_logits(program::Builder& builder, program::ValueId x, const Hyperparameters& h,
                            float logit_scale) {
  builder.scope("");
  x = builder.op("rows", program::SelectRows{x});
  x = rms_norm(builder, "final norm", x, "output_norm", h.epsilon);
  return logits_of(builder, x, h, logit_scale);
}

namespace {

std::string drafter_name(const Hyperparameters& h, std::string_view part) {
  return layer_name(h.layers, fmt::format("nextn.{}", part));
}

}  // namespace

bool has_drafter(const program::Builder& builder, const Hyperparameters& h) {
  return builder.has(drafter_name(h, "eh_proj.weight"));
}

program::ValueId kept_logits(program::Builder& builder, program::ValueId x,
                             const Hyperparameters& h) {
  builder.scope("");
  x = rms_norm(builder, "final norm", x, "output_norm", h.epsilon);
  builder.op("kept", program::KeepRows{x});
  return logits_of(builder, builder.op("rows", program::SelectRows{x}), h, 1);
}

program::ValueId drafter_input(program::Builder& builder, const Hyperparameters& h) {
  builder.scope("drafter");
  program::WeightId table = builder.optional_weight(drafter_name(h, "embed_tokens.weight"));
  if (table == program::kNone) table = builder.weight("token_embd.weight");
  const program::ValueId token = builder.op("embedding", program::Embed{builder.tokens(), table});
  const program::ValueId kept = builder.op("kept", program::KeptRows{builder.width(token)});
  return builder.linear(
      "input",
      builder.op("token and kept",
                 program::Concat{
                     rms_norm(builder, "token norm", token, drafter_name(h, "enorm"), h.epsilon),
                     rms_norm(builder, "kept norm", kept, drafter_name(h, "hnorm"), h.epsilon)}),
      drafter_name(h, "eh_proj"));
}

program::ValueId drafter_logits(program::Builder& builder, program::ValueId x,
                                const Hyperparameters& h) {
  const auto own = [&](std::string_view part, std::string_view usual) {
    return builder.has(drafter_name(h, fmt::format("{}.weight", part))) ? drafter_name(h, part)
                                                                        : std::string(usual);
  };
  x = rms_norm(builder, "final norm", x, own("shared_head_norm", "output_norm"), h.epsilon);
  builder.op("kept", program::KeepRows{x});
  x = builder.op("rows", program::SelectRows{x});
  const std::string head = drafter_name(h, "shared_head_head.weight");
  return builder.op(
      "logits",
      program::Linear{x, builder.has(head) ? builder.weight(head) : output_weight(builder),
                      program::kNone});
}

}  // namespace outboard::models
