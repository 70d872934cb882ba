#include "models/family.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "support/error.h"

namespace outboard::models {
namespace {

// An integer in [low, high]; hostile files hold anything.
int64_t checked(const std::string& key, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) fail("{}: {}, expected {} to {}", key, value, low, high);
  return value;
}

}  // namespace

std::string arch_key(const formats::Metadata& metadata, std::string_view name) {
  return fmt::format("{}.{}", metadata.get_string("general.architecture"), name);
}

Hyperparameters read_hyperparameters(const formats::Metadata& metadata,
                                     std::string_view epsilon_key) {
  const auto integer = [&](std::string_view name, int64_t low, int64_t high) {
    const std::string key = arch_key(metadata, name);
    return checked(key, metadata.get_int(key), low, high);
  };
  const auto integer_or = [&](std::string_view name, int64_t fallback, int64_t low, int64_t high) {
    const std::string key = arch_key(metadata, name);
    return checked(key, metadata.get_int(key, fallback), low, high);
  };
  const auto number_or = [&](std::string_view name, double fallback) {
    const std::string key = arch_key(metadata, name);
    const double value = metadata.get_float(key, fallback);
    if (!std::isfinite(value) || value <= 0) fail("{}: {}, expected a positive number", key, value);
    return static_cast<float>(value);
  };

  Hyperparameters h;
  h.layers = static_cast<int>(integer("block_count", 1, 1024));
  h.width = integer("embedding_length", 1, 1 << 20);
  h.context_length = integer("context_length", 1, int64_t{1} << 30);
  h.heads = static_cast<int>(integer("attention.head_count", 1, 4096));
  h.kv_heads = static_cast<int>(integer_or("attention.head_count_kv", h.heads, 1, 4096));
  const int64_t head_dim = std::max<int64_t>(1, h.width / h.heads);
  h.key_dim = static_cast<int>(integer_or("attention.key_length", head_dim, 1, 8192));
  h.value_dim = static_cast<int>(integer_or("attention.value_length", h.key_dim, 1, 8192));
  h.rotary = static_cast<int>(integer_or("rope.dimension_count", h.key_dim, 2, h.key_dim));
  h.epsilon = number_or(epsilon_key, 1e-5);
  h.rope_base = number_or("rope.freq_base", 10000);
  h.window = static_cast<int>(integer_or("attention.sliding_window", 0, 0, int64_t{1} << 30));

  std::vector<std::string> refusals;
  const std::string scaling_key = arch_key(metadata, "rope.scaling.type");
  const std::string scaling = metadata.get_string(scaling_key, "none");
  if (scaling == "linear") {
    h.rope_scale = number_or("rope.scaling.factor", 1);
  } else if (scaling != "none" && scaling != "llama3") {  // llama3's is in tensor rope_freqs
    refusals.push_back(fmt::format("{} = \"{}\" (none, linear or llama3)", scaling_key, scaling));
  }
  const auto refuse_unless_zero = [&](std::string_view name) {
    const std::string key = arch_key(metadata, name);
    const double value = metadata.get_float(key, 0);
    if (value != 0) refusals.push_back(fmt::format("{} = {} (0)", key, value));
  };
  refuse_unless_zero("attention.max_alibi_bias");
  refuse_unless_zero("attention.clamp_kqv");
  refuse_unless_zero("attn_logit_softcapping");
  refuse_unless_zero("final_logit_softcapping");
  if (!metadata.get_bool(arch_key(metadata, "attention.causal"), true))
    refusals.push_back(fmt::format("{} = false (true)", arch_key(metadata, "attention.causal")));
  if (!refusals.empty())
    throw Error(
        fmt::format("options that Outboard does not implement: {}", fmt::join(refusals, "; ")),
        "The accepted values stand in brackets.");
  return h;
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

int read_experts_used(const formats::Metadata& metadata) {
  const std::string key = arch_key(metadata, "expert_used_count");
  return static_cast<int>(checked(key, metadata.get_int(key, 0), 0, 1024));
}

program::ValueId feed_forward(program::Builder& b, program::ValueId x, int layer,
                              program::Function function, int experts_used) {
  const auto name = [&](std::string_view part) {
    return fmt::format("blk.{}.ffn_{}", layer, part);
  };
  if (experts_used > 0)
    return b.op("experts", program::Experts{
                               x, b.weight(name("gate_inp.weight")),
                               b.weight(name("gate_exps.weight")), b.weight(name("up_exps.weight")),
                               b.weight(name("down_exps.weight")), experts_used, true, function});
  const program::ValueId gate = b.linear("gate", x, name("gate"));
  const program::ValueId up = b.linear("up", x, name("up"));
  return b.linear("down", b.op("gated", program::Gate{gate, up, function}), name("down"));
}

program::ValueId rms_logits(program::Builder& builder, program::ValueId x,
                            const Hyperparameters& h) {
  builder.scope("");
  x = builder.op("rows", program::SelectRows{x});
  x = rms_norm(builder, "final norm", x, "output_norm", h.epsilon);
  return builder.op(
      "logits", program::Linear{x, output_weight(builder), builder.optional_weight("output.bias")});
}

}  // namespace outboard::models
