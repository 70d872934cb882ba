// Marian's transformer (arXiv:1804.00344), as Helsinki-NLP trains it for opus-mt: an encoder and a
// decoder with layer norms, sinusoidal positions and a bias on the logits. The names of tensors and
// keys are llama.cpp's for encoder-decoders, where it has some.
#include <fmt/format.h>

#include <cmath>

#include "models/family.h"
#include "support/error.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

namespace {

struct Stack {
  int layers = 0;
  int heads = 0;
};

class Marian {
 public:
  Marian(const formats::Model& model, Keys& keys) : b_(model, "marian") {
    width_ = keys.integer("embedding_length", 1, 1 << 20);
    context_length_ = keys.integer("context_length", 1, 1 << 20);
    encoder_ = {static_cast<int>(keys.integer("block_count", 1, 1024)),
                static_cast<int>(keys.integer("attention.head_count", 1, 4096))};
    decoder_ = {static_cast<int>(keys.integer("decoder_block_count", 1, 1024)),
                static_cast<int>(keys.integer("decoder_attention_head_count", 1, 4096))};
    for (const Stack& stack : {encoder_, decoder_})
      if (width_ % stack.heads != 0)
        fail("marian.embedding_length: {}, expected a multiple of the {} heads", width_,
             stack.heads);
    epsilon_ = keys.positive_or("attention.layer_norm_epsilon", 1e-5);
    embedding_scale_ = keys.number_or("embedding_scale", 1);
    normalize_before_ = keys.flag_or("normalize_before", false);
    const std::string activation = keys.text_or("activation", "swish");
    if (activation == "swish" || activation == "silu") {
      function_ = Function::kSilu;
    } else if (activation == "relu") {
      function_ = Function::kRelu;
    } else if (activation == "gelu") {
      function_ = Function::kGeluErf;
    } else {
      fail("marian.activation: \"{}\", expected swish, relu or gelu", activation);
    }
  }

  Program build() {
    encode();
    b_.end_encoder();
    const ValueId logits = decode();
    return b_.finish(
        logits, std::min(context_length_, b_.weight_shape(b_.weight("position_embd.weight"))[0]));
  }

 private:
  float scale(const Stack& stack) const {
    return 1.0F / std::sqrt(static_cast<float>(width_ / stack.heads));
  }
  StateId kv_state(const Stack& stack, bool source) {
    const auto dim = static_cast<int>(width_ / stack.heads);
    return b_.kv_state(stack.heads, dim, dim, source);
  }
  WeightId decoder_embedding() {
    const WeightId own = b_.optional_weight("dec.token_embd.weight");
    return own != kNone ? own : b_.weight("token_embd.weight");
  }

  ValueId norm(std::string_view what, ValueId x, const std::string& tensor) {
    return b_.op(what, LayerNorm{x, b_.weight(tensor + ".weight"),
                                 b_.optional_weight(tensor + ".bias"), epsilon_});
  }
  // x and what a sublayer makes of it, with the norm on the side that the model has it.
  template <typename Sublayer>
  ValueId residual(std::string_view what, ValueId x, const std::string& norm_tensor,
                   Sublayer sublayer) {
    const std::string norm_name = fmt::format("{} norm", what);
    const ValueId in = normalize_before_ ? norm(norm_name, x, norm_tensor) : x;
    const ValueId sum = b_.op(fmt::format("{} residual", what), Add{x, sublayer(in)});
    return normalize_before_ ? sum : norm(norm_name, sum, norm_tensor);
  }
  ValueId self_attention(ValueId x, const std::string& layer, const Stack& stack, StateId state,
                         bool causal) {
    return residual("attention", x, layer + "attn_norm", [&](ValueId in) {
      const ValueId q = b_.linear("q", in, layer + "attn_q");
      const ValueId k = b_.linear("k", in, layer + "attn_k");
      const ValueId v = b_.linear("v", in, layer + "attn_v");
      const ValueId a =
          b_.op("attention", Attention{q, k, v, state, stack.heads, 0, scale(stack), 0, causal});
      return b_.linear("attention output", a, layer + "attn_o");
    });
  }
  ValueId cross_attention(ValueId x, const std::string& layer, StateId state) {
    return residual("cross attention", x, layer + "cross_attn_norm", [&](ValueId in) {
      const ValueId q = b_.linear("cross q", in, layer + "cross_attn_q");
      const ValueId a =
          b_.op("cross attention", CrossAttention{q, state, decoder_.heads, scale(decoder_)});
      return b_.linear("cross attention output", a, layer + "cross_attn_o");
    });
  }
  ValueId feed_forward(ValueId x, const std::string& layer) {
    return residual("feed-forward", x, layer + "ffn_norm", [&](ValueId in) {
      const ValueId up = b_.linear("up", in, layer + "ffn_up");
      return b_.linear("down", b_.op("activated", Activation{up, function_}), layer + "ffn_down");
    });
  }
  ValueId embedding(WeightId table) {
    const ValueId tokens = b_.op("tokens", Embed{b_.tokens(), table, embedding_scale_});
    const ValueId positions =
        b_.op("positions", Embed{b_.positions(), b_.weight("position_embd.weight")});
    return b_.op("embedding", Add{tokens, positions});
  }
  // Pre-norm stacks end in a norm.
  ValueId final_norm(ValueId x, const std::string& tensor) {
    return b_.optional_weight(tensor + ".weight") != kNone ? norm("final norm", x, tensor) : x;
  }

  void encode() {
    b_.scope("encoder");
    ValueId x = embedding(b_.weight("token_embd.weight"));
    const StateId shared = kv_state(encoder_, true);
    for (int layer = 0; layer < encoder_.layers; ++layer) {
      b_.scope(fmt::format("encoder layer {}", layer));
      const std::string name = fmt::format("enc.blk.{}.", layer);
      x = self_attention(x, name, encoder_, shared, false);
      x = feed_forward(x, name);
    }
    b_.scope("encoder");
    x = final_norm(x, "enc.output_norm");
    // What the decoder's layers will ask of the source, once for all its steps.
    for (int layer = 0; layer < decoder_.layers; ++layer) {
      b_.scope(fmt::format("decoder layer {}", layer));
      const std::string name = fmt::format("dec.blk.{}.", layer);
      sources_.push_back(kv_state(decoder_, true));
      const ValueId k = b_.linear("source k", x, name + "cross_attn_k");
      const ValueId v = b_.linear("source v", x, name + "cross_attn_v");
      b_.op("source kv", KvWrite{k, v, sources_.back()});
    }
  }

  ValueId decode() {
    b_.scope("decoder");
    const WeightId table = decoder_embedding();
    ValueId x = embedding(table);
    for (int layer = 0; layer < decoder_.layers; ++layer) {
      b_.scope(fmt::format("decoder layer {}", layer));
      const std::string name = fmt::format("dec.blk.{}.", layer);
      x = self_attention(x, name, decoder_, kv_state(decoder_, false), true);
      x = cross_attention(x, name, sources_[static_cast<size_t>(layer)]);
      x = feed_forward(x, name);
    }
    b_.scope("");
    x = final_norm(b_.op("rows", SelectRows{x}), "dec.output_norm");
    const WeightId own = b_.optional_weight("output.weight");
    return b_.op("logits",
                 Linear{x, own != kNone ? own : table, b_.optional_weight("output.bias")});
  }

  Builder b_;
  int64_t width_ = 0;
  int64_t context_length_ = 0;
  Stack encoder_;
  Stack decoder_;
  float epsilon_ = 0;
  float embedding_scale_ = 1;
  bool normalize_before_ = false;
  Function function_ = Function::kSilu;
  std::vector<StateId> sources_;  // by decoder layer
};

constexpr std::string_view kArchitectures[] = {"marian"};

Program build(const formats::Model& model, Keys& keys) { return Marian(model, keys).build(); }

}  // namespace

// Its folders are read by formats/marian.h: they hold more than renamed tensors.
constinit const Family families::marian = {kArchitectures, build};

}  // namespace outboard::models
