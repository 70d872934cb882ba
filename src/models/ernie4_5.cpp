// ERNIE 4.5 (Baidu, technical report of 2025-06): Llama's layer; of the mixtures, experts from some
// layer on, chosen with a bias, and shared ones.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  const Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon");
  const ExpertChoice experts = read_experts(keys);
  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  const AttentionLayer a(h);
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    ValueId n = rms_norm(b, "attention norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    n = rms_norm(b, "feed-forward norm", x, layer_name(layer, "ffn_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x, mixture(b, n, layer, Function::kSilu, experts));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"ernie4_5", "ernie4_5-moe"};

// --- Hugging Face's folders ---

constexpr formats::KnownField kFields[] = {
    {"hidden_act", R"(["silu"])"}, {"use_bias"},  // the tensors tell
};

// Pairs are neighbours in folders as well.
constexpr formats::HfFamily kFolders[] = {
    {.model_type = "ernie4_5",
     .architecture = "ernie4_5",
     .write = [](formats::HfConfigWriter& w) { w.write_rope(w.write_sizes()); },
     .defaults =
         {.context = 131072, .kv_heads = 2, .head_dim = 128, .rope_theta = 5e5, .epsilon = 1e-5},
     .tied_embeddings = true,
     .fields = kFields,
     .tensors = kHfTensors,
     .layer_tensors = kHfLayerTensors},
};

}  // namespace

constinit const Family families::ernie4_5 = {kArchitectures, build, kFolders};

}  // namespace outboard::models
