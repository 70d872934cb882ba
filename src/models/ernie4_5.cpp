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

void write_mixture(formats::HfConfigWriter& w) {
  w.write_rope(w.write_sizes());
  const formats::Json& config = w.config();
  const int64_t hidden = w.size("moe_intermediate_size");
  w.set("leading_dense_block_count",
        formats::json_int(config, "moe_layer_start_index").value_or(1));
  w.set("interleave_moe_layer_step", w.optional_size("moe_layer_interval").value_or(1));
  w.set("expert_count", w.size("moe_num_experts"));
  w.set("expert_used_count", w.size("moe_k"));
  w.set("expert_feed_forward_length", hidden);
  const int64_t shared = formats::json_int(config, "moe_num_shared_experts").value_or(2);
  if (shared > 0) {
    w.set("expert_shared_count", shared);
    w.set("expert_shared_feed_forward_length", shared * hidden);
  }
}

constexpr formats::KnownField kMixtureFields[] = {
    {"hidden_act", R"(["silu"])"},
    {"use_bias"},  // the tensors tell
    {"moe_num_experts"},
    {"moe_k"},
    {"moe_num_shared_experts"},
    {"moe_intermediate_size"},
    {"moe_layer_start_index"},
    {"moe_layer_interval"},
    {"moe_layer_end_index",
     {},
     [](const formats::Json& config, const formats::Json& last) {
       return last.is_number_integer() &&
              (last.get<int64_t>() == -1 ||
               last.get<int64_t>() >=
                   formats::json_int(config, "num_hidden_layers").value_or(0) - 1);
     }},
    {"moe_norm_min"},  // against a division by 0
    {"moe_gate", R"(["topk"])"},
    {"moe_use_aux_free"},          // the tensors tell
    {"num_nextn_predict_layers"},  // texts come out without
    // Training's.
    {"moe_capacity"},
    {"moe_aux_loss_lambda"},
    {"output_router_logits"},
    {"router_aux_loss_coef"},
};
constexpr formats::HfRename kMixtureTensors[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate", "ffn_gate_inp"},
    {"mlp.moe_statics.e_score_correction_bias", "exp_probs_b.bias"},
    {"mlp.experts.*.gate_proj", "ffn_gate_exps"},
    {"mlp.experts.*.up_proj", "ffn_up_exps"},
    {"mlp.experts.*.down_proj", "ffn_down_exps"},
    {"mlp.shared_experts.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_experts.up_proj", "ffn_up_shexp"},
    {"mlp.shared_experts.down_proj", "ffn_down_shexp"},
};
constexpr std::string_view kUnneeded[] = {"mtp_block.", "mtp_emb_norm.", "mtp_hidden_norm.",
                                          "mtp_linear_proj."};

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
    {.model_type = "ernie4_5_moe",
     .architecture = "ernie4_5-moe",
     .write = write_mixture,
     .defaults = {.context = 131072, .kv_heads = 4, .rope_theta = 5e5, .epsilon = 1e-5},
     .tied_embeddings = true,
     .fields = kMixtureFields,
     .tensors = kHfTensors,
     .layer_tensors = kMixtureTensors,
     .unneeded_tensors = kUnneeded},
};

}  // namespace

constinit const Family families::ernie4_5 = {kArchitectures, build, kFolders};

}  // namespace outboard::models
