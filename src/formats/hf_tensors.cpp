#include "formats/hf_tensors.h"

#include <algorithm>
#include <charconv>
#include <map>
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

struct Renamed {
  std::string_view name;
  std::optional<size_t> part;  // what stands for the table's '*'
};

// The digits that `text` begins with, as a number and their count; nothing where there are none.
std::optional<std::pair<uint32_t, size_t>> leading_number(std::string_view text) {
  uint32_t number = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
  if (end.ec != std::errc()) return std::nullopt;
  return std::pair(number, static_cast<size_t>(end.ptr - text.data()));
}

std::optional<Renamed> rename(std::span<const HfRename> table, std::string_view name) {
  for (const HfRename& row : table) {
    if (row.from == name) return Renamed{row.to, {}};
    const size_t star = row.from.find('*');
    if (star == std::string_view::npos || !name.starts_with(row.from.substr(0, star))) continue;
    const auto number = leading_number(name.substr(star));
    if (number && name.substr(star + number->second) == row.from.substr(star + 1))
      return Renamed{row.to, number->first};
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

  // What stands in config.json, and what many tensors are rows of.
  void add_rest() {
    for (const HfConfigTensor& tensor : config_.tensors) {
      model_.add({std::string(tensor.name),
                  TensorType::F32,
                  {static_cast<int64_t>(tensor.values.size())},
                  keep(std::as_bytes(std::span(tensor.values)))});
    }
    for (const auto& [name, parts] : parts_) add_parts(name, parts);
  }

 private:
  void add_tensor(const SourceTensor& source) {
    const auto found = gguf_tensor_name(*config_.family, source.name);
    if (!found || (found->name == "output.weight" && config_.tied_embeddings)) return;
    if (!source.type || !is_float(source.type)) {
      fail("dtype: found {}, expected F32, F16 or BF16", source.dtype);
    }
    const size_t most = found->name.find("_exps.") != std::string::npos ? 3 : 2;
    if (source.shape.empty() || source.shape.size() > most || source.data.empty()) {
      fail("shape: found {} dimensions and {} bytes, expected 1 to {} dimensions of at least 1",
           source.shape.size(), source.data.size(), most);
    }
    Tensor tensor{found->name, *source.type, source.shape, source.data};
    if (found->part) {
      if (!parts_[found->name].emplace(*found->part, std::move(tensor)).second)
        fail("name: another tensor is the same row of {}", found->name);
      return;
    }
    if (tensor.shape.size() == 1 || tensor.name.ends_with("_norm.weight")) {
      widen(tensor);
    } else if (const auto second = second_half(tensor.name)) {
      add_half(tensor, *second);
    } else if (is_transposed(*config_.family, tensor.name)) {
      turn(tensor);
    } else if (tensor.name == "token_embd.weight" && config_.family->rows_beyond_tokens &&
               tensor.shape[0] > tokens_) {
      tensor.shape[0] = tokens_;
      tensor.data = source.data.first(storage_bytes(tensor.type, tensor.elements()));
    }
    model_.add(std::move(tensor));
  }

  // GGUF's name of what the second half of a matrix's rows is.
  std::optional<std::string> second_half(std::string_view name) const {
    const size_t begin = name.rfind('.', name.rfind('.') - 1) + 1;
    const size_t end = name.rfind('.');
    const auto other =
        rename(config_.family->halved_layer_tensors, name.substr(begin, end - begin));
    if (!other) return std::nullopt;
    return fmt::format("{}{}{}", name.substr(0, begin), other->name, name.substr(end));
  }

  // Cuts off and adds the second half of the rows.
  void add_half(Tensor& tensor, const std::string& second) {
    if (tensor.shape.size() != 2 || tensor.shape[0] % 2 != 0)
      fail("shape: found {} rows, expected an even number", tensor.shape[0]);
    tensor.shape[0] /= 2;
    const size_t bytes = tensor.data.size() / 2;
    model_.add({second, tensor.type, tensor.shape, tensor.data.subspan(bytes)});
    tensor.data = tensor.data.first(bytes);
  }

  // Vectors, counted from 0, as the rows of one matrix of float32.
  void add_parts(const std::string& name, const std::map<size_t, Tensor>& parts) {
    Tensor whole{name, TensorType::F32, {static_cast<int64_t>(parts.size())}, {}};
    const int64_t columns = parts.begin()->second.columns();
    whole.shape.push_back(columns);
    std::vector<float> values;
    for (const auto& [index, part] : parts) {
      if (index * static_cast<size_t>(columns) != values.size() || part.shape.size() != 1 ||
          part.columns() != columns)
        fail("{}: tensor {}: expected vectors of one size, counted from 0 without a gap",
             model_.path.string(), name);
      values.resize(values.size() + static_cast<size_t>(columns));
      dequantize(part.type, part.data.data(), std::span(values).last(static_cast<size_t>(columns)));
    }
    whole.data = keep(std::as_bytes(std::span(values)));
    model_.add(std::move(whole));
  }

  // Vectors (norms, also of each head's own, and biases) as float32, as converters store them.
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
  std::map<std::string, std::map<size_t, Tensor>> parts_;  // by the name of the whole
};

}  // namespace

std::optional<GgufName> gguf_tensor_name(const HfFamily& family, std::string_view name) {
  if (not_needed(family, name)) return std::nullopt;
  std::string_view rest = strip(strip(name, "model."), "transformer.");
  rest = strip(strip(rest, "language_model."), "model.");  // of a model that also sees
  const size_t dot = rest.rfind('.');
  if (dot == std::string_view::npos) fail("name: no supported model has this tensor");
  std::string_view suffix = rest.substr(dot);
  if (suffix == ".weight" || suffix == ".bias")
    rest = rest.substr(0, dot);
  else
    suffix = {};
  // A name of GGUF's with a dot is whole.
  const auto fits = [&](const std::optional<Renamed>& found) {
    return found && (found->name.find('.') != std::string_view::npos) == suffix.empty();
  };

  if (!rest.starts_with(family.layers)) {
    if (const auto found = rename(family.tensors, rest); fits(found))
      return GgufName{fmt::format("{}{}", found->name, suffix), found->part};
  } else {
    rest = rest.substr(family.layers.size());
    const auto layer = leading_number(rest);
    if (layer && layer->second < rest.size() && rest[layer->second] == '.') {
      if (const auto found = rename(family.layer_tensors, rest.substr(layer->second + 1));
          fits(found))
        return GgufName{fmt::format("blk.{}.{}{}", layer->first, found->name, suffix), found->part};
    }
  }
  fail("name: no supported model has this tensor");
}

void add_hf_tensors(Model& model, const fs::path& folder, const HfConfig& config, int64_t tokens) {
  Adder adder(model, config, tokens);
  for (const WeightFile& file : open_hf_weights(folder, model)) adder.add_file(file);
  adder.add_rest();
}

}  // namespace outboard::formats
