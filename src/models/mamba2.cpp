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

// --- Nemotron's Hugging Face folders ---

// Of each layer what it is: M a scan, * attention, - a feed-forward, E experts.
std::string layer_kinds(const formats::Json& config) {
  const formats::Json* types = formats::json_field(config, "layer_types");
  if (types == nullptr) types = formats::json_field(config, "layers_block_type");
  if (types == nullptr)
    return formats::json_string(config, "hybrid_override_pattern").value_or(std::string());
  if (!types->is_array()) fail("layers_block_type: expected a list of names");
  std::string kinds;
  for (const formats::Json& type : *types) {
    constexpr std::pair<const char*, char> kNames[] = {
        {"mamba", 'M'},     {"linear_attention", 'M'},
        {"attention", '*'}, {"full_attention", '*'},
        {"mlp", '-'},       {"moe", 'E'}};
    const std::string name = type.is_string() ? type.get<std::string>() : type.dump();
    const auto* kind =
        std::ranges::find_if(kNames, [&](const auto& known) { return name == known.first; });
    if (kind == std::end(kNames))
      fail("layers_block_type: found {}, expected mamba, attention, mlp or moe", name);
    kinds += kind->second;
  }
  return kinds;
}

bool has_experts(const formats::Json& config) {
  return layer_kinds(config).find('E') != std::string::npos;
}

void write_nemotron(formats::HfConfigWriter& w) {
  const formats::Json& config = w.config();
  const std::string kinds = layer_kinds(config);
  if (kinds.empty() || kinds.find_first_not_of("M*-E") != std::string::npos)
    fail("hybrid_override_pattern: found \"{}\", expected a letter a layer of M, *, - and E",
         kinds);
  const int64_t heads = w.size("num_attention_heads");
  const int64_t head_dim = w.optional_size("head_dim").value_or(128);
  w.set_layers(static_cast<int64_t>(kinds.size()));
  w.read_vocabulary();
  w.set("context_length", w.optional_size("max_position_embeddings").value_or(4096));
  w.set("embedding_length", w.size("hidden_size"));
  w.set(kEpsilon, formats::json_number(config, "layer_norm_epsilon").value_or(1e-5));
  w.set("attention.head_count", heads);
  w.set("attention.key_length", head_dim);
  w.set("attention.value_length", head_dim);
  const int64_t experts = has_experts(config) ? w.size("moe_intermediate_size") : 0;
  std::vector<int64_t> kv_heads, hidden;
  for (const char kind : kinds) {
    kv_heads.push_back(kind == '*' ? w.optional_size("num_key_value_heads").value_or(heads) : 0);
    if (kind == '-' && experts > 0)
      fail("hybrid_override_pattern: found plain layers beside experts, expected one of them");
    hidden.push_back(kind == '-' ? w.size("intermediate_size") : kind == 'E' ? experts : 0);
  }
  w.set("attention.head_count_kv", kv_heads);
  w.set("feed_forward_length", hidden);
  const int64_t scan_heads = w.size("mamba_num_heads");
  w.set("ssm.inner_size", scan_heads * w.size("mamba_head_dim"));
  w.set("ssm.time_step_rank", scan_heads);
  w.set("ssm.group_count", w.optional_size("n_groups").value_or(8));
  w.set("ssm.state_size", w.size("ssm_state_size"));
  w.set("ssm.conv_kernel", w.optional_size("conv_kernel").value_or(4));
}

void write_nemotron_mixture(formats::HfConfigWriter& w) {
  write_nemotron(w);
  const formats::Json& config = w.config();
  w.set("expert_count", w.size("n_routed_experts"));
  w.set("expert_used_count", w.size("num_experts_per_tok"));
  w.set("expert_feed_forward_length", w.size("moe_intermediate_size"));
  w.set("expert_shared_count", w.optional_size("n_shared_experts").value_or(1));
  w.set("expert_shared_feed_forward_length", w.size("moe_shared_expert_intermediate_size"));
  w.set("expert_weights_scale", formats::json_number(config, "routed_scaling_factor").value_or(1));
  w.set_flag("expert_weights_norm", formats::json_bool(config, "norm_topk_prob").value_or(true));
  if (const auto latent = w.optional_size("moe_latent_size")) w.set("moe_latent_size", *latent);
  if (const auto groups = w.optional_size("n_group")) w.set("expert_group_count", *groups);
  if (const auto used = w.optional_size("topk_group")) w.set("expert_group_used_count", *used);
}

constexpr formats::KnownField kNemotronFields[] = {
    {"hybrid_override_pattern"},
    {"layers_block_type"},
    {"layer_types"},
    {"layer_norm_epsilon"},
    {"rms_norm_eps"},  // the same by another name
    {"norm_eps"},
    {"mlp_hidden_act", R"(["relu2"])"},
    {"mamba_hidden_act", R"(["silu"])"},
    {"hidden_act"},  // of neither
    {"sliding_window", "[]"},
    {"mamba_num_heads"},
    {"mamba_head_dim"},
    {"n_groups"},
    {"ssm_state_size"},
    {"conv_kernel"},
    {"expand"},  // follows from the others
    // Whether a bias is there, the tensors say.
    {"use_bias"},
    {"use_conv_bias"},
    {"mamba_proj_bias"},
    {"time_step_limit", {}, formats::has_no_limit},
    {"n_routed_experts"},
    {"n_shared_experts"},
    {"num_experts_per_tok"},
    {"moe_intermediate_size"},
    {"moe_shared_expert_intermediate_size"},
    {"moe_latent_size"},
    {"routed_scaling_factor"},
    {"norm_topk_prob"},
    {"n_group"},
    {"topk_group"},
    // Positions: there are none, whatever stands here.
    {"partial_rotary_factor"},
    // How it is computed and cached.
    {"chunk_size"},
    {"num_logits_to_keep"},
    {"residual_in_fp32"},
    {"mamba_ssm_cache_dtype"},
    {"use_mamba_kernels"},
    {"moe_shared_expert_overlap"},
    {"auto_map"},
    // Heads for further tokens: texts come out without.
    {"num_nextn_predict_layers"},
    {"mtp_*"},
    // Training's.
    {"time_step_min"},
    {"time_step_max"},
    {"time_step_floor"},
    {"time_step_rank"},
    {"rescale_prenorm_residual"},
    {"output_router_logits"},
};

constexpr formats::HfRename kNemotronTensors[] = {{"backbone.embeddings", "token_embd"},
                                                  {"backbone.norm_f", "output_norm"},
                                                  {"lm_head", "output"}};
constexpr formats::HfRename kNemotronLayerTensors[] = {
    {"norm", "attn_norm"},
    {"mixer.in_proj", "ssm_in"},
    {"mixer.conv1d", "ssm_conv1d"},
    {"mixer.A_log", "ssm_a"},
    {"mixer.D", "ssm_d"},
    {"mixer.dt_bias", "ssm_dt.bias"},
    {"mixer.norm", "ssm_norm"},
    {"mixer.out_proj", "ssm_out"},
    {"mixer.q_proj", "attn_q"},
    {"mixer.k_proj", "attn_k"},
    {"mixer.v_proj", "attn_v"},
    {"mixer.o_proj", "attn_output"},
    {"mixer.up_proj", "ffn_up"},
    {"mixer.down_proj", "ffn_down"},
    {"mixer.gate", "ffn_gate_inp"},
    {"mixer.gate.e_score_correction_bias", "exp_probs_b.bias"},
    {"mixer.experts.*.up_proj", "ffn_up_exps"},
    {"mixer.experts.*.down_proj", "ffn_down_exps"},
    {"mixer.shared_experts.up_proj", "ffn_up_shexp"},
    {"mixer.shared_experts.down_proj", "ffn_down_shexp"},
    {"mixer.fc1_latent_proj", "ffn_latent_down"},
    {"mixer.fc2_latent_proj", "ffn_latent_up"},
};
constexpr std::string_view kNemotronUnneeded[] = {"mtp."};

constexpr formats::HfFamily nemotron_folder(std::string_view architecture,
                                            void (*write)(formats::HfConfigWriter&),
                                            bool (*applies)(const formats::Json&)) {
  return {.model_type = "nemotron_h",
          .architecture = architecture,
          .applies = applies,
          .write = write,
          .fields = kNemotronFields,
          .layers = "backbone.layers.",
          .tensors = kNemotronTensors,
          .layer_tensors = kNemotronLayerTensors,
          .unneeded_tensors = kNemotronUnneeded};
}
constexpr formats::HfFamily kNemotronFolders[] = {
    nemotron_folder("nemotron_h_moe", write_nemotron_mixture, has_experts),
    nemotron_folder("nemotron_h", write_nemotron, nullptr)};

// --- Those of Mamba-2 alone, with the same names of tensors ---

void write_mamba2(formats::HfConfigWriter& w) {
  const formats::Json& config = w.config();
  w.set_layers(w.size("num_hidden_layers"));
  w.read_vocabulary();
  // There is no end to what it reads; converters say so.
  w.set("context_length", int64_t{1} << 20);
  w.set("embedding_length", w.size("hidden_size"));
  w.set("feed_forward_length", int64_t{0});
  w.set("attention.head_count", int64_t{0});
  w.set(kEpsilon, formats::json_number(config, "layer_norm_epsilon").value_or(1e-5));
  const int64_t heads = w.optional_size("num_heads").value_or(128);
  w.set("ssm.inner_size", heads * w.optional_size("head_dim").value_or(64));
  w.set("ssm.time_step_rank", heads);
  w.set("ssm.group_count", w.optional_size("n_groups").value_or(8));
  w.set("ssm.state_size", w.optional_size("state_size").value_or(128));
  w.set("ssm.conv_kernel", w.optional_size("conv_kernel").value_or(4));
}

constexpr formats::KnownField kMamba2Fields[] = {
    {"layer_norm_epsilon"},
    {"hidden_act", R"(["silu"])"},
    {"num_heads"},
    {"n_groups"},
    {"state_size"},
    {"conv_kernel"},
    {"expand"},  // these two follow from the others
    {"intermediate_size"},
    // Whether a bias is there, the tensors say.
    {"use_bias"},
    {"use_conv_bias"},
    {"time_step_limit", {}, formats::has_no_limit},
    {"norm_before_gate", "[false, true]"},  // not used by what reads these folders
    {"rms_norm", "[true]"},
    // How it is computed.
    {"chunk_size"},
    {"residual_in_fp32"},
    // Training's.
    {"time_step_rank"},
    {"time_step_min"},
    {"time_step_max"},
    {"time_step_floor"},
    {"time_step_init_scheme"},
    {"time_step_scale"},
    {"rescale_prenorm_residual"},
};

constexpr formats::HfFamily kMamba2Folders[] = {{.model_type = "mamba2",
                                                 .architecture = "mamba2",
                                                 .write = write_mamba2,
                                                 .fields = kMamba2Fields,
                                                 .layers = "backbone.layers.",
                                                 .tensors = kNemotronTensors,
                                                 .layer_tensors = kNemotronLayerTensors}};

// --- Falcon-H1's, whose many factors are folded into weights, as llama.cpp's converter does ---

void write_falcon(formats::HfConfigWriter& w) {
  w.write_rope(w.write_sizes());
  const formats::Json& config = w.config();
  const int64_t inner =
      w.optional_size("mamba_d_ssm")
          .value_or(w.optional_size("mamba_expand").value_or(2) * w.size("hidden_size"));
  const int64_t heads = w.optional_size("mamba_n_heads").value_or(128);
  const int64_t groups = w.optional_size("mamba_n_groups").value_or(1);
  const int64_t state = w.optional_size("mamba_d_state").value_or(256);
  w.set("ssm.inner_size", inner);
  w.set("ssm.time_step_rank", heads);
  w.set("ssm.group_count", groups);
  w.set("ssm.state_size", state);
  w.set("ssm.conv_kernel", w.optional_size("mamba_d_conv").value_or(4));

  const auto factor = [&](const char* field) {
    return static_cast<float>(formats::json_number(config, field).value_or(1));
  };
  const auto list = [&](const char* field, size_t size) {
    std::vector<float> values(size, 1);
    const formats::Json* found = formats::json_field(config, field);
    if (found == nullptr || found->is_null()) return values;
    if (!found->is_array() || found->size() != size ||
        !std::ranges::all_of(*found, [](const formats::Json& value) { return value.is_number(); }))
      fail("{}: expected a list of {} numbers", field, size);
    for (size_t i = 0; i < size; ++i) values[i] = (*found)[i].get<float>();
    return values;
  };
  w.add_factors("token_embd.weight", {factor("embedding_multiplier")});
  w.add_factors("output.weight", {factor("lm_head_multiplier")});
  const float in = factor("attention_in_multiplier");
  w.add_factors("attn_q.weight", {in});
  w.add_factors("attn_k.weight", {in * factor("key_multiplier")});
  w.add_factors("attn_v.weight", {in});
  w.add_factors("attn_output.weight", {factor("attention_out_multiplier")});
  const std::vector<float> feed_forward = list("mlp_multipliers", 2);
  w.add_factors("ffn_gate.weight", {feed_forward[0]});
  w.add_factors("ffn_down.weight", {feed_forward[1]});
  // The rows are a gate, what goes in, what writes and reads the state, and steps.
  const std::vector<float> parts = list("ssm_multipliers", 5);
  std::vector<float> rows;
  const int64_t sizes[] = {inner, inner, groups * state, groups * state, heads};
  for (size_t i = 0; i < parts.size(); ++i)
    rows.insert(rows.end(), static_cast<size_t>(sizes[i]), parts[i] * factor("ssm_in_multiplier"));
  w.add_factors("ssm_in.weight", rows);
  w.add_factors("ssm_out.weight", {factor("ssm_out_multiplier")});
}

constexpr formats::KnownField kFalconFields[] = {
    {"hidden_act", R"(["silu"])"},
    {"embedding_multiplier"},
    {"lm_head_multiplier"},
    {"key_multiplier"},
    {"attention_in_multiplier"},
    {"attention_out_multiplier"},
    {"mlp_multipliers"},
    {"ssm_multipliers"},
    {"ssm_in_multiplier"},
    {"ssm_out_multiplier"},
    {"mamba_d_ssm"},
    {"mamba_expand"},
    {"mamba_n_heads"},
    {"mamba_n_groups"},
    {"mamba_d_state"},
    {"mamba_d_conv"},
    {"mamba_d_head"},     // follows from the others
    {"mamba_conv_bias"},  // the tensors tell
    {"mamba_rms_norm"},   // likewise
    {"mamba_norm_before_gate",
     {},
     [](const formats::Json& config, const formats::Json& before) {
       return before == false || !formats::json_bool(config, "mamba_rms_norm").value_or(false);
     }},
    // Factors are of products alone.
    {"attention_bias", "[false]"},
    {"mlp_bias", "[false]"},
    {"mamba_proj_bias", "[false]"},
    {"projectors_bias", "[false]"},
    {"mamba_use_mlp", "[true]"},
    {"attn_layer_indices", "[]"},
    {"mlp_expansion_factor"},  // follows from the sizes
    {"time_step_limit", {}, formats::has_no_limit},
    // How it is computed.
    {"mamba_chunk_size"},
    {"num_logits_to_keep"},
    // Training's.
    {"time_step_min"},
    {"time_step_max"},
    {"time_step_floor"},
    {"rescale_prenorm_residual"},
};
constexpr formats::HfRename kFalconTensors[] = {
    {"embed_tokens", "token_embd"}, {"final_layernorm", "output_norm"}, {"lm_head", "output"}};
constexpr auto kFalconLayerTensors =
    joined(kHfHybridLayerTensors, {
                                      {"pre_ff_layernorm", "ffn_norm."},
                                      {"feed_forward.gate_proj", "ffn_gate"},
                                      {"feed_forward.up_proj", "ffn_up"},
                                      {"feed_forward.down_proj", "ffn_down"},
                                  });
constexpr formats::HfFamily kFalconFolders[] = {{.model_type = "falcon_h1",
                                                 .architecture = "falcon-h1",
                                                 .write = write_falcon,
                                                 .fields = kFalconFields,
                                                 .tensors = kFalconTensors,
                                                 .layer_tensors = kFalconLayerTensors}};

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

constinit const Family families::mamba2 = {kMamba2, build_mamba2, kMamba2Folders};
constinit const Family families::nemotron_h = {kNemotron, build_nemotron, kNemotronFolders};
constinit const Family families::falcon_h1 = {kFalcon, build_falcon_h1, kFalconFolders};

}  // namespace outboard::models
