#include "formats/hf_tensors.h"

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

struct Rename {
  std::string_view from;
  std::string_view to;  // empty: not needed
};

// Within a layer, without ".weight" or ".bias".
constexpr Rename kLlamaLayer[] = {
    {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"}, {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};
constexpr Rename kGemma3Layer[] = {
    {"post_attention_layernorm", "post_attention_norm"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
};
constexpr Rename kGpt2Layer[] = {
    {"ln_1", "attn_norm"}, {"attn.c_attn", "attn_qkv"}, {"attn.c_proj", "attn_output"},
    {"ln_2", "ffn_norm"},  {"mlp.c_fc", "ffn_up"},      {"mlp.c_proj", "ffn_down"},
};
constexpr Rename kTop[] = {
    {"embed_tokens", "token_embd"}, {"norm", "output_norm"},  {"lm_head", "output"},
    {"wte", "token_embd"},          {"wpe", "position_embd"}, {"ln_f", "output_norm"},
};

std::string_view strip(std::string_view text, std::string_view prefix) {
  return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
}

template <size_t n>
std::optional<std::string_view> rename(const Rename (&table)[n], std::string_view name) {
  for (const Rename& row : table) {
    if (row.from == name) return row.to;
  }
  return std::nullopt;
}

bool not_needed(HfFamily family, std::string_view name) {
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  if (family == HfFamily::kGpt2) {
    return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
  }
  return family == HfFamily::kGemma3 &&
         (name.find("vision_tower.") != std::string_view::npos ||
          name.find("multi_modal_projector.") != std::string_view::npos);
}

std::optional<std::string_view> rename_in_layer(HfFamily family, std::string_view name) {
  if (family == HfFamily::kGpt2) return rename(kGpt2Layer, name);
  if (family == HfFamily::kGemma3) {
    if (const auto found = rename(kGemma3Layer, name)) return found;
  }
  return rename(kLlamaLayer, name);
}

bool is_float(const std::optional<TensorType>& type) {
  return type == TensorType::F32 || type == TensorType::F16 || type == TensorType::BF16;
}

// GPT-2 keeps its linear layers as [inputs, outputs].
bool is_transposed(HfFamily family, std::string_view gguf_name) {
  if (family != HfFamily::kGpt2 || !gguf_name.ends_with(".weight")) return false;
  return gguf_name.find("attn_qkv") != std::string_view::npos ||
         gguf_name.find("attn_output") != std::string_view::npos ||
         gguf_name.find("ffn_") != std::string_view::npos;
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
    const auto name = gguf_tensor_name(config_.family, source.name);
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
    } else if (is_transposed(config_.family, tensor.name)) {
      turn(tensor);
    } else if (tensor.name == "token_embd.weight" && config_.family == HfFamily::kGemma3 &&
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
    // Gemma multiplies by 1 + weight.
    if (config_.family == HfFamily::kGemma3 && tensor.name.ends_with("norm.weight")) {
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

std::optional<std::string> gguf_tensor_name(HfFamily family, std::string_view name) {
  if (not_needed(family, name)) return std::nullopt;
  std::string_view rest = strip(strip(name, "model."), "transformer.");
  rest = strip(strip(rest, "language_model."), "model.");  // of a model that also sees
  const size_t dot = rest.rfind('.');
  if (dot == std::string_view::npos) fail("name: no supported model has this tensor");
  const std::string_view suffix = rest.substr(dot);  // ".weight" or ".bias"
  rest = rest.substr(0, dot);

  const std::string_view layers = family == HfFamily::kGpt2 ? "h." : "layers.";
  if (suffix == ".weight" || suffix == ".bias") {
    if (!rest.starts_with(layers)) {
      if (const auto found = rename(kTop, rest)) return fmt::format("{}{}", *found, suffix);
    } else {
      rest = rest.substr(layers.size());
      uint32_t layer = 0;
      const auto number = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
      const auto digits = static_cast<size_t>(number.ptr - rest.data());
      if (number.ec == std::errc() && digits < rest.size() && rest[digits] == '.') {
        const auto found = rename_in_layer(family, rest.substr(digits + 1));
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
