// Phi-3 and Phi-4 (arXiv:2404.14219, 2412.08905): Llama's layer with q, k and v in one matrix, gate
// and up in another, part of each head turned, and LongRoPE's two tables of factors.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h =
      read_hyperparameters(keys, "attention.layer_norm_rms_epsilon", Positions::kScaledRotary);
  h.rope.neox = true;
  // Phi-3 mini 4k says 2047. llama.cpp leaves windows of this family out because converters wrote
  // wrong ones; a window that the context never fills changes nothing either way.
  const int window = h.window < h.context_length ? h.window : 0;
  Builder b(model, "phi3");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  rope_factors(b, h);
  AttentionLayer a(h);
  a.window = window;
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    ValueId n = rms_norm(b, "attention norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    n = rms_norm(b, "feed-forward norm", x, layer_name(layer, "ffn_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x, fused_feed_forward(b, n, layer, Function::kSilu));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"phi3"};

// --- Hugging Face's folders ---

void write_config(formats::HfConfigWriter& w) {
  w.write_rope(w.write_turned(w.write_sizes()));
  w.set("attention.sliding_window", w.optional_size("sliding_window").value_or(0));
}

constexpr formats::KnownField kFields[] = {
    {"hidden_act", R"(["silu"])"},
    {"sliding_window"},
    {"layer_types",
     {},
     [](const formats::Json& config, const formats::Json&) {
       return formats::all_layers_slide(
           config, formats::json_field(config, "sliding_window") != nullptr, "num_hidden_layers");
     }},
    {"auto_map"},  // the same code, from before transformers had it
    // Of that code's other models.
    {"lm_head_bias", "[false]"},
    {"full_attn_mod", "[1]"},
    {"interpolate_factor", "[1]"},
};

constexpr formats::HfRename kLayerTensors[] = {
    {"input_layernorm", "attn_norm"},    {"self_attn.qkv_proj", "attn_qkv"},
    {"self_attn.o_proj", "attn_output"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_up_proj", "ffn_up"},      {"mlp.down_proj", "ffn_down"},
};

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "phi3",
     .architecture = "phi3",
     .write = write_config,
     .defaults = {.context = 4096, .epsilon = 1e-5, .turned = 1},
     .long_rope = true,
     .fields = kFields,
     .tensors = kHfTensors,
     .layer_tensors = kLayerTensors},
};

}  // namespace

constinit const Family families::phi3 = {kArchitectures, build, kFolders};

}  // namespace outboard::models
