// Command R (Cohere) and Command R7B / A (arXiv:2504.00698): layer norms without bias, attention
// and feed-forward layer side by side on the same normed row, factors of the logits. The second
// kind has a window on three layers of four, and positions on those alone.
#include <fmt/format.h>

#include "models/family.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  const Hyperparameters h = read_hyperparameters(keys, "attention.layer_norm_epsilon");
  const bool second = keys.architecture() == "cohere2";
  const float logit_scale = keys.number_or("logit_scale", 0);
  std::vector<bool> sliding(static_cast<size_t>(h.layers), false);
  if (second) sliding = sliding_layers(keys, h, 4);
  Builder b(model, keys.architecture());
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  AttentionLayer a(h);
  if (b.optional_weight(layer_name(0, "attn_q_norm.weight")) != kNone)  // Command R+
    a.norms = HeadNorms::kEveryHead;
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const bool slides = sliding[static_cast<size_t>(layer)];
    a.window = slides ? h.window : 0;
    a.rope = h.rope;
    if (second && !slides) a.rope.reset();
    const ValueId n = layer_norm(b, "norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    const ValueId attended = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    x = residual(b, "feed-forward residual", attended, feed_forward(b, n, layer, Function::kSilu));
  }
  b.scope("");
  x = b.op("rows", SelectRows{x});
  x = layer_norm(b, "final norm", x, "output_norm", h.epsilon);
  return b.finish(logits_of(b, x, h, logit_scale == 0 ? 1 : logit_scale), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"command-r", "cohere2"};

// --- Hugging Face's folders ---

// Pairs are neighbours in folders as well.
void write_config(formats::HfConfigWriter& w) {
  const int64_t turned = w.write_sizes();
  w.set("rope.dimension_count", turned);
  w.write_rope(turned);
  w.set("logit_scale", formats::json_number(w.config(), "logit_scale").value_or(0.0625));
}

void write_first(formats::HfConfigWriter& w) {
  write_config(w);
  // Command R was trained on more than its max_position_embeddings say.
  if (const auto context = w.optional_size("model_max_length")) w.set("context_length", *context);
}

void write_second(formats::HfConfigWriter& w) {
  write_config(w);
  w.write_windows(4096, 4);
}

constexpr formats::KnownField kFields[] = {
    {"hidden_act", R"(["silu"])"},
    {"logit_scale"},
    {"use_qk_norm"},  // the tensors tell
    {"layer_types",
     {},
     [](const formats::Json& config, const formats::Json&) {
       return formats::all_layers_slide(config, false, "num_hidden_layers");
     }},
};
constexpr formats::KnownField kSecondFields[] = {
    {"hidden_act", R"(["silu"])"},
    {"logit_scale"},
    {"sliding_window"},
    {"sliding_window_pattern", "[4]"},
    {"_sliding_window_pattern", "[4]"},
    {"layer_types", {}, formats::lists_layers},
    // What the first configs of Command R7B say of themselves.
    {"layer_switch", "[4]"},
    {"order_of_interleaved_layers", R"(["local_attn_first"])"},
    {"position_embedding_type", R"(["rope_gptj"])"},
    {"rotary_pct", "[1]"},
    {"use_embedding_sharing", "[true]"},
    {"use_gated_activation", "[true]"},
    {"use_parallel_block", "[true]"},
    {"use_parallel_embedding"},
};

constexpr formats::HfFamily kFolders[] = {
    {.model_type = "cohere",
     .architecture = "command-r",
     .write = write_first,
     .defaults = {.context = 8192, .epsilon = 1e-5},
     .epsilon = {"layer_norm_eps", formats::kLayerNormEpsilon},
     .tied_embeddings = true,
     .fields = kFields,
     .tensors = kHfTensors,
     .layer_tensors = kHfLayerTensors},
    {.model_type = "cohere2",
     .architecture = "cohere2",
     .write = write_second,
     .defaults = {.context = 8192, .epsilon = 1e-5},
     .epsilon = {"layer_norm_eps", formats::kLayerNormEpsilon},
     .tied_embeddings = true,
     .fields = kSecondFields,
     .tensors = kHfTensors,
     .layer_tensors = kHfLayerTensors},
};

}  // namespace

constinit const Family families::cohere = {kArchitectures, build, kFolders};

}  // namespace outboard::models
