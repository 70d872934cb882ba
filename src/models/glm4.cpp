// GLM-4 and GLM-Z1, 9B and 32B (arXiv:2406.12793 and its 0414 releases): norms before and after
// each part, half of each head turned, gate and up in one matrix.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  const Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon");
  Builder b(model, "glm4");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  const AttentionLayer a(h);
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto norm = [&](std::string_view what, ValueId value, std::string_view tensor) {
      return rms_norm(b, what, value, layer_name(layer, tensor), h.epsilon);
    };
    const ValueId n = norm("attention norm", x, "attn_norm");
    const ValueId out = self_attention(b, n, layer, a);
    x = residual(b, "attention residual", x,
                 norm("after attention norm", out, "post_attention_norm"));
    const ValueId m = norm("feed-forward norm", x, "ffn_norm");
    const ValueId f = fused_feed_forward(b, m, layer, Function::kSilu);
    x = residual(b, "feed-forward residual", x,
                 norm("after feed-forward norm", f, "post_ffw_norm"));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"glm4"};

// --- Hugging Face's folders ---

constexpr formats::KnownField kFields[] = {{"hidden_act", R"(["silu"])"}};

constexpr formats::HfRename kLayerTensors[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"post_self_attn_layernorm", "post_attention_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"post_mlp_layernorm", "post_ffw_norm"},
};

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "glm4",
     .architecture = "glm4",
     // Pairs are neighbours in folders as well.
     .write = [](formats::HfConfigWriter& w) { w.write_rope(w.write_turned(w.write_sizes())); },
     .defaults = {.context = 131072,
                  .heads = 32,
                  .kv_heads = 2,
                  .head_dim = 128,
                  .epsilon = 1.5625e-7,
                  .turned = 0.5},
     .fields = kFields,
     .tensors = kHfTensors,
     .layer_tensors = kLayerTensors},
};

}  // namespace

constinit const Family families::glm4 = {kArchitectures, build, kFolders};

}  // namespace outboard::models
