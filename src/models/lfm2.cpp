// LFM2 and its mixtures (Liquid AI, arXiv:2511.23404): layers of a short convolution between two
// gates, and some of attention.
#include <fmt/format.h>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

ValueId short_convolution(Builder& b, ValueId x, int layer, int64_t taps) {
  const ValueId all = b.linear("bcx", x, layer_name(layer, "shortconv.in_proj"));
  const int64_t width = b.width(all) / 3;
  const auto part = [&](std::string_view name, int64_t i) {
    return b.op(name, Slice{all, i * width, width});
  };
  const ValueId in = b.op("bx", Gate{part("b", 0), part("x", 2), Function::kIdentity});
  const ValueId out =
      causal_conv(b, in, layer_name(layer, "shortconv.conv"), taps, Function::kIdentity);
  return b.linear("convolution output", b.op("cy", Gate{part("c", 1), out, Function::kIdentity}),
                  layer_name(layer, "shortconv.out_proj"));
}

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_rms_epsilon",
                                           Positions::kRotary, Heads::kSomeLayers);
  h.rope.neox = true;
  const int64_t taps = keys.integer("shortconv.l_cache", 2, 64);
  const bool mixture_family = keys.architecture() == "lfm2moe";
  const ExpertChoice experts =
      mixture_family ? read_experts(keys, {.gating = Gating::kSigmoid}) : ExpertChoice{};
  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  a.norms = HeadNorms::kHeads;
  a.window = h.window;
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto i = static_cast<size_t>(layer);
    ValueId n = rms_norm(b, "norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    if (h.layer_kv_heads[i] > 0) {
      a.kv_heads = h.layer_kv_heads[i];
      n = self_attention(b, n, layer, a);
    } else {
      n = short_convolution(b, n, layer, taps);
    }
    x = residual(b, "residual", x, n);
    n = rms_norm(b, "feed-forward norm", x, layer_name(layer, "ffn_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x, mixture(b, n, layer, Function::kSilu, experts));
  }
  b.scope("");
  // Files have the last norm under this name (llama.cpp, llama-arch.cpp).
  x = rms_norm(b, "final norm", b.op("rows", SelectRows{x}), "token_embd_norm", h.epsilon);
  return b.finish(logits_of(b, x, h, 1), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"lfm2", "lfm2moe"};

// --- Hugging Face's folders ---

// Which layers attend, of layer_types or, in first configurations, of full_attn_idxs.
std::vector<bool> attending_layers(const formats::Json& config, int64_t layers) {
  std::vector<bool> attends(static_cast<size_t>(layers));
  if (const formats::Json* types = formats::json_field(config, "layer_types")) {
    if (!types->is_array() || types->size() != attends.size())
      fail("layer_types: expected a list of {} names", layers);
    for (size_t i = 0; i < attends.size(); ++i) {
      const formats::Json& type = (*types)[i];
      if (type != "conv" && type != "full_attention")
        fail("layer_types: found {}, expected \"conv\" or \"full_attention\"", type.dump());
      attends[i] = type == "full_attention";
    }
    return attends;
  }
  const formats::Json* list = formats::json_field(config, "full_attn_idxs");
  if (list == nullptr || !list->is_array())
    fail("layer_types: it is missing, and full_attn_idxs, too");
  for (const formats::Json& layer : *list) {
    if (!layer.is_number_unsigned() || layer.get<size_t>() >= attends.size())
      fail("full_attn_idxs: found {}, expected layers below {}", layer.dump(), layers);
    attends[layer.get<size_t>()] = true;
  }
  return attends;
}

void write_config(formats::HfConfigWriter& w) {
  const formats::Json& config = w.config();
  const int64_t layers = w.size("num_hidden_layers"), width = w.size("hidden_size");
  const int64_t heads = w.size("num_attention_heads");
  w.set_layers(layers);
  w.read_vocabulary();
  w.set("context_length", w.optional_size("max_position_embeddings").value_or(128000));
  w.set("embedding_length", width);
  w.set("attention.head_count", heads);
  std::vector<int64_t> kv_heads;
  for (const bool attends : attending_layers(config, layers))
    kv_heads.push_back(attends ? w.optional_size("num_key_value_heads").value_or(heads) : 0);
  w.set("attention.head_count_kv", kv_heads);
  // The tensors tell how wide the layers really are: there is a rule of adjusting it.
  auto hidden = w.optional_size("intermediate_size");
  if (!hidden) hidden = w.size("block_ff_dim");
  w.set("feed_forward_length", *hidden);
  w.set("attention.layer_norm_rms_epsilon",
        formats::json_number(config, "norm_eps").value_or(1e-5));
  w.set("shortconv.l_cache", w.optional_size("conv_L_cache").value_or(3));
  w.write_rope(width / heads);
}

void write_mixture(formats::HfConfigWriter& w) {
  write_config(w);
  const formats::Json& config = w.config();
  w.set("expert_count", w.size("num_experts"));
  w.set("expert_used_count", w.size("num_experts_per_tok"));
  w.set("expert_feed_forward_length", w.size("moe_intermediate_size"));
  w.set("leading_dense_block_count", formats::json_int(config, "num_dense_layers").value_or(2));
  w.set_flag("expert_weights_norm", formats::json_bool(config, "norm_topk_prob").value_or(true));
  w.set("expert_weights_scale", formats::json_number(config, "routed_scaling_factor").value_or(1));
}

constexpr formats::KnownField kFields[] = {
    {"norm_eps"},
    {"layer_types"},
    {"full_attn_idxs"},
    {"conv_L_cache"},
    {"conv_bias", "[false]"},
    // Sizes that the tensors tell, or that stand elsewhere, too.
    {"block_dim"},
    {"block_ff_dim"},
    {"block_auto_adjust_ff_dim"},
    {"block_multiple_of"},
    {"block_ffn_dim_multiplier"},
    {"block_mlp_init_scale"},
    {"block_out_init_scale"},
    {"block_norm_eps"},
    {"block_use_swiglu", "[true]"},
    {"block_use_xavier_init"},
    {"conv_dim"},
    {"conv_dim_out"},
    {"conv_use_xavier_init"},
    {"num_heads"},
    {"tie_embedding",
     {},  // the first name of tie_word_embeddings
     [](const formats::Json& config, const formats::Json& tied) {
       return tied == config.value("tie_word_embeddings", true);
     }},
    {"use_pos_enc", "[true]"},
    {"theta"},
    // The mixtures'.
    {"num_experts"},
    {"num_experts_per_tok"},
    {"moe_intermediate_size"},
    {"num_dense_layers"},
    {"norm_topk_prob"},
    {"routed_scaling_factor"},
    {"use_expert_bias", "[true]"},
    {"output_router_logits"},
};

constexpr formats::HfRename kTensors[] = {
    {"embed_tokens", "token_embd"}, {"embedding_norm", "token_embd_norm"}, {"lm_head", "output"}};
constexpr formats::HfRename kLayerTensors[] = {
    {"operator_norm", "attn_norm"},
    {"ffn_norm", "ffn_norm"},
    {"conv.in_proj", "shortconv.in_proj"},
    {"conv.conv", "shortconv.conv"},
    {"conv.out_proj", "shortconv.out_proj"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.out_proj", "attn_output"},
    {"self_attn.q_layernorm", "attn_q_norm"},
    {"self_attn.k_layernorm", "attn_k_norm"},
    {"feed_forward.w1", "ffn_gate"},
    {"feed_forward.w2", "ffn_down"},
    {"feed_forward.w3", "ffn_up"},
    {"feed_forward.gate", "ffn_gate_inp"},
    {"feed_forward.expert_bias", "exp_probs_b.bias"},
    {"feed_forward.experts.*.w1", "ffn_gate_exps"},
    {"feed_forward.experts.*.w2", "ffn_down_exps"},
    {"feed_forward.experts.*.w3", "ffn_up_exps"},
};

constexpr formats::HfFamily folder(std::string_view model_type, std::string_view architecture,
                                   void (*write)(formats::HfConfigWriter&)) {
  return {.model_type = model_type,
          .architecture = architecture,
          .write = write,
          .defaults = {.vocabulary = 65536, .rope_theta = 1e6},
          .tied_embeddings = true,
          .fields = kFields,
          .tensors = kTensors,
          .layer_tensors = kLayerTensors};
}

constexpr formats::HfFamily kFolders[] = {folder("lfm2", "lfm2", write_config),
                                          folder("lfm2_moe", "lfm2moe", write_mixture)};

}  // namespace

constinit const Family families::lfm2 = {kArchitectures, build, kFolders};

}  // namespace outboard::models
