#include "models/family.h"

#include <algorithm>

#include "support/error.h"

namespace outboard::models {

Hyperparameters read_hyperparameters(Keys& keys, std::string_view epsilon_key,
                                     Positions positions) {
  Hyperparameters h;
  h.layers = static_cast<int>(keys.integer("block_count", 1, 1024));
  h.width = keys.integer("embedding_length", 1, 1 << 20);
  h.context_length = keys.integer("context_length", 1, int64_t{1} << 30);
  h.heads = static_cast<int>(keys.integer("attention.head_count", 1, 4096));
  h.kv_heads = static_cast<int>(keys.integer_or("attention.head_count_kv", h.heads, 1, 4096));
  const int64_t head_dim = std::max<int64_t>(1, h.width / h.heads);
  h.key_dim = static_cast<int>(keys.integer_or("attention.key_length", head_dim, 1, 8192));
  h.value_dim = static_cast<int>(keys.integer_or("attention.value_length", h.key_dim, 1, 8192));
  if (h.heads % h.kv_heads != 0)
    fail("{}: {}, expected a divisor of the {} heads", keys.full("attention.head_count_kv"),
         h.kv_heads, h.heads);
  for (const int dim : {h.key_dim, h.value_dim})
    if (dim % 8 != 0)
      throw Error(
          fmt::format("{}: heads of {} elements, expected a multiple of 8", keys.architecture(),
                      dim),
          "Outboard does not run models with such heads yet (OpenLLaMA 3B has 100); choose another "
          "size or a model of another family.");
  h.epsilon = keys.number(epsilon_key);
  if (h.epsilon < 0) fail("{}: {}, expected 0 or more", keys.full(epsilon_key), h.epsilon);

  if (positions != Positions::kLearned) {
    h.rotary = static_cast<int>(keys.integer_or("rope.dimension_count", h.key_dim, 2, h.key_dim));
    if (h.rotary % 2 != 0)
      fail("{}: {}, expected an even number: pairs are turned", keys.full("rope.dimension_count"),
           h.rotary);
    h.rope_base = keys.positive_or("rope.freq_base", 10000);
    h.softcap = keys.number_or("final_logit_softcapping", 0);
    if (h.softcap < 0)
      fail("{}: {}, expected 0 or more", keys.full("final_logit_softcapping"), h.softcap);
    h.window =
        static_cast<int>(keys.integer_or("attention.sliding_window", 0, 0, int64_t{1} << 30));
    // Files of 2023 have the older key. Without a type a factor is linear (llama.cpp,
    // docs/gguf.md); 0 stands for none.
    const std::string type = keys.text_or("rope.scaling.type", "linear");
    const char* key =
        keys.contains("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    const float factor = keys.number_or(key, 1);
    if (type == "linear") {
      h.rope_scale = factor == 0 ? 1 : keys.positive_or(key, 1);
    } else if (type == "llama3" && positions == Positions::kScaledRotary) {
      h.rope_freqs = true;
    } else if (type != "none") {
      throw Error(fmt::format("{} = \"{}\": Outboard does not implement this scaling",
                              keys.full("rope.scaling.type"), type),
                  "It runs models with none, with linear scaling and with Llama 3.1's.");
    }
  }
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

int read_experts_used(Keys& keys) {
  return static_cast<int>(keys.integer_or("expert_used_count", 0, 0, 1024));
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
  x = builder.op(
      "logits", program::Linear{x, output_weight(builder), builder.optional_weight("output.bias")});
  return h.softcap > 0 ? builder.op("capped logits", program::Softcap{x, h.softcap}) : x;
}

}  // namespace outboard::models
