#include "formats/hf_tensors.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <span>

#include "formats/hf_weights.h"
#include "formats/quantize.h"
#include "formats/transpose.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

namespace fs = std::filesystem;

std::string_view strip(std::string_view text, std::string_view prefix) {
  return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
}

std::optional<std::string_view> rename(std::span<const HfRename> table, std::string_view name) {
  for (const HfRename& row : table) {
    if (row.from == name) return row.to;
  }
  return std::nullopt;
}

bool not_needed(const HfFamily& family, std::string_view name) {
  return name.ends_with(".rotary_emb.inv_freq") ||
         std::ranges::any_of(family.unneeded_tensors, [&](std::string_view piece) {
           return piece.ends_with('.') ? name.find(piece) != std::string_view::npos
                                       : name.ends_with(piece);
         });
}

bool is_float(const std::optional<TensorType>& type) {
  return type == TensorType::F32 || type == TensorType::F16 || type == TensorType::BF16;
}

// GGUF's "blk.N.NAME.weight" of a layer that is stored as [inputs, outputs].
bool is_transposed(const HfFamily& family, std::string_view gguf_name) {
  return std::ranges::any_of(family.transposed_layer_tensors, [&](std::string_view name) {
    return gguf_name.starts_with("blk.") && gguf_name.ends_with(fmt::format(".{}.weight", name));
  });
}

class Adder {
 public:
  Adder(Model& model, const HfConfig& config, int64_t tokens)
      : model_(model), config_(config), tokens_(tokens) {}

  void add_file(const WeightFile& file) {
    for (const SourceTensor& tensor : file.tensors) {
      try {
        add_tensor(tensor);
      } catch (Error& error) {
        error.add_context(fmt::format("{}: tensor {}", file.path.string(), tensor.name));
        throw;
      }
    }
  }

  void add_rope_factors() {
    const std::vector<float>& factors = config_.rope_factors;
    if (factors.empty()) return;
    model_.add({"rope_freqs.weight",
                TensorType::F32,
                {static_cast<int64_t>(factors.size())},
                keep(std::as_bytes(std::span(factors)))});
  }

 private:
  void add_tensor(const SourceTensor& source) {
    const auto name = gguf_tensor_name(*config_.family, source.name);
    if (!name || (*name == "output.weight" && config_.tied_embeddings)) return;
    if (!source.type || !is_float(source.type)) {
      fail("dtype: found {}, expected F32, F16 or BF16", source.dtype);
    }
    if (source.shape.empty() || source.shape.size() > 2 || source.data.empty()) {
      fail("shape: found {} dimensions and {} bytes, expected 1 or 2 dimensions of at least 1",
           source.shape.size(), source.data.size());
    }
    Tensor tensor{*name, *source.type, source.shape, source.data};
    if (tensor.shape.size() == 1) {
      widen(tensor);
    } else if (is_transposed(*config_.family, tensor.name)) {
      turn(tensor);
    } else if (tensor.name == "token_embd.weight" && config_.family->rows_beyond_tokens &&
               tensor.shape[0] > tokens_) {
      tensor.shape[0] = tokens_;
      tensor.data = source.data.first(storage_bytes(tensor.type, tensor.elements()));
    }
    model_.add(std::move(tensor));
  }

  // Vectors (norms, biases) as float32, as converters store them.
  void widen(Tensor& tensor) {
    const auto count = static_cast<size_t>(tensor.elements());
    std::vector<float> values(count);
    dequantize(tensor.type, tensor.data.data(), values);
    if (config_.family->norms_plus_1 && tensor.name.ends_with("norm.weight")) {
      for (float& value : values) value += 1;
    }
    tensor.type = TensorType::F32;
    tensor.data = keep(std::as_bytes(std::span(values)));
  }

  void turn(Tensor& tensor) {
    const auto turned = transpose(tensor.data, static_cast<size_t>(tensor.shape[0]),
                                  static_cast<size_t>(tensor.shape[1]));
    std::swap(tensor.shape[0], tensor.shape[1]);
    tensor.data = *turned;
    model_.keep_alive(turned);
  }

  // A copy that lives as long as the model.
  std::span<const std::byte> keep(std::span<const std::byte> bytes) {
    auto copy = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
    model_.keep_alive(copy);
    return *copy;
  }

  Model& model_;
  const HfConfig& config_;
  int64_t tokens_;
};

}  // namespace

std::optional<std::string> gguf_tensor_name(const HfFamily& family, std::string_view name) {
  if (not_needed(family, name)) return std::nullopt;
  std::string_view rest = strip(strip(name, "model."), "transformer.");
  rest = strip(strip(rest, "language_model."), "model.");  // of a model that also sees
  const size_t dot = rest.rfind('.');
  if (dot == std::string_view::npos) fail("name: no supported model has this tensor");
  const std::string_view suffix = rest.substr(dot);  // ".weight" or ".bias"
  rest = rest.substr(0, dot);

  if (suffix == ".weight" || suffix == ".bias") {
    if (!rest.starts_with(family.layers)) {
      if (const auto found = rename(family.tensors, rest))
        return fmt::format("{}{}", *found, suffix);
    } else {
      rest = rest.substr(family.layers.size());
      uint32_t layer = 0;
      const auto number = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
      const auto digits = static_cast<size_t>(number.ptr - rest.data());
      if (number.ec == std::errc() && digits < rest.size() && rest[digits] == '.') {
        const auto found = rename(family.layer_tensors, rest.substr(digits + 1));
        if (found) return fmt::format("blk.{}.{}{}", layer, *found, suffix);
      }
    }
  }
  fail("name: no supported model has this tensor");
}

void add_hf_tensors(Model& model, const fs::path& folder, const HfConfig& config, int64_t tokens) {
  Adder adder(model, config, tokens);
  for (const WeightFile& file : open_hf_weights(folder, model)) adder.add_file(file);
  adder.add_rope_factors();
}

}  // namespace outboard::formats
