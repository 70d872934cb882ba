// StarCoder2 (arXiv:2402.19173): layer norms and biases throughout, a feed-forward layer without
// gate.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_epsilon");
  h.rope.neox = true;
  Builder b(model, "starcoder2");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  a.window = h.window;
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto name = [&](std::string_view part) { return layer_name(layer, part); };
    const ValueId n = layer_norm(b, "attention norm", x, name("attn_norm"), h.epsilon);
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    const ValueId m = layer_norm(b, "feed-forward norm", x, name("ffn_norm"), h.epsilon);
    const ValueId up =
        b.op("activated", Activation{b.linear("up", m, name("ffn_up")), Function::kGeluTanh});
    x = residual(b, "feed-forward residual", x, b.linear("down", up, name("ffn_down")));
  }
  b.scope("");
  x = b.op("rows", SelectRows{x});
  x = layer_norm(b, "final norm", x, "output_norm", h.epsilon);
  return b.finish(logits_of(b, x, h, 1), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"starcoder2"};

// --- Hugging Face's folders ---

void write_config(formats::HfConfigWriter& w) {
  w.write_rope(w.write_sizes());
  // A window that the context never fills changes nothing.
  const int64_t window = w.optional_size("sliding_window").value_or(0);
  if (window > 0) w.set("attention.sliding_window", window);
}

constexpr formats::KnownField kFields[] = {
    {"hidden_act", R"(["gelu_pytorch_tanh"])"},
    {"activation_function", R"(["gelu_pytorch_tanh"])"},
    {"mlp_type", R"(["default"])"},
    {"norm_type", R"(["layer_norm"])"},
    {"use_bias"},  // the tensors tell
    {"sliding_window"},
    {"layer_types",
     {},
     [](const formats::Json& config, const formats::Json&) {
       return formats::all_layers_slide(
           config, formats::json_field(config, "sliding_window") != nullptr, "num_hidden_layers");
     }},
    {"residual_dropout"},
    {"embedding_dropout"},
    // What is summed in float32.
    {"attention_softmax_in_fp32"},
    {"scale_attention_softmax_in_fp32"},
    {"scale_attn_weights", "[true]"},
};

constexpr formats::HfRename kLayerTensors[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.c_fc", "ffn_up"},
    {"mlp.c_proj", "ffn_down"},
};

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "starcoder2",
     .architecture = "starcoder2",
     .write = write_config,
     .defaults = {.context = 4096, .kv_heads = 2, .epsilon = 1e-5},
     .epsilon = {"norm_epsilon", formats::kLayerNormEpsilon},
     .tied_embeddings = true,
     .fields = kFields,
     .tensors = kHfTensors,
     .layer_tensors = kLayerTensors},
};

}  // namespace

constinit const Family families::starcoder2 = {kArchitectures, build, kFolders};

}  // namespace outboard::models
