// Gemma 4 (Google DeepMind, 2026). On top of Gemma 3: heads of two sizes, for layers with a window
// and without; values without weight in their norm, which may be the keys; layers that attend to an
// earlier layer's keys and values; embeddings of each layer's own (E2B, E4B); experts beside the
// feed-forward layer (26B-A4B); a factor of each layer's output. As llama.cpp's gemma4.cpp has it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

// What one layer's attention is made of.
struct Layer {
  bool slides;
  int heads, kv_heads, head_dim;
  Rope rope;
  int window;
};

struct Gemma4 {
  Hyperparameters h{};
  std::vector<Layer> layers{};
  int own_kv = 0;         // layers from here on have no keys and values of their own
  int64_t per_layer = 0;  // width of a layer's own embedding, 0 for none
  ExpertChoice experts{};
};

Gemma4 read(Keys& keys) {
  Gemma4 g{.h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon", Positions::kRotary,
                                     Heads::kByLayer)};
  Hyperparameters& h = g.h;
  h.rope.neox = true;
  const std::vector<bool> sliding = sliding_layers(keys, h, 6);
  const auto dim = [&](std::string_view name, int64_t otherwise) {
    return static_cast<int>(keys.integer_or(name, otherwise, 8, 8192));
  };
  const int local_dim = dim("attention.key_length_swa", h.key_dim);
  if (h.value_dim != h.key_dim || dim("attention.value_length_swa", local_dim) != local_dim)
    fail("gemma4: heads of keys and of values differ in size, expected the same");
  if (local_dim % 8 != 0) fail("gemma4: heads of {} elements, expected a multiple of 8", local_dim);
  Rope local{.x = kNone,
             .head_dim = local_dim,
             .rotary = static_cast<int>(
                 keys.integer_or("rope.dimension_count_swa", local_dim, 2, local_dim)),
             .base = keys.positive_or("rope.freq_base_swa", h.rope.base),
             .scale = 1,
             .factors = kNone,
             .neox = true};
  for (int i = 0; i < h.layers; ++i) {
    const auto at = static_cast<size_t>(i);
    const bool slides = sliding[at];
    g.layers.push_back({slides, h.layer_heads[at], h.layer_kv_heads[at],
                        slides ? local_dim : h.key_dim, slides ? local : h.rope,
                        slides ? h.window : 0});
  }
  g.own_kv = h.layers -
             static_cast<int>(keys.integer_or("attention.shared_kv_layers", 0, 0, h.layers - 2));
  g.per_layer = keys.integer_or("embedding_length_per_layer_input", 0, 0, 1 << 16);
  g.experts = read_experts(keys);
  return g;
}

// Of all layers side by side: what the first embedding projects to, and the token's own embeddings.
ValueId layer_embeddings(Builder& b, const Gemma4& g, ValueId x) {
  const auto width = static_cast<float>(g.h.width);
  ValueId projected = b.linear("layer projections", x, "per_layer_model_proj");
  projected = b.op("layer projections scaled", Scale{projected, 1 / std::sqrt(width)});
  projected =
      rms_norm(b, "layer projections normed", projected, "per_layer_proj_norm", g.h.epsilon);
  const ValueId own =
      b.op("layer embeddings", Embed{b.tokens(), b.weight("per_layer_token_embd.weight"),
                                     std::sqrt(static_cast<float>(g.per_layer)), true});
  const ValueId sum = b.op("layer inputs", Add{projected, own});
  return b.op("layer inputs scaled", Scale{sum, std::sqrt(0.5F)});
}

ValueId attend(Builder& b, const Gemma4& g, int layer, ValueId n, std::vector<StateId>& states) {
  const Layer& l = g.layers[static_cast<size_t>(layer)];
  const auto name = [&](std::string_view part) { return layer_name(layer, part); };
  const auto turned = [&](std::string_view what, ValueId value) {
    Rope rope = l.rope;
    rope.x = value;
    return b.op(what, rope);
  };
  ValueId q = b.linear("q", n, name("attn_q"));
  q = turned("q rope", rms_norm(b, "q norm", q, name("attn_q_norm"), g.h.epsilon));
  ValueId k = kNone, v = kNone;
  if (layer < g.own_kv) {
    const ValueId raw = b.linear("k", n, name("attn_k"));
    k = turned("k rope", rms_norm(b, "k norm", raw, name("attn_k_norm"), g.h.epsilon));
    const bool own = b.optional_weight(name("attn_v.weight")) != kNone;
    v = b.op("v norm",
             RmsNorm{own ? b.linear("v", n, name("attn_v")) : raw, kNone, g.h.epsilon, l.head_dim});
    states.push_back(b.kv_state(l.kv_heads, l.head_dim, l.head_dim));
  } else {
    // The last two layers with keys of their own are one of each kind.
    const int from = g.own_kv - (l.slides ? 2 : 1);
    if (g.layers[static_cast<size_t>(from)].slides != l.slides)
      fail("gemma4: layer {} has no keys of its own, and layer {} is not of its kind", layer, from);
    states.push_back(states[static_cast<size_t>(from)]);
    // Files may carry what nobody reads.
    for (const char* part : {"attn_k.weight", "attn_v.weight", "attn_k_norm.weight"})
      b.optional_weight(name(part));
  }
  const ValueId out = b.op("attention", Attention{.q = q,
                                                  .k = k,
                                                  .v = v,
                                                  .state = states.back(),
                                                  .heads = l.heads,
                                                  .window = l.window,
                                                  .scale = 1,
                                                  .softcap = 0});
  return b.linear("attention output", out, name("attn_output"));
}

ValueId feed(Builder& b, const Gemma4& g, int layer, ValueId x) {
  const auto norm = [&](std::string_view what, ValueId value, std::string_view tensor) {
    return rms_norm(b, what, value, layer_name(layer, tensor), g.h.epsilon);
  };
  const ValueId m = norm("feed-forward norm", x, "ffn_norm");
  const ValueId f = feed_forward(b, m, layer, Function::kGeluTanh);
  if (!g.experts.in_layer(layer)) return norm("after feed-forward norm", f, "post_ffw_norm");
  const ValueId dense = norm("after dense norm", f, "post_ffw_norm_1");
  Experts e = experts_of(b, norm("experts norm", x, "pre_ffw_norm_2"), layer, Function::kGeluTanh,
                         g.experts);
  // The router has a norm of its own.
  const ValueId routed =
      b.op("router norm",
           RmsNorm{x, b.weight(layer_name(layer, "ffn_gate_inp.scale")), g.h.epsilon, g.h.width});
  e.routed = b.op("router input", Scale{routed, 1 / std::sqrt(static_cast<float>(g.h.width))});
  const ValueId mixed = norm("after experts norm", b.op("experts", e), "post_ffw_norm_2");
  return norm("after feed-forward norm", b.op("dense and experts", Add{dense, mixed}),
              "post_ffw_norm");
}

Program build(const formats::Model& model, Keys& keys) {
  Gemma4 g = read(keys);
  Builder b(model, "gemma4");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight"),
                                      std::sqrt(static_cast<float>(g.h.width))});
  // Full layers turn a part of each head: the others' factors are so large that they stand still.
  const WeightId factors = b.weight("rope_freqs.weight");
  for (Layer& layer : g.layers)
    if (!layer.slides) layer.rope.factors = factors;
  const ValueId inputs = g.per_layer > 0 ? layer_embeddings(b, g, x) : kNone;
  std::vector<StateId> states;
  for (int layer = 0; layer < g.h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto name = [&](std::string_view part) { return layer_name(layer, part); };
    const ValueId n = rms_norm(b, "attention norm", x, name("attn_norm"), g.h.epsilon);
    const ValueId out = attend(b, g, layer, n, states);
    x = residual(
        b, "attention residual", x,
        rms_norm(b, "after attention norm", out, name("post_attention_norm"), g.h.epsilon));
    x = residual(b, "feed-forward residual", x, feed(b, g, layer, x));
    if (inputs != kNone) {
      const ValueId gate = b.linear("layer gate", x, name("inp_gate"));
      const ValueId own = b.op("layer input", Slice{inputs, layer * g.per_layer, g.per_layer});
      const ValueId gated = b.op("layer input gated", Gate{gate, own, Function::kGeluTanh});
      const ValueId y = b.linear("layer input projected", gated, name("proj"));
      x = residual(b, "layer input residual", x,
                   rms_norm(b, "after layer input norm", y, name("post_norm"), g.h.epsilon));
    }
    const WeightId scale = b.optional_weight(name("layer_output_scale.weight"));
    if (scale != kNone) x = b.op("scaled output", Scale{x, 1, scale});
  }
  return b.finish(rms_logits(b, x, g.h), g.h.context_length);
}

constexpr std::string_view kArchitectures[] = {"gemma4"};

// --- Hugging Face's folders ---

// Of a list of numbers, 0 where it is null.
int64_t count_of(const formats::HfConfigWriter& w, std::string_view field, int64_t usual) {
  const std::string name(field);
  const int64_t count =
      formats::json_int(w.config(), field).value_or(w.config().contains(name) ? 0 : usual);
  if (count < 0) fail("{}: found {}, expected 0 or more", field, count);
  return count;
}

// How layers of a kind turn: rope_parameters, by layer type.
const formats::Json& rotation_of(const formats::HfConfigWriter& w, std::string_view kind) {
  static const formats::Json kNone = formats::Json::object();
  const formats::Json* all = formats::json_field(w.config(), "rope_parameters");
  const formats::Json* one = all != nullptr ? formats::json_field(*all, kind) : nullptr;
  return one != nullptr ? *one : kNone;
}

void write_rotation(formats::HfConfigWriter& w, int64_t local, int64_t global) {
  const formats::Json& full = rotation_of(w, "full_attention");
  const formats::Json& sliding = rotation_of(w, "sliding_attention");
  const std::string kind = formats::json_string(full, "rope_type").value_or("proportional");
  const double part = formats::json_number(full, "partial_rotary_factor").value_or(0.25);
  if (kind != "proportional" || !(part > 0 && part <= 1) ||
      formats::json_number(full, "factor").value_or(1) != 1)
    fail(
        "rope_parameters: full_attention: found rope_type \"{}\" and partial_rotary_factor {}, "
        "expected \"proportional\", more than 0 and at most 1, and no factor",
        kind, part);
  if (formats::json_string(sliding, "rope_type").value_or("default") != "default" ||
      formats::json_number(sliding, "partial_rotary_factor").value_or(1) != 1)
    fail("rope_parameters: sliding_attention: expected rope_type \"default\", whole heads");
  w.set("rope.freq_base", formats::json_number(full, "rope_theta").value_or(1e6));
  w.set("rope.freq_base_swa", formats::json_number(sliding, "rope_theta").value_or(1e4));
  w.set("rope.dimension_count", global);
  w.set("rope.dimension_count_swa", local);
  // Pairs that stand still have divisors so large that they do (llama.cpp, conversion/gemma.py).
  std::vector<float> factors(static_cast<size_t>(global / 2), 1e30F);
  std::fill_n(factors.begin(), static_cast<int64_t>(static_cast<double>(global) * part / 2), 1.0F);
  w.add_tensor("rope_freqs.weight", std::move(factors));
}

void write_config(formats::HfConfigWriter& w) {
  const formats::Json& config = w.config();
  const int64_t local = w.write_sizes();
  const int64_t global = w.optional_size("global_head_dim").value_or(512);
  for (const char* key : {"attention.key_length", "attention.value_length"}) {
    w.set(key, global);
    w.set(fmt::format("{}_swa", key), local);
  }
  w.write_windows(512, 6);
  const int64_t layers = w.size("num_hidden_layers");
  const int64_t shared = count_of(w, "num_kv_shared_layers", 0);
  w.set("attention.shared_kv_layers", shared);
  w.set("embedding_length_per_layer_input", count_of(w, "hidden_size_per_layer_input", 256));
  const int64_t local_kv = w.optional_size("num_key_value_heads").value_or(4);
  const bool values_are_keys = formats::json_bool(config, "attention_k_eq_v").value_or(false);
  const int64_t global_kv =
      values_are_keys ? w.optional_size("num_global_key_value_heads").value_or(local_kv) : local_kv;
  const bool wide = formats::json_bool(config, "use_double_wide_mlp").value_or(false);
  const int64_t hidden = w.size("intermediate_size");
  const auto sliding = formats::sliding_layers(config);
  std::vector<int64_t> kv_heads, all_hidden;
  for (int64_t layer = 0; layer < layers; ++layer) {
    const bool slides = sliding ? sliding->at(static_cast<size_t>(layer)) : (layer + 1) % 6 != 0;
    kv_heads.push_back(slides ? local_kv : global_kv);
    all_hidden.push_back(wide && layer >= layers - shared ? 2 * hidden : hidden);
  }
  w.set("attention.head_count_kv", kv_heads);
  w.set("feed_forward_length", all_hidden);
  if (formats::json_bool(config, "enable_moe_block").value_or(false)) {
    w.set("expert_count", w.size("num_experts"));
    w.set("expert_used_count", w.size("top_k_experts"));
    w.set("expert_feed_forward_length", w.size("moe_intermediate_size"));
  }
  if (const double cap = formats::json_number(config, "final_logit_softcapping").value_or(0))
    w.set("final_logit_softcapping", cap);
  write_rotation(w, local, global);
}

constexpr formats::KnownField kFields[] = {
    {"hidden_activation", R"(["gelu_pytorch_tanh"])"},
    {"sliding_window"},
    {"layer_types", {}, formats::lists_layers},
    {"global_head_dim"},
    {"num_global_key_value_heads"},
    {"attention_k_eq_v"},
    {"num_kv_shared_layers"},
    {"use_double_wide_mlp"},
    {"hidden_size_per_layer_input"},
    {"vocab_size_per_layer_input",
     {},
     [](const formats::Json& config, const formats::Json& size) {
       return size == config.value("vocab_size", int64_t{262144});
     }},
    {"enable_moe_block"},
    {"num_experts"},
    {"top_k_experts"},
    {"moe_intermediate_size"},
    {"final_logit_softcapping"},
    // Of pictures' tokens alone.
    {"use_bidirectional_attention", R"(["vision"])"},
    // Its eyes and ears; only its text is used.
    {"vision_config"},
    {"audio_config"},
    {"vision_soft_tokens_per_image"},
    {"boi_token_id"},
    {"eoi_token_id"},
    {"boa_token_id"},
    {"eoa_token_id"},
    {"eoa_token_index"},
    {"image_token_id"},
    {"video_token_id"},
    {"audio_token_id"},
};
constexpr formats::KnownField kRopeFields[] = {{"partial_rotary_factor"}};

constexpr formats::HfRename kTensors[] = {
    {"embed_tokens", "token_embd"},
    {"norm", "output_norm"},
    {"lm_head", "output"},
    {"embed_tokens_per_layer", "per_layer_token_embd"},
    {"per_layer_model_projection", "per_layer_model_proj"},
    {"per_layer_projection_norm", "per_layer_proj_norm"},
};
constexpr formats::HfRename kLayerTensors[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"post_attention_layernorm", "post_attention_norm"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
    {"layer_scalar", "layer_output_scale.weight"},
    {"per_layer_input_gate", "inp_gate"},
    {"per_layer_projection", "proj"},
    {"post_per_layer_input_norm", "post_norm"},
    {"router.proj", "ffn_gate_inp"},
    {"router.scale", "ffn_gate_inp.scale"},
    {"router.per_expert_scale", "ffn_down_exps.scale"},
    {"experts.gate_up_proj", "ffn_gate_up_exps.weight"},
    {"experts.down_proj", "ffn_down_exps.weight"},
    {"pre_feedforward_layernorm_2", "pre_ffw_norm_2"},
    {"post_feedforward_layernorm_1", "post_ffw_norm_1"},
    {"post_feedforward_layernorm_2", "post_ffw_norm_2"},
};
constexpr std::string_view kUnneededTensors[] = {"vision_tower.", "audio_tower.", "embed_vision.",
                                                 "embed_audio."};

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "gemma4",
     .text_model_type = "gemma4_text",
     .architecture = "gemma4",
     .write = write_config,
     .positions = formats::HfPositions::kRotaryByLayerType,
     .defaults =
         {.vocabulary = 262144, .context = 131072, .heads = 8, .kv_heads = 4, .head_dim = 256},
     .tied_embeddings = true,
     .fields = kFields,
     .rope_fields = kRopeFields,
     .tensors = kTensors,
     .layer_tensors = kLayerTensors,
     .unneeded_tensors = kUnneededTensors,
     .never_spaces_prefix = true,
     .merges_pieces_in_order = true},
};

}  // namespace

constinit const Family families::gemma4 = {kArchitectures, build, kFolders};

}  // namespace outboard::models
