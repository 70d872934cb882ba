// DeepSeek V2 and V3 and what is built like them (arXiv:2405.04434, 2412.19437): GLM-4.7-Flash,
// DeepSeek V2 Lite, Kanana 2, GigaChat 3. Multi-head latent attention in its absorbed form: of each
// position one latent is kept, which is the key of all heads and, without the part that turns,
// their value. Some dense layers first, then experts, with shared ones beside them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

struct Latent {
  int nope;     // elements of a head that do not turn
  int rotary;   // ... and that do
  int rank;     // elements of the latent
  float scale;  // of scores
  std::optional<PositionScale> query_scale;
};

Latent read_latent(Keys& keys, const Hyperparameters& h) {
  Latent l{};
  const auto key_dim = static_cast<int>(keys.integer("attention.key_length_mla", 8, 8192));
  l.rotary = h.rope.rotary;
  l.nope = key_dim - l.rotary;
  l.rank = static_cast<int>(keys.integer("attention.kv_lora_rank", 8, 1 << 16));
  keys.integer("attention.value_length_mla", 8, 8192);  // the tensors tell
  if (l.nope < 1 || l.rank % 8 != 0 || l.rotary % 8 != 0)
    fail("{}: latents of {} elements, heads of {} of which {} turn: expected multiples of 8",
         keys.architecture(), l.rank, key_dim, l.rotary);
  // The converter wrote a tenth of the multiplier, which is what its formula wants (llama.cpp,
  // deepseek2.cpp).
  const float magnitude = h.rope.magnitude * (1 + h.yarn_log_multiplier * std::log(h.rope.scale));
  l.scale = magnitude * magnitude / std::sqrt(static_cast<float>(key_dim));
  if (const float by_position = keys.number_or("attention.temperature_scale", 0); by_position != 0)
    l.query_scale = PositionScale{kNone, by_position,
                                  keys.positive_or("attention.temperature_length", 8192), 0};
  return l;
}

ValueId attend(Builder& b, const Hyperparameters& h, const Latent& l, int layer, ValueId n) {
  const auto name = [&](std::string_view part) { return layer_name(layer, part); };
  const auto turned = [&](std::string_view what, ValueId value) {
    Rope rope = h.rope;
    rope.x = value;
    rope.head_dim = l.rotary;
    return b.op(what, rope);
  };
  ValueId q;
  if (b.optional_weight(name("attn_q_a.weight")) != kNone) {
    q = b.linear("q latent", n, name("attn_q_a"));
    q = rms_norm(b, "q latent norm", q, name("attn_q_a_norm"), h.epsilon);
    q = b.linear("q", q, name("attn_q_b"));
  } else {
    q = b.linear("q", n, name("attn_q"));
  }
  const ValueId q_still = b.op("q still", Slice{q, 0, l.nope, h.heads});
  const ValueId q_turned = turned("q rope", b.op("q turning", Slice{q, l.nope, l.rotary, h.heads}));
  const ValueId absorbed =
      b.op("q absorbed", Linear{q_still, b.weight(name("attn_k_b.weight")), kNone});
  q = b.op("q of latents", Concat{absorbed, q_turned, h.heads});
  if (l.query_scale) {
    PositionScale scale = *l.query_scale;
    scale.x = q;
    q = b.op("q scaled", scale);
  }
  const ValueId kv = b.linear("kv latent", n, name("attn_kv_a_mqa"));
  const ValueId latent = rms_norm(b, "kv latent norm", b.op("latent", Slice{kv, 0, l.rank}),
                                  name("attn_kv_a_norm"), h.epsilon);
  const ValueId k_turned = turned("k rope", b.op("k turning", Slice{kv, l.rank, l.rotary}));
  const ValueId k = b.op("k", Concat{latent, k_turned});
  const ValueId a = b.op("attention", Attention{.q = q,
                                                .k = k,
                                                .v = kNone,
                                                .state = b.latent_state(l.rank + l.rotary, l.rank),
                                                .heads = h.heads,
                                                .window = 0,
                                                .scale = l.scale,
                                                .softcap = 0});
  const ValueId values = b.op("values", Linear{a, b.weight(name("attn_v_b.weight")), kNone});
  return b.linear("attention output", values, name("attn_output"));
}

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon");
  // Where YaRN has a multiplier all of its magnitude goes into the scores, none into the rope
  // (llama.cpp, llama-context.cpp).
  if (h.yarn_log_multiplier != 0)
    h.rope.magnitude *=
        yarn_magnitude(h.rope.scale, h.yarn_log_multiplier) / yarn_magnitude(h.rope.scale, 1);
  if (!model.find("blk.0.attn_k_b.weight"))
    throw Error(
        "tensor blk.0.attn_k_b.weight: not in the file",
        "Files of before April 2025 have attn_kv_b instead, from which keys and values would "
        "be made of every position anew; get a newer file of this model.");
  const Latent latent = read_latent(keys, h);
  keys.integer_or("attention.q_lora_rank", 0, 0, 1 << 20);  // the tensors tell
  // GLM-4.7-Flash's first files do not say how they gate.
  const bool glm =
      h.layers >= 46 && h.layers <= 48 && model.get("token_embd.weight").rows() == 154880;
  const ExpertChoice experts =
      read_experts(keys, {.gating = glm ? Gating::kSigmoid : Gating::kSoftmax, .normalise = false});

  Builder b(model, "deepseek2");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    ValueId n = rms_norm(b, "attention norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    x = residual(b, "attention residual", x, attend(b, h, latent, layer, n));
    n = rms_norm(b, "feed-forward norm", x, layer_name(layer, "ffn_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x, mixture(b, n, layer, Function::kSilu, experts));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"deepseek2"};

// --- Hugging Face's folders ---

constexpr int64_t kSoftmax = 1, kSigmoid = 2;  // as llama.cpp counts gating functions

// Layers without experts, which are the first ones. GLM's newer configurations list the kinds.
int64_t dense_layers(const formats::Json& config, int64_t usual) {
  const formats::Json* kinds = formats::json_field(config, "mlp_layer_types");
  if (kinds == nullptr) return formats::json_int(config, "first_k_dense_replace").value_or(usual);
  if (!kinds->is_array()) fail("mlp_layer_types: expected a list of names");
  const auto first = std::find(kinds->begin(), kinds->end(), "sparse");
  if (std::find_if(kinds->begin(), first, [](const auto& kind) { return kind != "dense"; }) !=
          first ||
      std::find_if(first, kinds->end(), [](const auto& kind) { return kind != "sparse"; }) !=
          kinds->end())
    fail("mlp_layer_types: expected \"dense\" layers and \"sparse\" ones behind them");
  return first - kinds->begin();
}

void write_config(formats::HfConfigWriter& w, int64_t gating) {
  w.write_sizes();
  const int64_t rank = w.size("kv_lora_rank"), turned = w.size("qk_rope_head_dim");
  w.set("attention.head_count_kv", int64_t{1});
  w.set("attention.key_length", rank + turned);
  w.set("attention.value_length", rank);
  w.set("attention.key_length_mla", w.size("qk_nope_head_dim") + turned);
  w.set("attention.value_length_mla", w.size("v_head_dim"));
  w.set("attention.kv_lora_rank", rank);
  if (const auto q_rank = w.optional_size("q_lora_rank")) w.set("attention.q_lora_rank", *q_rank);
  w.set("rope.dimension_count", turned);
  w.write_rope(turned);

  const formats::Json& config = w.config();
  w.set("leading_dense_block_count", dense_layers(config, gating == kSigmoid ? 1 : 0));
  w.set("expert_count", w.size("n_routed_experts"));
  w.set("expert_used_count", w.size("num_experts_per_tok"));
  w.set("expert_feed_forward_length", w.size("moe_intermediate_size"));
  w.set("expert_gating_func", gating);
  w.set("expert_weights_scale", formats::json_number(config, "routed_scaling_factor").value_or(1));
  w.set_flag("expert_weights_norm",
             formats::json_bool(config, "norm_topk_prob").value_or(gating == kSigmoid));
  if (const auto groups = w.optional_size("n_group")) w.set("expert_group_count", *groups);
  if (const auto used = w.optional_size("topk_group")) w.set("expert_group_used_count", *used);
  if (const auto shared = w.optional_size("n_shared_experts"))
    w.set("expert_shared_count", *shared);
}

// Version 2 takes a group's best expert for the group, version 3 its best two, as here.
bool knows_groups(const formats::Json& config, const formats::Json& method) {
  return method == "noaux_tc" || method == "greedy" ||
         formats::json_int(config, "n_group").value_or(1) == 1;
}

constexpr formats::KnownField kFields[] = {
    {"hidden_act", R"(["silu"])"},
    {"kv_lora_rank"},
    {"q_lora_rank"},
    {"qk_rope_head_dim"},
    {"qk_nope_head_dim"},
    {"v_head_dim"},
    {"qk_head_dim",
     {},
     [](const formats::Json& config, const formats::Json& size) {
       return size == config.value("qk_nope_head_dim", 0) + config.value("qk_rope_head_dim", 0);
     }},
    // Pairs are neighbours in folders as well.
    {"rope_interleave", "[true]"},
    {"n_routed_experts"},
    {"n_shared_experts"},
    {"num_experts_per_tok"},
    {"moe_intermediate_size"},
    {"first_k_dense_replace"},
    {"mlp_layer_types"},
    {"routed_scaling_factor"},
    {"norm_topk_prob"},
    {"n_group"},
    {"topk_group"},
    {"topk_method", {}, knows_groups},
    {"scoring_func"},  // of one kind in each version
    {"moe_layer_freq", "[1]"},
    {"num_local_experts"},  // n_routed_experts by another name
    {"auto_map"},           // the publication's own code, which transformers has, too
    {"num_nextn_predict_layers"},
    // Training's, and how work is shared out.
    {"aux_loss_alpha"},
    {"seq_aux"},
    {"ep_size"},
    {"router_aux_loss_coef"},
    {"output_router_logits"},
};

constexpr formats::HfRename kLayerTensors[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.q_a_proj", "attn_q_a"},
    {"self_attn.q_a_layernorm", "attn_q_a_norm"},
    {"self_attn.q_b_proj", "attn_q_b"},
    {"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa"},
    {"self_attn.kv_a_layernorm", "attn_kv_a_norm"},
    {"self_attn.kv_b_proj", "attn_kv_b"},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate", "ffn_gate_inp"},
    {"mlp.gate.e_score_correction_bias", "exp_probs_b.bias"},
    {"mlp.experts.*.gate_proj", "ffn_gate_exps"},
    {"mlp.experts.*.up_proj", "ffn_up_exps"},
    {"mlp.experts.*.down_proj", "ffn_down_exps"},
    {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
    {"mlp.shared_experts.down_proj", "ffn_down_shexp"},
};

constexpr formats::HfFamily folder(std::string_view model_type,
                                   void (*write)(formats::HfConfigWriter&), double theta,
                                   double epsilon) {
  return {.model_type = model_type,
          .architecture = "deepseek2",
          .write = write,
          .defaults = {.context = 4096, .rope_theta = theta, .epsilon = epsilon},
          .yarn_of_scores = true,
          .fields = kFields,
          .tensors = kHfTensors,
          .layer_tensors = kLayerTensors,
          .further_layers = true};
}
void write_softmax(formats::HfConfigWriter& w) { write_config(w, kSoftmax); }
void write_sigmoid(formats::HfConfigWriter& w) { write_config(w, kSigmoid); }

constexpr formats::HfFamily kFolders[] = {
    folder("deepseek_v2", write_softmax, 1e4, 1e-6),
    folder("deepseek_v3", write_sigmoid, 1e4, 1e-6),
    folder("glm4_moe_lite", write_sigmoid, 1e6, 1e-5),
};

}  // namespace

constinit const Family families::deepseek2 = {kArchitectures, build, kFolders};

}  // namespace outboard::models
