// Llama 4, text (Meta, 2025): three layers of four see a chunk of the context and turn q and k,
// whose rows are normalised after it; the fourth sees everything and knows no positions, but its
// queries grow with them. Experts whose rows are weighed before they go in, beside a shared one.
#include <fmt/format.h>

#include <cmath>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

Program build(const formats::Model& model, Keys& keys) {
  Hyperparameters h =
      read_hyperparameters(keys, "attention.layer_norm_rms_epsilon", Positions::kScaledRotary);
  // Without a window (0) all layers turn and see everything; chunks are 8192 long where nothing
  // else is said.
  const bool whole = keys.contains("attention.sliding_window") && h.window == 0;
  if (!whole && h.window == 0) h.window = 8192;
  const std::vector<bool> chunked = sliding_layers(keys, h, 4);
  const int64_t expert_count = keys.integer_or("expert_count", 0, 0, 1024);
  const ExpertChoice experts =
      read_experts(keys, {.gating = Gating::kSigmoid, .normalise = false, .weights_first = true});
  Builder b(model, "llama4");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  rope_factors(b, h);
  AttentionLayer a(h);
  for (int layer = 0; layer < h.layers; ++layer) {
    b.scope(fmt::format("layer {}", layer));
    const bool turns = whole || (layer + 1) % 4 != 0;
    a.window = chunked[static_cast<size_t>(layer)] ? h.window : 0;
    a.chunked = a.window > 0;
    a.rope = h.rope;
    a.query_scale.reset();
    // Maverick (128 experts) does without the norms.
    a.norms = turns && expert_count != 128 ? HeadNorms::kUnweighedAfterRope : HeadNorms::kNone;
    if (!turns) {
      a.rope.reset();
      a.query_scale = PositionScale{kNone, 0.1F, 8192, 1};
    }
    ValueId n = rms_norm(b, "attention norm", x, layer_name(layer, "attn_norm"), h.epsilon);
    x = residual(b, "attention residual", x, self_attention(b, n, layer, a));
    n = rms_norm(b, "feed-forward norm", x, layer_name(layer, "ffn_norm"), h.epsilon);
    x = residual(b, "feed-forward residual", x, mixture(b, n, layer, Function::kSilu, experts));
  }
  return b.finish(rms_logits(b, x, h), h.context_length);
}

constexpr std::string_view kArchitectures[] = {"llama4"};

}  // namespace

constinit const Family families::llama4 = {kArchitectures, build};

}  // namespace outboard::models
