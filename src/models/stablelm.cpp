// StableLM (arXiv:2402.17834): layer norms, part of each head turned. The 12B normalises every head
// of q and k with weights of its own, and has attention and feed-forward layer side by side.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_epsilon");
  h.rope.neox = true;
  keys.flag_or("use_parallel_residual", false);  // told by whether there is a feed-forward norm
  Builder b(model, "stablelm");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto name = [&](std::string_view part) { return layer_name(layer, part); };
    const bool heads_normed = b.optional_weight(name("attn_q_norm.weight")) != kNone;
    a.norms = heads_normed ? HeadNorms::kEveryHead : HeadNorms::kNone;
    const ValueId n = layer_norm(b, "attention norm", x, name("attn_norm"), h.epsilon);
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    const bool parallel = b.optional_weight(name("ffn_norm.weight")) == kNone;
    const ValueId m =
        parallel ? n : layer_norm(b, "feed-forward norm", x, name("ffn_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x, feed_forward(b, m, layer, Function::kSilu));
  }
  b.scope("");
  x = b.op("rows", SelectRows{x});
  x = layer_norm(b, "final norm", x, "output_norm", h.epsilon);
  return b.finish(logits_of(b, x, h, 1), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"stablelm"};

// --- Hugging Face's folders ---

void write_config(formats::HfConfigWriter& w) {
  w.write_rope(w.write_turned(w.write_sizes()));
  w.set_any("stablelm.use_parallel_residual",
            formats::json_bool(w.config(), "use_parallel_residual").value_or(false));
}

constexpr formats::KnownField kFields[] = {
    {"hidden_act", R"(["silu"])"},
    // The tensors tell.
    {"use_qkv_bias"},
    {"qk_layernorm"},
    {"use_parallel_residual"},
};

constexpr formats::HfRename kLayerTensors[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.q_layernorm.norms.*", "attn_q_norm"},
    {"self_attn.k_layernorm.norms.*", "attn_k_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "stablelm",
     .architecture = "stablelm",
     .write = write_config,
     .defaults = {.context = 4096, .epsilon = 1e-5, .turned = 0.25},
     .epsilon = {"layer_norm_eps", formats::kLayerNormEpsilon},
     .fields = kFields,
     .tensors = kHfTensors,
     .layer_tensors = kLayerTensors},
};

}  // namespace

constinit const Family families::stablelm = {kArchitectures, build, kFolders};

}  // namespace outboard::models
