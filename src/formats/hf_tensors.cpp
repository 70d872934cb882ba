#include "formats/hf_tensors.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <memory>
#include <span>

#include "formats/blocks.h"
#include "formats/hf_layout.h"
#include "formats/hf_weights.h"
#include "formats/quantize.h"
#include "support/error.h"
#include "support/scratch_memory.h"

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

// Whether a name of GGUF's in a table says all, its ending too.
bool is_whole(std::string_view name) {
  return name.ends_with(".weight") || name.ends_with(".bias") || name.ends_with(".scale") ||
         name == "ssm_a" || name == "ssm_d";
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

// How names of MXFP4's two tensors end, and of DeepSeek's matrix of keys and values.
constexpr std::string_view kCodes = "_blocks", kExponents = "_scales";
constexpr std::string_view kLatentMatrix = ".attn_kv_b.weight";

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
    for (const auto& [name, parts] : parts_)
      name.find("_exps.") != std::string::npos ? add_stack(name, parts) : add_parts(name, parts);
    if (!packed_.empty())
      fail("{}: tensor {}: of its _blocks and _scales one is missing", model_.path.string(),
           packed_.begin()->first);
  }

 private:
  void add_tensor(const SourceTensor& source) {
    if (source.dtype == "U8" &&
        (source.name.ends_with(kCodes) || source.name.ends_with(kExponents)))
      return add_packed(source);
    if (config_.family->further_layers && is_further_layer(source.name)) return;
    const auto found = gguf_tensor_name(*config_.family, source.name);
    if (!found || (found->name == "output.weight" && config_.tied_embeddings)) return;
    if (!source.type || !is_float(source.type)) {
      fail("dtype: found {}, expected F32, F16 or BF16", source.dtype);
    }
    Tensor tensor{found->name, *source.type, source.shape, source.data};
    // A convolution's taps, of each channel by itself.
    if (tensor.shape.size() == 3 && tensor.shape[1] == 1)
      tensor.shape.erase(tensor.shape.begin() + 1);
    // A bias that could be of several groups of experts, of which there is one.
    if (tensor.name.ends_with(".bias") && tensor.shape.size() == 2 && tensor.shape[0] == 1)
      tensor.shape.erase(tensor.shape.begin());
    const size_t most = found->name.find("_exps.") != std::string::npos ? 3 : 2;
    if (tensor.shape.empty() || tensor.shape.size() > most || source.data.empty()) {
      fail("shape: found {} dimensions and {} bytes, expected 1 to {} dimensions of at least 1",
           tensor.shape.size(), source.data.size(), most);
    }
    if (found->part) {
      if (!parts_[found->name].emplace(*found->part, std::move(tensor)).second)
        fail("name: another tensor is the same row of {}", found->name);
      return;
    }
    if (tensor.shape.size() == 1 || tensor.name.ends_with("_norm.weight") ||
        tensor.name.ends_with(".bias")) {
      widen(tensor);
    } else if (const auto second = other_in(config_.family->halved_layer_tensors, tensor.name)) {
      add_half(tensor, *second);
    } else if (is_transposed(*config_.family, tensor.name)) {
      turn(tensor);
    } else if (tensor.name == "token_embd.weight" && config_.family->rows_beyond_tokens &&
               tensor.shape[0] > tokens_) {
      tensor.shape[0] = tokens_;
      tensor.data = source.data.first(storage_bytes(tensor.type, tensor.elements()));
    }
    place(std::move(tensor));
  }

  bool is_further_layer(std::string_view name) const {
    const size_t at = name.find(config_.family->layers);
    if (at == std::string_view::npos) return false;
    const auto layer = leading_number(name.substr(at + config_.family->layers.size()));
    return layer && int64_t{layer->first} >= model_.metadata.get_int(fmt::format(
                                                 "{}.block_count", config_.family->architecture));
  }

  // As GGUF has it, but for rows that are two tensors'.
  void place(Tensor tensor) {
    if (tensor.name.ends_with(".ssm_norm.weight")) by_groups(tensor);
    if (tensor.name == "token_embd.weight" && config_.tied_embeddings &&
        factors_of("output.weight") != nullptr) {
      Tensor output = tensor;
      output.name = "output.weight";
      multiply(output);
      model_.add(std::move(output));
    }
    multiply(tensor);
    if (tensor.name.ends_with(kLatentMatrix)) return add_latent(tensor);
    const auto other = other_in(config_.family->alternating_layer_tensors, tensor.name);
    if (!other) return model_.add(std::move(tensor));
    // A bias has an element where a matrix has a row.
    const bool is_bias = tensor.name.ends_with(".bias");
    const size_t row = is_bias ? 1 : 2;
    if (tensor.shape.size() < row)
      fail("shape: found {} dimensions, expected {} or more", tensor.shape.size(), row);
    int64_t& rows = tensor.shape[tensor.shape.size() - row];
    if (rows % 2 != 0) fail("shape: found {} rows, expected an even number", rows);
    const auto own = space(tensor.data.size() / 2), others = space(tensor.data.size() / 2);
    alternate_rows(tensor.data, storage_bytes(tensor.type, is_bias ? 1 : tensor.columns()), own,
                   others);
    rows /= 2;
    model_.add({*other, tensor.type, tensor.shape, others});
    tensor.data = own;
    model_.add(std::move(tensor));
  }

  // A matrix of MXFP4 is two tensors: codes [.., rows, blocks, 16] and exponents [.., rows,
  // blocks].
  void add_packed(const SourceTensor& source) {
    const bool is_codes = source.name.ends_with(kCodes);
    const std::string stem =
        source.name.substr(0, source.name.size() - (is_codes ? kCodes : kExponents).size());
    const auto found = gguf_tensor_name(*config_.family, stem);
    if (!found) return;
    Packed& packed = packed_[stem];
    std::optional<SourceTensor>& place_of = is_codes ? packed.codes : packed.exponents;
    if (place_of) fail("name: it is there twice");
    place_of = source;
    if (!packed.codes || !packed.exponents) return;
    std::vector<int64_t> shape = packed.exponents->shape;
    std::vector<int64_t> codes = shape;
    codes.push_back(sizeof(BlockMxfp4::qs));
    if (shape.size() != 3 || packed.codes->shape != codes || packed.codes->data.empty())
      fail(
          "shape: expected codes [experts, rows, blocks, 16] and exponents [experts, rows, "
          "blocks]");
    shape.back() *= type_info(TensorType::MXFP4).block_elements;
    const auto blocks = space(packed.exponents->data.size() * sizeof(BlockMxfp4));
    mxfp4_blocks(packed.codes->data, packed.exponents->data, blocks);
    place({found->name, TensorType::MXFP4, shape, blocks});
    packed_.erase(stem);
  }

  // DeepSeek's kv_b_proj, [heads * (still + value), rank], is what makes keys and values of a
  // latent: in the absorbed form a matrix for queries, turned, and one for values.
  void add_latent(const Tensor& tensor) {
    const auto key = [&](std::string_view name) {
      return model_.metadata.get_int(fmt::format("{}.{}", config_.family->architecture, name));
    };
    const int64_t heads = key("attention.head_count"), value = key("attention.value_length_mla");
    const int64_t still = key("attention.key_length_mla") - key("rope.dimension_count");
    const int64_t rank = tensor.columns();
    if (still < 1 || tensor.shape.size() != 2 || tensor.shape[0] != heads * (still + value))
      fail("shape: found {} rows, expected {} heads of {} + {}", tensor.shape[0], heads, still,
           value);
    const auto count = static_cast<size_t>(heads);
    const auto keys = space(storage_bytes(tensor.type, heads * still * rank));
    const auto turned = space(keys.size()), values = space(tensor.data.size() - keys.size());
    split_each(tensor.data, count, keys, values);
    transpose_each(keys, count, static_cast<size_t>(still), static_cast<size_t>(rank), turned);
    const std::string stem = tensor.name.substr(0, tensor.name.size() - kLatentMatrix.size());
    model_.add({stem + ".attn_k_b.weight", tensor.type, {heads, rank, still}, turned});
    model_.add({stem + ".attn_v_b.weight", tensor.type, {heads, value, rank}, values});
  }

  // Of a recurrence's output each group is normalised by itself; folders have their weights in a
  // row.
  void by_groups(Tensor& norm) const {
    const std::string& architecture = model_.metadata.get_string("general.architecture");
    const int64_t inner = model_.metadata.get_int(architecture + ".ssm.inner_size", 0);
    const int64_t groups = model_.metadata.get_int(architecture + ".ssm.group_count", 1);
    if (norm.shape == std::vector{inner} && groups > 1 && inner % groups == 0)
      norm.shape = {groups, inner / groups};
  }

  const std::vector<float>* factors_of(std::string_view name) const {
    if (name.starts_with("blk.")) name = name.substr(name.find('.', 4) + 1);
    const auto found = std::ranges::find(config_.factors, name, &HfFactors::name);
    return found == config_.factors.end() ? nullptr : &found->values;
  }

  // By the numbers that config.json has for it, as float32.
  void multiply(Tensor& tensor) {
    const std::vector<float>* factors = factors_of(tensor.name);
    if (factors == nullptr || std::ranges::all_of(*factors, [](float f) { return f == 1; })) return;
    const auto rows = static_cast<size_t>(tensor.elements() / tensor.columns());
    if (factors->size() != 1 && factors->size() != rows)
      fail("shape: found {} rows, expected {}", rows, factors->size());
    const auto columns = static_cast<size_t>(tensor.columns());
    const auto bytes = space(rows * columns * sizeof(float));
    const std::span values(reinterpret_cast<float*>(bytes.data()), rows * columns);
    dequantize(tensor.type, tensor.data.data(), values);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] *= (*factors)[factors->size() == 1 ? 0 : i / columns];
    tensor.type = TensorType::F32;
    tensor.data = bytes;
  }

  // In a table of what is two tensors': GGUF's name of the other.
  static std::optional<std::string> other_in(std::span<const HfRename> table,
                                             std::string_view name) {
    const size_t begin = name.rfind('.', name.rfind('.') - 1) + 1;
    const size_t end = name.rfind('.');
    const auto other = rename(table, name.substr(begin, end - begin));
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

  // Matrices of experts, counted from 0, one after the other.
  void add_stack(const std::string& name, const std::map<size_t, Tensor>& parts) {
    const Tensor& first = parts.begin()->second;
    const auto bytes = space(parts.size() * first.data.size());
    size_t next = 0;
    for (const auto& [index, part] : parts) {
      if (index != next || part.shape.size() != 2 || part.shape != first.shape ||
          part.type != first.type)
        fail("{}: tensor {}: expected matrices of one shape and type, counted from 0 without a gap",
             model_.path.string(), name);
      std::ranges::copy(part.data, bytes.subspan(next++ * first.data.size()).begin());
    }
    std::vector<int64_t> shape = first.shape;
    shape.insert(shape.begin(), static_cast<int64_t>(parts.size()));
    place({name, first.type, shape, bytes});
  }

  // Vectors (norms, also of each head's own, and biases) as float32, as converters store them.
  void widen(Tensor& tensor) {
    const auto count = static_cast<size_t>(tensor.elements());
    std::vector<float> values(count);
    dequantize(tensor.type, tensor.data.data(), values);
    if (config_.family->norms_plus_1 && tensor.name.ends_with("norm.weight") &&
        !tensor.name.ends_with(".ssm_norm.weight")) {
      for (float& value : values) value += 1;
    }
    // How fast a state decays: folders have the logarithm of its size.
    if (tensor.name.ends_with(".ssm_a"))
      for (float& value : values) value = -std::exp(value);
    tensor.type = TensorType::F32;
    tensor.data = keep(std::as_bytes(std::span(values)));
  }

  // A matrix, or one of each expert.
  void turn(Tensor& tensor) {
    int64_t& rows = tensor.shape[tensor.shape.size() - 2];
    const int64_t outer = tensor.elements() / rows / tensor.columns();
    const auto turned = space(tensor.data.size());
    transpose_each(tensor.data, static_cast<size_t>(outer), static_cast<size_t>(rows),
                   static_cast<size_t>(tensor.columns()), turned);
    tensor.data = turned;
    std::swap(rows, tensor.shape.back());
  }

  // A copy that lives as long as the model.
  std::span<const std::byte> keep(std::span<const std::byte> bytes) {
    auto copy = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
    model_.keep_alive(copy);
    return *copy;
  }
  // Likewise, to be written, and as large as experts are.
  std::span<std::byte> space(size_t bytes) {
    auto scratch = std::make_shared<ScratchMemory>(bytes);
    model_.keep_alive(scratch);
    return scratch->bytes();
  }

  Model& model_;
  const HfConfig& config_;
  int64_t tokens_;
  std::map<std::string, std::map<size_t, Tensor>> parts_;  // by the name of the whole
  struct Packed {
    std::optional<SourceTensor> codes, exponents;
  };
  std::map<std::string, Packed> packed_;  // by the name without _blocks or _scales
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
  const auto fits = [&](const std::optional<Renamed>& found) {
    return found && is_whole(found->name) == suffix.empty();
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
        return GgufName{found->name.ends_with('.')
                            ? fmt::format("blk.{}.{}", layer->first,
                                          found->name.substr(0, found->name.size() - 1))
                            : fmt::format("blk.{}.{}{}", layer->first, found->name, suffix),
                        found->part};
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
