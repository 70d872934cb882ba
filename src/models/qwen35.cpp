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
  bool is_next;     // Qwen3-Next's projections
  bool neighbours;  // heads that share a key head stand side by side

  int64_t keys() const { return key_heads * key_dim; }
  int64_t values() const { return heads * value_dim; }
};

// GGUF's converter puts Qwen 3.5's heads in another order; folders keep them side by side.
Delta read_delta(const formats::Model& model, Keys& keys, float epsilon) {
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
          keys.architecture() == "qwen3next",
          keys.architecture() == "qwen3next" ||
              model.metadata.get_bool("outboard.delta.neighbours", false)};
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
                                    .neighbours = d.neighbours});
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
  const Delta delta = read_delta(model, keys, h.epsilon);
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

// --- Hugging Face's folders ---

// Every so manieth layer has attention, unless layer_types says otherwise.
void write_layers(formats::HfConfigWriter& w) {
  const formats::Json* types = formats::json_field(w.config(), "layer_types");
  if (types == nullptr)
    return w.set("full_attention_interval", w.optional_size("full_attention_interval").value_or(4));
  std::vector<bool> recurrent;
  for (const formats::Json& type : *types) {
    if (type != "linear_attention" && type != "full_attention")
      fail("layer_types: found {}, expected \"linear_attention\" or \"full_attention\"",
           type.dump());
    recurrent.push_back(type == "linear_attention");
  }
  if (static_cast<int64_t>(recurrent.size()) != w.size("num_hidden_layers"))
    fail("layer_types: found {} layers, expected num_hidden_layers", recurrent.size());
  if (const auto interval = formats::window_pattern(recurrent))
    return w.set("full_attention_interval", *interval);
  w.set("attention.recurrent_layers", recurrent);
}

void write_config(formats::HfConfigWriter& w) {
  const int64_t turned = w.write_turned(w.write_sizes());
  w.write_rope(turned);
  // Of text all sections have the same positions.
  if (const formats::Json* sections = formats::json_field(w.rotation(), "mrope_section")) {
    if (!sections->is_array() || sections->size() != 3)
      fail("rope_parameters: mrope_section: expected a list of 3 numbers");
    std::vector<int64_t> all;
    for (const formats::Json& section : *sections) {
      if (!section.is_number_unsigned())
        fail("rope_parameters: mrope_section: found {}, expected numbers", section.dump());
      all.push_back(section.get<int64_t>());
    }
    all.push_back(0);
    w.set("rope.dimension_sections", all);
  }
  write_layers(w);
  const auto size = [&](const char* field, int64_t usual) {
    return w.optional_size(field).value_or(usual);
  };
  const int64_t heads = size("linear_num_value_heads", 32);
  w.set("ssm.conv_kernel", size("linear_conv_kernel_dim", 4));
  w.set("ssm.state_size", size("linear_key_head_dim", 128));
  w.set("ssm.group_count", size("linear_num_key_heads", 16));
  w.set("ssm.time_step_rank", heads);
  w.set("ssm.inner_size", heads * size("linear_value_head_dim", 128));
  w.set_any("outboard.delta.neighbours", true);
}

void write_mixture(formats::HfConfigWriter& w) {
  write_config(w);
  w.set("expert_count", w.size("num_experts"));
  w.set("expert_used_count", w.size("num_experts_per_tok"));
  w.set("expert_feed_forward_length", w.size("moe_intermediate_size"));
  w.set("expert_shared_feed_forward_length", w.size("shared_expert_intermediate_size"));
  w.set_flag("expert_weights_norm",
             formats::json_bool(w.config(), "norm_topk_prob").value_or(true));
}

constexpr formats::KnownField kFields[] = {
    {"hidden_act", R"(["silu"])"},
    {"layer_types"},
    {"full_attention_interval"},
    {"linear_conv_kernel_dim"},
    {"linear_key_head_dim"},
    {"linear_value_head_dim"},
    {"linear_num_key_heads"},
    {"linear_num_value_heads"},
    {"attn_output_gate", "[true]"},
    {"num_experts"},
    {"num_experts_per_tok"},
    {"moe_intermediate_size"},
    {"shared_expert_intermediate_size"},
    {"norm_topk_prob"},
    {"decoder_sparse_step", "[1]"},
    {"mlp_only_layers", "[[]]"},
    {"use_sliding_window", "[false]"},
    // In what precision the recurrence is computed: here in float32.
    {"mamba_ssm_dtype"},
    // A head for further tokens: texts come out without.
    {"mtp_*"},
    // Its eyes; only its text is used.
    {"vision_config"},
    {"image_token_id"},
    {"video_token_id"},
    {"vision_start_token_id"},
    {"vision_end_token_id"},
    // Training's.
    {"output_router_logits"},
    {"router_aux_loss_coef"},
};
constexpr formats::KnownField kRopeFields[] = {{"mrope_section"}, {"mrope_interleaved"}};

constexpr formats::HfRename kLayerTensors[] = {
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "post_attention_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"linear_attn.in_proj_qkvz", "ssm_in"},
    {"linear_attn.in_proj_ba", "ssm_ba"},
    {"linear_attn.in_proj_qkv", "attn_qkv"},
    {"linear_attn.in_proj_z", "attn_gate"},
    {"linear_attn.in_proj_a", "ssm_alpha"},
    {"linear_attn.in_proj_b", "ssm_beta"},
    {"linear_attn.conv1d", "ssm_conv1d"},
    {"linear_attn.A_log", "ssm_a"},
    {"linear_attn.dt_bias", "ssm_dt.bias"},
    {"linear_attn.norm", "ssm_norm"},
    {"linear_attn.out_proj", "ssm_out"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate", "ffn_gate_inp"},
    {"mlp.experts.*.gate_proj", "ffn_gate_exps"},
    {"mlp.experts.*.up_proj", "ffn_up_exps"},
    {"mlp.experts.*.down_proj", "ffn_down_exps"},
    {"mlp.experts.gate_up_proj", "ffn_gate_up_exps.weight"},
    {"mlp.experts.down_proj", "ffn_down_exps.weight"},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
};
constexpr std::string_view kUnneededTensors[] = {"mtp.", "visual."};

constexpr formats::HfFamily folder(std::string_view model_type, std::string_view text_model_type,
                                   std::string_view architecture,
                                   void (*write)(formats::HfConfigWriter&), int64_t kv_heads) {
  return {.model_type = model_type,
          .text_model_type = text_model_type,
          .architecture = architecture,
          .write = write,
          .defaults = {.vocabulary = 248320,
                       .context = 32768,
                       .heads = 16,
                       .kv_heads = kv_heads,
                       .head_dim = 256,
                       .turned = 0.25,
                       .has_dense = false},
          .fields = kFields,
          .rope_fields = kRopeFields,
          .tensors = kHfTensors,
          .layer_tensors = kLayerTensors,
          .unneeded_tensors = kUnneededTensors,
          .norms_plus_1 = true};
}

constexpr formats::HfFamily kFolders[] = {
    folder("qwen3_5", "qwen3_5_text", "qwen35", write_config, 4),
    folder("qwen3_5_moe", "qwen3_5_moe_text", "qwen35moe", write_mixture, 2),
    folder("qwen3_next", {}, "qwen3next", write_mixture, 2),
};

}  // namespace

constinit const Family families::qwen35 = {kArchitectures, build, kFolders};

}  // namespace outboard::models
