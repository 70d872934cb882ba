// Llama (arXiv:2302.13971, 2307.09288, 2407.21783), Mistral (arXiv:2310.06825) and SmolLM2: one
// architecture, "llama". Tensor names and metadata keys as llama.cpp writes them.
#include <fmt/format.h>

#include <cmath>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  const Hyperparameters h =
      read_hyperparameters(keys, "attention.layer_norm_rms_epsilon", Positions::kScaledRotary);
  // GGUF's converter reorders q and k so that rotary pairs are neighbours; folders keep halves.
  const bool neox = model.metadata.get_bool("outboard.rope.neox", false);

  const int experts_used = read_experts_used(keys);
  Builder b(model, "llama");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  const WeightId factors =
      h.rope_freqs ? b.weight("rope_freqs.weight") : b.optional_weight("rope_freqs.weight");
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const auto name = [&](std::string_view part) { return fmt::format("blk.{}.{}", layer, part); };

    const ValueId n = rms_norm(b, "attention norm", x, name("attn_norm"), h.epsilon);
    ValueId q = b.linear("q", n, name("attn_q"));
    ValueId k = b.linear("k", n, name("attn_k"));
    const ValueId v = b.linear("v", n, name("attn_v"));
    const auto rope = [&](std::string_view what, ValueId value) {
      return b.op(what, Rope{value, h.key_dim, h.rotary, h.rope_base, h.rope_scale, factors, neox});
    };
    q = rope("q rope", q);
    k = rope("k rope", k);
    const StateId kv = b.kv_state(h.kv_heads, h.key_dim, h.value_dim);
    const float scale = 1.0F / std::sqrt(static_cast<float>(h.key_dim));
    const ValueId a = b.op("attention", Attention{q, k, v, kv, h.heads, h.window, scale, 0});
    x = b.op("attention residual", Add{x, b.linear("attention output", a, name("attn_output"))});

    const ValueId m = rms_norm(b, "feed-forward norm", x, name("ffn_norm"), h.epsilon);
    const ValueId f = feed_forward(b, m, layer, Function::kSilu, experts_used);
    x = b.op("feed-forward residual", Add{x, f});
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

// --- Hugging Face's folders ---

void write_config(formats::HfConfigWriter& w, int64_t window) {
  const int64_t rotated = w.write_sizes();
  w.set("vocab_size", w.vocabulary());
  w.set("rope.dimension_count", rotated);
  // The folder's q and k rows are made for rotating halves, GGUF's for neighbours.
  w.set_any("outboard.rope.neox", true);
  if (window > 0) w.set("attention.sliding_window", window);
  w.write_rope(rotated);
}

bool has_window(const formats::Json& config) {
  return !config.contains("sliding_window") ||
         formats::json_field(config, "sliding_window") != nullptr;
}

constexpr std::string_view kArchitectures[] = {"llama"};

constexpr formats::KnownField kLlamaFields[] = {
    {"hidden_act", R"(["silu", "swish"])"},
    {"is_llama_config", "[true]"},
    {"layer_types",
     {},
     [](const formats::Json& config, const formats::Json&) {
       return formats::all_layers_slide(config, false, "num_hidden_layers");
     }},
};

// Mistral's layers all have a window (v0.1; later models write null); a config without the field
// has the family's. One that the context never fills changes nothing.
void write_mistral(formats::HfConfigWriter& w) {
  const int64_t window =
      has_window(w.config()) ? w.optional_size("sliding_window").value_or(4096) : 0;
  const bool fills = window < w.optional_size("max_position_embeddings").value_or(2048);
  write_config(w, fills ? window : 0);
}

constexpr formats::KnownField kMistralFields[] = {
    {"hidden_act", R"(["silu", "swish"])"},
    {"sliding_window"},
    {"layer_types",
     {},
     [](const formats::Json& config, const formats::Json&) {
       return formats::all_layers_slide(config, has_window(config), "num_hidden_layers");
     }},
};

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "llama",
     .architecture = "llama",
     .write = [](formats::HfConfigWriter& w) { write_config(w, 0); },
     .fields = kLlamaFields,
     .tensors = kHfTensors,
     .layer_tensors = kHfLayerTensors},
    {.model_type = "mistral",
     .architecture = "llama",
     .write = write_mistral,
     .fields = kMistralFields,
     .tensors = kHfTensors,
     .layer_tensors = kHfLayerTensors},
};

}  // namespace

constinit const Family families::llama = {kArchitectures, build, kFolders};

}  // namespace outboard::models
