#include "formats/marian_model.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "formats/hf_vocabulary.h"
#include "formats/quantize.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

constexpr float kLayerNormEpsilon = 1e-5f;  // of torch.nn.LayerNorm; transformers sets no other

void check_range(std::string_view what, int64_t value, int64_t most) {
  if (value < 1 || value > most) fail("{}: found {}, expected 1 to {}", what, value, most);
}

void check_side(std::string_view name, const MarianSide& side, int64_t width) {
  check_range(fmt::format("{} layers", name), side.layers, 1024);
  check_range(fmt::format("{} feed-forward width", name), side.feed_forward, 1 << 20);
  check_range(fmt::format("{} heads", name), side.heads, width);
  if (width % side.heads != 0) {
    fail("{} heads: found {}, expected a divisor of the width {}", name, side.heads, width);
  }
}

void check_config(const MarianConfig& config, int64_t tokens) {
  check_range("tokens", tokens, 1 << 24);
  check_range("width", config.width, 1 << 16);
  check_range("positions", config.positions, 1 << 16);
  if (config.width % 2 != 0) fail("width: found {}, expected an even number", config.width);
  check_side("encoder", config.encoder, config.width);
  check_side("decoder", config.decoder, config.width);
  const auto check_token = [&](std::string_view what, int64_t id) {
    if (id < 0 || id >= tokens) fail("{}: found id {}, expected one below {}", what, id, tokens);
  };
  check_token("decoder_start_token_id", config.start);
  check_token("eos_token_id", config.eos);
  check_token("unk_token_id", config.unknown);
  check_token("pad_token_id", config.padding);
  for (const int64_t id : config.never) check_token("bad_words_ids", id);
  if (config.beams) check_range("num_beams", *config.beams, 1 << 10);
  if (config.max_length) check_range("max_length", *config.max_length, 1 << 24);
}

void check_spm(std::string_view name, std::span<const std::byte> bytes) {
  try {
    check_sentencepiece({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  } catch (Error& error) {
    error.add_context(name);
    throw Error(error.message(), "This is no SentencePiece model, or it is damaged.");
  }
}

void set_metadata(Metadata& metadata, const MarianConfig& config, const MarianText& text) {
  const auto number = [&](const char* key, int64_t value) {
    metadata.set(key, static_cast<uint32_t>(value));
  };
  metadata.set("general.architecture", std::string("marian"));
  number("marian.context_length", config.positions);
  number("marian.embedding_length", config.width);
  number("marian.block_count", config.encoder.layers);
  number("marian.decoder_block_count", config.decoder.layers);
  number("marian.feed_forward_length", config.encoder.feed_forward);
  number("marian.decoder_feed_forward_length", config.decoder.feed_forward);
  number("marian.attention.head_count", config.encoder.heads);
  number("marian.decoder_attention_head_count", config.decoder.heads);
  metadata.set("marian.attention.layer_norm_epsilon", kLayerNormEpsilon);
  metadata.set("marian.activation", config.activation);
  metadata.set("marian.normalize_before", config.normalize_before);
  metadata.set("marian.embedding_scale",
               config.scale_embedding ? std::sqrt(static_cast<float>(config.width)) : 1.0f);
  number("marian.decoder_start_token_id", config.start);
  if (config.beams) number("marian.generation.num_beams", *config.beams);
  if (config.length_penalty) {
    metadata.set("marian.generation.length_penalty", static_cast<float>(*config.length_penalty));
  }
  if (config.early_stopping) {
    metadata.set("marian.generation.early_stopping", *config.early_stopping);
  }
  if (config.max_length) number("marian.generation.max_length", *config.max_length);

  metadata.set("tokenizer.ggml.model", std::string("marian"));
  metadata.set("tokenizer.ggml.tokens", MetadataArray{text.tokens});
  number("tokenizer.ggml.eos_token_id", config.eos);
  number("tokenizer.ggml.unknown_token_id", config.unknown);
  number("tokenizer.ggml.padding_token_id", config.padding);
  const auto bytes = [&](const char* key, std::span<const std::byte> file) {
    const auto* begin = reinterpret_cast<const uint8_t*>(file.data());
    metadata.set(key, MetadataArray{std::vector<uint8_t>(begin, begin + file.size())});
  };
  bytes("tokenizer.marian.source_spm", text.source_spm);
  bytes("tokenizer.marian.target_spm", text.target_spm);
}

// A tensor that the model must have.
struct Expected {
  std::string name;
  std::vector<int64_t> shape;
};

class Shapes {
 public:
  Shapes(const MarianConfig& config, int64_t tokens) : width_(config.width), tokens_(tokens) {
    side("enc", config.encoder, config.final_norms);
    side("dec", config.decoder, config.final_norms);
  }

  Expected embedding(std::string name) const { return {std::move(name), {tokens_, width_}}; }
  const std::vector<Expected>& layers() const { return layers_; }

 private:
  void side(const std::string& name, const MarianSide& side, bool final_norm) {
    for (int64_t layer = 0; layer < side.layers; ++layer) {
      const std::string prefix = fmt::format("{}.blk.{}.", name, layer);
      attention(prefix + "attn");
      if (name == "dec") attention(prefix + "cross_attn");
      linear(prefix + "ffn_up", side.feed_forward, width_);
      linear(prefix + "ffn_down", width_, side.feed_forward);
      norm(prefix + "ffn_norm");
    }
    if (final_norm) norm(name + ".output_norm");
  }
  void attention(const std::string& prefix) {
    for (const char* part : {"_q", "_k", "_v", "_o"}) linear(prefix + part, width_, width_);
    norm(prefix + "_norm");
  }
  void linear(const std::string& name, int64_t outputs, int64_t inputs) {
    layers_.push_back({name + ".weight", {outputs, inputs}});
    layers_.push_back({name + ".bias", {outputs}});
  }
  void norm(const std::string& name) {
    layers_.push_back({name + ".weight", {width_}});
    layers_.push_back({name + ".bias", {width_}});
  }

  int64_t width_;
  int64_t tokens_;
  std::vector<Expected> layers_;
};

std::span<const std::byte> keep(Model& model, std::vector<float> values) {
  auto kept = std::make_shared<const std::vector<float>>(std::move(values));
  model.keep_alive(kept);
  return std::as_bytes(std::span(*kept));
}

// The source's tensor under its name and shape; vectors as float32.
Tensor take(Model& model, MarianWeights::Source source, const Expected& expected) {
  Tensor tensor = std::move(source.tensor);
  std::vector<int64_t> shape = tensor.shape;
  // Vectors may be stored as one row.
  if (expected.shape.size() == 1 && shape.size() == 2 && shape[0] == 1) shape.erase(shape.begin());
  if (shape != expected.shape) {
    fail("tensor {} ({}): found the shape [{}], expected [{}]", source.name, expected.name,
         fmt::join(shape, ", "), fmt::join(expected.shape, ", "));
  }
  tensor.name = expected.name;
  tensor.shape = expected.shape;
  if (shape.size() == 1 && tensor.type != TensorType::F32) {
    std::vector<float> values(static_cast<size_t>(tensor.elements()));
    dequantize(tensor.type, tensor.data.data(), values);
    tensor.type = TensorType::F32;
    tensor.data = keep(model, std::move(values));
  }
  return tensor;
}

// The bias of the logits, with what is never chosen at -infinity.
std::vector<float> output_bias(const Tensor* stored, const MarianConfig& config, size_t tokens) {
  std::vector<float> bias(tokens);
  if (stored != nullptr) dequantize(TensorType::F32, stored->data.data(), bias);
  for (const int64_t id : config.never) {
    bias[static_cast<size_t>(id)] = -std::numeric_limits<float>::infinity();
  }
  return bias;
}

}  // namespace

std::vector<float> marian_positions(int64_t positions, int64_t width) {
  std::vector<float> table(static_cast<size_t>(positions * width));
  const int64_t half = width / 2;
  for (int64_t position = 0; position < positions; ++position) {
    float* row = table.data() + position * width;
    for (int64_t i = 0; i < half; ++i) {
      const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(width);
      const double angle = static_cast<double>(position) / std::pow(10000.0, exponent);
      row[i] = static_cast<float>(std::sin(angle));
      row[half + i] = static_cast<float>(std::cos(angle));
    }
  }
  return table;
}

void Refusals::check(bool accepted, std::string reason) {
  if (!accepted) reasons_.push_back(std::move(reason));
}

void Refusals::done(std::string_view source) const {
  if (reasons_.empty()) return;
  throw Error(fmt::format("{}: {}", source, fmt::join(reasons_, "; ")),
              "Outboard does not support these options of a Marian model, and without them its "
              "translations would differ.");
}

void MarianWeights::add(std::string gguf_name, const Source& source) {
  const auto [place, added] = sources_.try_emplace(std::move(gguf_name), source);
  if (!added) fail("tensor {}: found it twice", place->first);
}

const MarianWeights::Source* MarianWeights::find(std::string_view gguf_name) const {
  const auto place = sources_.find(gguf_name);
  return place == sources_.end() ? nullptr : &place->second;
}

void finish_marian(Model& model, const MarianConfig& config, const MarianText& text,
                   MarianWeights weights) {
  const auto tokens = static_cast<int64_t>(text.tokens.size());
  check_config(config, tokens);
  check_spm("source.spm", text.source_spm);
  check_spm("target.spm", text.target_spm);
  set_metadata(model.metadata, config, text);

  auto& sources = weights.sources_;
  // Nothing where the model may lack it and does.
  const auto taken = [&](const Expected& expected, bool needed) -> std::optional<Tensor> {
    auto source = sources.extract(expected.name);
    if (!source.empty()) return take(model, std::move(source.mapped()), expected);
    if (needed) fail("tensor {}: it is missing", expected.name);
    return std::nullopt;
  };
  const Shapes shapes(config, tokens);
  for (const char* name : {"token_embd.weight", "dec.token_embd.weight", "output.weight"}) {
    auto tensor = taken(shapes.embedding(name), name == std::string_view("token_embd.weight"));
    if (tensor) model.add(std::move(*tensor));
  }
  const auto stored = taken({"output.bias", {tokens}}, false);
  model.add({"output.bias",
             TensorType::F32,
             {tokens},
             keep(model, output_bias(stored ? &*stored : nullptr, config, text.tokens.size()))});
  model.add({"position_embd.weight",
             TensorType::F32,
             {config.positions, config.width},
             keep(model, marian_positions(config.positions, config.width))});
  for (const Expected& expected : shapes.layers()) model.add(taken(expected, true).value());
  if (!sources.empty()) {
    const auto& [name, source] = *sources.begin();
    fail("tensor {} ({}): found it in a model whose options leave no place for it", source.name,
         name);
  }
}

int64_t marian_token_id(const std::vector<std::string>& tokens, std::string_view token) {
  const auto place = std::find(tokens.begin(), tokens.end(), token);
  if (place == tokens.end()) fail("vocabulary: the token {} is missing", token);
  return place - tokens.begin();
}

}  // namespace outboard::formats
