// Which tensor gets which type.
#include <algorithm>
#include <array>
#include <charconv>

#include "formats/quantize.h"
#include "formats/quantize_model.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

constexpr std::array kMixes = {
    MixInfo{Mix::F32, "F32", TensorType::F32, "32 bits: everything as float32"},
    MixInfo{Mix::F16, "F16", TensorType::F16, "16 bits"},
    MixInfo{Mix::BF16, "BF16", TensorType::BF16, "16 bits, the range of float32"},
    MixInfo{Mix::Q8_0, "Q8_0", TensorType::Q8_0, "8.5 bits: hardly any loss"},
    MixInfo{Mix::Q6_K, "Q6_K", TensorType::Q6_K, "6.6 bits: very small loss"},
    MixInfo{Mix::Q5_K_M, "Q5_K_M", TensorType::Q5_K, "5.7 bits: small loss"},
    MixInfo{Mix::Q5_K_S, "Q5_K_S", TensorType::Q5_K, "5.5 bits"},
    MixInfo{Mix::Q5_1, "Q5_1", TensorType::Q5_1, "6 bits, older format"},
    MixInfo{Mix::Q5_0, "Q5_0", TensorType::Q5_0, "5.5 bits, older format"},
    MixInfo{Mix::Q4_K_M, "Q4_K_M", TensorType::Q4_K, "4.8 bits: the usual choice"},
    MixInfo{Mix::Q4_K_S, "Q4_K_S", TensorType::Q4_K, "4.6 bits"},
    MixInfo{Mix::Q4_1, "Q4_1", TensorType::Q4_1, "5 bits, older format"},
    MixInfo{Mix::Q4_0, "Q4_0", TensorType::Q4_0, "4.5 bits, older format, fast"},
    MixInfo{Mix::IQ4_NL, "IQ4_NL", TensorType::IQ4_NL, "4.5 bits, values that do not lie evenly"},
    MixInfo{Mix::IQ4_XS, "IQ4_XS", TensorType::IQ4_XS, "4.3 bits, as good as Q4_K_S"},
    MixInfo{Mix::MXFP4_MOE, "MXFP4_MOE", TensorType::MXFP4,
            "4.3 bits for experts, Q8_0 for the rest: of models trained so"},
    MixInfo{Mix::Q3_K_L, "Q3_K_L", TensorType::Q3_K, "4.3 bits: noticeable loss"},
    MixInfo{Mix::Q3_K_M, "Q3_K_M", TensorType::Q3_K, "3.9 bits"},
    MixInfo{Mix::Q3_K_S, "Q3_K_S", TensorType::Q3_K, "3.6 bits: much loss"},
    MixInfo{Mix::Q2_K, "Q2_K", TensorType::Q2_K, "3.2 bits: where nothing else fits"},
    MixInfo{Mix::Q2_K_S, "Q2_K_S", TensorType::Q2_K, "2.9 bits, only with --imatrix"},
    MixInfo{Mix::TQ2_0, "TQ2_0", TensorType::TQ2_0,
            "2.1 bits, for models of three values a weight"},
    MixInfo{Mix::TQ1_0, "TQ1_0", TensorType::TQ1_0, "1.7 bits, for the same"},
};

const MixInfo& mix_info(Mix mix) {
  const auto* row = std::find_if(kMixes.begin(), kMixes.end(),
                                 [&](const MixInfo& info) { return info.mix == mix; });
  if (row == kMixes.end()) fail("mix: no mix has the number {}", static_cast<uint32_t>(mix));
  return *row;
}

bool has(std::string_view name, std::string_view part) {
  return name.find(part) != std::string_view::npos;
}

// What a tensor does, as far as the mixes care.
enum class Role {
  kOutput,
  kEmbedding,
  kAttentionV,
  kAttentionK,
  kAttentionOutput,
  kFfnDown,
  kOther
};

Role role_of(std::string_view name) {
  if (name == "output.weight") return Role::kOutput;
  if (name == "token_embd.weight" || name == "dec.token_embd.weight" ||
      name == "per_layer_token_embd.weight") {
    return Role::kEmbedding;
  }
  if (has(name, "attn_v.weight") || has(name, "attn_qkv.weight") || has(name, "attn_kv_b.weight")) {
    return Role::kAttentionV;
  }
  if (has(name, "attn_k.weight")) return Role::kAttentionK;
  if (has(name, "attn_q.weight")) return Role::kOther;
  if (has(name, "attn_output.weight")) return Role::kAttentionOutput;
  if (has(name, "ffn_up") || has(name, "ffn_gate")) return Role::kOther;
  if (has(name, "ffn_down")) return Role::kFfnDown;
  return Role::kOther;
}

// Weights of linear layers and embeddings of tokens; not norms, biases, routers, positions, or the
// small tables that a few architectures keep.
bool may_convert(const Tensor& tensor) {
  const std::string_view name = tensor.name;
  // A matrix of one row counts as a vector.
  const bool vector = tensor.shape.size() < 2 || tensor.rows() == 1;
  if (vector || !name.ends_with("weight")) return false;
  constexpr std::string_view kKept[] = {"_norm.weight",
                                        "ffn_gate_inp.weight",
                                        "altup",
                                        "laurel",
                                        "ssm_conv1d",
                                        "shortconv.conv.weight",
                                        "attn_rel_b.weight",
                                        "per_layer_model_proj",
                                        ".position_embd",
                                        ".patch_embd",
                                        ".rel_pos"};
  for (const std::string_view kept : kKept) {
    if (has(name, kept)) return false;
  }
  return name != "position_embd.weight" && name != "token_types.weight";
}

// The number in "blk.7.ffn_down.weight", -1 without one.
int layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  int layer = -1;
  if (!name.starts_with(kPrefix)) return layer;
  const char* end = name.data() + name.size();
  const auto result = std::from_chars(name.data() + kPrefix.size(), end, layer);
  return result.ec == std::errc() && result.ptr != end && *result.ptr == '.' ? layer : -1;
}

// The first and last eighth of the layers, and every third between, are worth more bits.
bool more_bits(int layer, int layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

TensorType fall_back(TensorType type, int64_t columns) {
  if (columns % type_info(type).block_elements == 0) return type;
  switch (type) {
    case TensorType::IQ4_XS:
      type = TensorType::IQ4_NL;
      break;
    case TensorType::Q2_K:
    case TensorType::Q3_K:
    case TensorType::TQ1_0:
    case TensorType::TQ2_0:
      type = TensorType::Q4_0;
      break;
    case TensorType::Q4_K:
      type = TensorType::Q5_0;
      break;
    case TensorType::Q5_K:
      type = TensorType::Q5_1;
      break;
    case TensorType::Q6_K:
      type = TensorType::Q8_0;
      break;
    default:
      break;
  }
  return columns % type_info(type).block_elements == 0 ? type : TensorType::F16;
}

class Chooser {
 public:
  Chooser(const Model& model, Mix mix, bool has_importances)
      : mix_(mix), type_(mix_info(mix).type), has_importances_(has_importances) {
    const Metadata& metadata = model.metadata;
    const std::string architecture = metadata.get_string("general.architecture", "");
    // Of lists by layer the first counts.
    const auto number = [&](const char* key, int64_t fallback) {
      const MetadataValue* value = metadata.find(architecture + key);
      if (value == nullptr) return fallback;
      if (!std::holds_alternative<MetadataArray>(*value))
        return metadata.get_int(architecture + key);
      const std::vector<int64_t> list = metadata.get_ints(architecture + key);
      return list.empty() ? fallback : list.front();
    };
    // Of both sides of a model that translates.
    layers_ = static_cast<int>(number(".block_count", 0) + number(".decoder_block_count", 0));
    experts_ = number(".expert_count", 0);
    const int64_t heads = number(".attention.head_count", 1);
    const int64_t kv_heads = number(".attention.head_count_kv", heads);
    heads_share_ = kv_heads > 0 && heads / kv_heads >= 4;
    // Shared values are few: more bits for them cost little in the 70B shape (80 layers).
    is_70b_ = layers_ == 80 &&
              ((architecture == "llama" && heads != kv_heads) || architecture == "qwen2");
    tied_ = model.find("output.weight") == nullptr;
    for (const Tensor& tensor : model.tensors()) {
      if (role_of(tensor.name) == Role::kAttentionV) ++values_;
    }
  }

  // Call in the order of the layers: the nth value and down projection count.
  TensorType choose(const Tensor& tensor) {
    if (!may_convert(tensor)) return tensor.type;
    if (!type_info(type_).quantized) return type_;
    return fall_back(wanted(tensor), tensor.columns());
  }

 private:
  TensorType wanted(const Tensor& tensor) {
    const Role role = role_of(tensor.name);
    if (role == Role::kOutput || (role == Role::kEmbedding && tied_)) return output_type(tensor);
    if (mix_ == Mix::MXFP4_MOE)
      return tensor.shape.size() > 2 && tensor.shape[0] > 1 ? TensorType::MXFP4 : TensorType::Q8_0;
    switch (role) {
      case Role::kEmbedding:
        return mix_ == Mix::TQ1_0 || mix_ == Mix::TQ2_0 ? TensorType::Q4_K : type_;
      case Role::kAttentionV:
        return value_type();
      case Role::kAttentionK:
        return experts_ == 8 ? TensorType::Q8_0 : type_;
      case Role::kAttentionOutput:
        return attention_output_type();
      case Role::kFfnDown:
        return down_type(tensor);
      default:
        return type_;
    }
  }

  TensorType output_type(const Tensor& tensor) const {
    const bool whole = tensor.columns() % type_info(type_).block_elements == 0;
    return !whole || type_ == TensorType::Q8_0 || mix_ == Mix::MXFP4_MOE ? TensorType::Q8_0
                                                                         : TensorType::Q6_K;
  }

  TensorType value_type() {
    const int index = value_++;
    if (experts_ == 8) return TensorType::Q8_0;
    const TensorType type = value_type_of_mix(index);
    const bool is_small = type == TensorType::Q3_K || type == TensorType::Q4_K;
    return is_70b_ && is_small ? TensorType::Q5_K : type;
  }

  TensorType value_type_of_mix(int index) const {
    switch (mix_) {
      case Mix::Q2_K:
        return heads_share_ ? TensorType::Q4_K : TensorType::Q3_K;
      case Mix::Q2_K_S:
        return heads_share_ ? TensorType::Q4_K : type_;
      case Mix::Q3_K_M:
        return index < 2 ? TensorType::Q5_K : TensorType::Q4_K;
      case Mix::Q3_K_L:
        return TensorType::Q5_K;
      case Mix::IQ4_NL:
      case Mix::IQ4_XS:
        return heads_share_ ? TensorType::Q5_K : type_;
      case Mix::Q4_K_M:
      case Mix::Q5_K_M:
        return more_bits(index, values_) ? TensorType::Q6_K : type_;
      case Mix::Q4_K_S:
        return index < 4 ? TensorType::Q5_K : type_;
      default:
        return type_;
    }
  }

  TensorType attention_output_type() const {
    if (experts_ == 8) {
      switch (mix_) {
        case Mix::Q2_K:
        case Mix::Q3_K_S:
        case Mix::Q3_K_M:
        case Mix::Q4_K_S:
        case Mix::Q4_K_M:
        case Mix::IQ4_NL:
        case Mix::IQ4_XS:
          return TensorType::Q5_K;
        default:
          return type_;
      }
    }
    switch (mix_) {
      case Mix::Q2_K:
        return TensorType::Q3_K;
      case Mix::Q3_K_M:
        return TensorType::Q4_K;
      case Mix::Q3_K_L:
        return TensorType::Q5_K;
      default:
        return type_;
    }
  }

  TensorType down_type(const Tensor& tensor) {
    const int index = down_++;
    const int layer = experts_ > 1 ? layer_of(tensor.name) : index;
    const bool is_early = layer < layers_ / 8;
    switch (mix_) {
      case Mix::Q2_K:
        return TensorType::Q3_K;
      case Mix::Q2_K_S:
        return is_early ? TensorType::Q4_K : type_;
      case Mix::Q3_K_M:
        return layer < layers_ / 16 ? TensorType::Q5_K : TensorType::Q4_K;
      case Mix::Q3_K_L:
        return TensorType::Q5_K;
      case Mix::IQ4_NL:
      case Mix::IQ4_XS:
        return is_early && !has_importances_ ? TensorType::Q5_K : type_;
      case Mix::Q4_K_M:
      case Mix::Q5_K_M:
        return more_bits(layer, layers_) ? TensorType::Q6_K : type_;
      case Mix::Q4_K_S:
        return is_early ? TensorType::Q5_K : type_;
      case Mix::Q4_0:
        return is_early && has_importances_ ? TensorType::Q4_1 : type_;
      case Mix::Q5_0:
        return is_early && has_importances_ ? TensorType::Q5_1 : type_;
      default:
        return type_;
    }
  }

  Mix mix_;
  TensorType type_;
  bool has_importances_;
  int layers_ = 0;
  int64_t experts_ = 0;
  bool heads_share_ = false;  // four or more have keys and values in common
  bool is_70b_ = false;
  bool tied_ = false;
  int values_ = 0;  // value projections in the model
  int value_ = 0;   // and how many have been seen
  int down_ = 0;
};

}  // namespace

std::span<const MixInfo> mixes() { return kMixes; }

std::optional<Mix> mix_by_name(std::string_view name) {
  std::string upper(name);
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  if (upper == "Q3_K" || upper == "Q4_K" || upper == "Q5_K") upper += "_M";
  if (upper == "MXFP4") upper += "_MOE";
  for (const MixInfo& info : kMixes) {
    if (info.name == upper) return info.mix;
  }
  return std::nullopt;
}

std::vector<TensorType> choose_types(const Model& model, Mix mix, bool has_importances) {
  const std::vector<Tensor>& tensors = model.tensors();
  std::vector<size_t> order(tensors.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const int layer_a = layer_of(tensors[a].name);
    const int layer_b = layer_of(tensors[b].name);
    return layer_a != layer_b ? layer_a < layer_b : tensors[a].name < tensors[b].name;
  });
  Chooser chooser(model, mix, has_importances);
  std::vector<TensorType> types(tensors.size());
  for (const size_t i : order) types[i] = chooser.choose(tensors[i]);
  return types;
}

}  // namespace outboard::formats
