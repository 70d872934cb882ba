// gpt-oss (OpenAI, arXiv:2508.10925): every other layer with a window of 128, attention sinks,
// YaRN, biases everywhere, and experts weighed by a softmax over the chosen alone.
#include <fmt/format.h>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon");
  h.rope.neox = true;
  const std::vector<bool> sliding = sliding_layers(keys, h, 2);
  const ExpertChoice experts =
      read_experts(keys, {.gating = Gating::kSoftmaxOfChosen, .normalise = false});
  Builder b(model, "gpt-oss");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  a.sinks = true;
  Rope local = h.rope;
  local.base = keys.positive_or("rope.freq_base_swa", local.base);
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const bool slides = sliding[static_cast<size_t>(layer)];
    a.window = slides ? h.window : 0;
    a.rope = slides ? local : h.rope;
    ValueId n = rms_norm(b, "attention norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    n = rms_norm(b, "feed-forward norm", x, layer_name(layer, "post_attention_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x,
                 mixture(b, n, layer, Function::kSwigluOai, experts));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"gpt-oss"};

// --- Hugging Face's folders ---

void write_config(formats::HfConfigWriter& w) {
  const int64_t head_dim = w.write_sizes();
  w.set("expert_feed_forward_length", w.size("intermediate_size"));
  w.set("expert_count", w.size("num_local_experts"));
  w.set("expert_used_count", w.size("num_experts_per_tok"));
  w.write_windows(128, 2);
  // A configuration without it has the family's, which no published one relies on.
  if (w.rotation().empty()) fail("rope_scaling: it is missing");
  w.write_rope(head_dim);
}

bool is_mxfp4(const formats::Json& /*config*/, const formats::Json& quantization) {
  return formats::json_string(quantization, "quant_method") == "mxfp4";
}

constexpr formats::KnownField kFields[] = {
    {"hidden_act", R"(["silu"])"},
    {"sliding_window"},
    {"layer_types", {}, formats::lists_layers},
    {"num_local_experts"},
    {"num_experts_per_tok"},
    {"swiglu_limit", "[7]"},
    {"swiglu_alpha", "[1.702]"},
    {"quantization_config", {}, is_mxfp4},
    // The context before YaRN, which rope_scaling has too.
    {"initial_context_length"},
    // Training's.
    {"router_aux_loss_coef"},
    {"output_router_logits"},
};
// Whether the ramp's ends are whole numbers: as in llama.cpp they always are.
constexpr formats::KnownField kRopeFields[] = {{"truncate"}};
constexpr formats::HfRename kAliases[] = {{"experts_per_token", "num_experts_per_tok"},
                                          {"num_experts", "num_local_experts"}};

constexpr formats::HfRename kLayerTensors[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.sinks", "attn_sinks.weight"},
    {"post_attention_layernorm", "post_attention_norm"},
    {"mlp.router", "ffn_gate_inp"},
    {"mlp.experts.gate_up_proj", "ffn_gate_exps.weight"},
    {"mlp.experts.gate_up_proj_bias", "ffn_gate_exps.bias"},
    {"mlp.experts.down_proj", "ffn_down_exps.weight"},
    {"mlp.experts.down_proj_bias", "ffn_down_exps.bias"},
};
// Gate and up by turns.
constexpr formats::HfRename kAlternating[] = {{"ffn_gate_exps", "ffn_up_exps"}};
constexpr std::string_view kTransposed[] = {"ffn_gate_exps", "ffn_down_exps"};

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "gpt_oss",
     .architecture = "gpt-oss",
     .write = write_config,
     .defaults = {.vocabulary = 201088,
                  .context = 131072,
                  .heads = 64,
                  .kv_heads = 8,
                  .head_dim = 64,
                  .rope_theta = 150000,
                  .epsilon = 1e-5},
     .fields = kFields,
     .rope_fields = kRopeFields,
     .field_aliases = kAliases,
     .tensors = kHfTensors,
     .layer_tensors = kLayerTensors,
     .transposed_layer_tensors = kTransposed,
     .alternating_layer_tensors = kAlternating},
};

}  // namespace

constinit const Family families::gpt_oss = {kArchitectures, build, kFolders};

}  // namespace outboard::models
