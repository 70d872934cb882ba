// GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"), all sizes:
// learned positions, layer norms with bias, one matrix for q, k and v.
#include <fmt/format.h>

#include <cmath>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  const Hyperparameters h =
      read_hyperparameters(keys, "attention.layer_norm_epsilon", Positions::kLearned);
  if (h.kv_heads != h.heads || h.value_dim != h.key_dim)
    fail("gpt2: {} heads for keys and values of {} and {} elements, expected {} of {}", h.kv_heads,
         h.key_dim, h.value_dim, h.heads, h.key_dim);
  Builder b(model, "gpt2");
  const auto norm = [&](std::string_view what, ValueId x, const std::string& tensor) {
    return b.op(what, LayerNorm{x, b.weight(tensor + ".weight"),
                                b.optional_weight(tensor + ".bias"), h.epsilon});
  };
  ValueId x = b.op("positions", Embed{b.positions(), b.weight("position_embd.weight")});
  x = b.op("embedding", Add{b.op("tokens", Embed{b.tokens(), b.weight("token_embd.weight")}), x});
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto name = [&](std::string_view part) { return fmt::format("blk.{}.{}", layer, part); };

    const ValueId n = norm("attention norm", x, name("attn_norm"));
    const ValueId qkv = b.linear("qkv", n, name("attn_qkv"));
    const ValueId q = b.op("q", Slice{qkv, 0, h.width});
    const ValueId k = b.op("k", Slice{qkv, h.width, h.width});
    const ValueId v = b.op("v", Slice{qkv, 2 * h.width, h.width});
    const StateId kv = b.kv_state(h.heads, h.key_dim, h.key_dim);
    const float scale = 1.0F / std::sqrt(static_cast<float>(h.key_dim));
    const ValueId a = b.op("attention", Attention{q, k, v, kv, h.heads, 0, scale, 0});
    x = b.op("attention residual", Add{x, b.linear("attention output", a, name("attn_output"))});

    const ValueId m = norm("feed-forward norm", x, name("ffn_norm"));
    const ValueId up = b.linear("up", m, name("ffn_up"));
    const ValueId f =
        b.linear("down", b.op("activated", Activation{up, Function::kGeluTanh}), name("ffn_down"));
    x = b.op("feed-forward residual", Add{x, f});
  }
  b.scope("");
  x = b.op("rows", SelectRows{x});
  x = norm("final norm", x, "output_norm");
  const ValueId logits = b.op("logits", Linear{x, output_weight(b), kNone});
  return b.finish(logits,
                  std::min(h.context_length, b.weight_shape(b.weight("position_embd.weight"))[0]));
}

constexpr std::string_view kArchitectures[] = {"gpt2"};

// --- Hugging Face's folders ---

void write_config(formats::HfConfigWriter& w) {
  const int64_t width = w.size("n_embd");
  w.set_layers(w.size("n_layer"));
  w.read_vocabulary();
  const auto context = w.optional_size("n_ctx");
  w.set("context_length", context ? *context : w.size("n_positions"));
  w.set("embedding_length", width);
  w.set("feed_forward_length", w.optional_size("n_inner").value_or(4 * width));
  w.set("attention.head_count", w.size("n_head"));
  w.set("attention.layer_norm_epsilon",
        formats::json_number(w.config(), "layer_norm_epsilon").value_or(1e-5));
}

constexpr formats::KnownField kFields[] = {
    {"n_embd"},
    {"n_layer"},
    {"n_head"},
    {"n_inner"},
    {"n_ctx"},
    {"n_positions"},
    {"layer_norm_epsilon"},
    {"layer_types",
     {},
     [](const formats::Json& config, const formats::Json&) {
       return formats::all_layers_slide(config, false, "n_layer");
     }},
    {"activation_function", R"(["gelu_new", "gelu_pytorch_tanh"])"},
    {"scale_attn_weights", "[true]"},
    {"scale_attn_by_inverse_layer_idx", "[false]"},
    {"reorder_and_upcast_attn"},
    {"summary_*"},
    {"n_special"},
    {"predict_special_tokens"},
};

// As transformers' attribute map has them.
constexpr formats::HfRename kFieldAliases[] = {
    {"hidden_size", "n_embd"},
    {"max_position_embeddings", "n_positions"},
    {"num_attention_heads", "n_head"},
    {"num_hidden_layers", "n_layer"},
};

constexpr formats::HfRename kTensors[] = {{"wte", "token_embd"},
                                          {"wpe", "position_embd"},
                                          {"ln_f", "output_norm"},
                                          {"lm_head", "output"}};
constexpr formats::HfRename kLayerTensors[] = {
    {"ln_1", "attn_norm"}, {"attn.c_attn", "attn_qkv"}, {"attn.c_proj", "attn_output"},
    {"ln_2", "ffn_norm"},  {"mlp.c_fc", "ffn_up"},      {"mlp.c_proj", "ffn_down"},
};
constexpr std::string_view kMasks[] = {".attn.bias", ".attn.masked_bias"};
constexpr std::string_view kTransposed[] = {"attn_qkv", "attn_output", "ffn_up", "ffn_down"};

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "gpt2",
     .architecture = "gpt2",
     .write = write_config,
     .positions = formats::HfPositions::kLearned,
     .tied_embeddings = true,
     .fields = kFields,
     .field_aliases = kFieldAliases,
     .layers = "h.",
     .tensors = kTensors,
     .layer_tensors = kLayerTensors,
     .unneeded_tensors = kMasks,
     .transposed_layer_tensors = kTransposed},
};

}  // namespace

constinit const Family families::gpt2 = {kArchitectures, build, kFolders};

}  // namespace outboard::models
