#include "formats/hf_config.h"

#include <fmt/ranges.h>

#include <cmath>
#include <numbers>
#include <optional>
#include <string_view>

#include "formats/hf_fields.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxVocabulary = int64_t{1} << 24;

const HfFamily& find_family(std::span<const HfFamily> families, const std::string& model_type,
                            const Json& config) {
  std::vector<std::string_view> supported;
  for (const HfFamily& family : families) {
    if ((family.model_type == model_type || family.text_model_type == model_type) &&
        (family.applies == nullptr || family.applies(config)))
      return family;
    if (supported.empty() || supported.back() != family.model_type)
      supported.push_back(family.model_type);
  }
  throw Error(fmt::format("model_type: found \"{}\", which is not supported", model_type),
              fmt::format("Supported Hugging Face folders: {}.", fmt::join(supported, ", ")));
}

// Divisors of the rotation frequencies: long wavelengths by `factor`, short ones by 1, between
// them smoothly. Source: Llama 3.1's published scaling; float32 in the converter's order.
std::vector<float> llama3_factors(const Json& rope, double theta, int64_t dimensions) {
  const auto factor = static_cast<float>(json_number(rope, "factor").value_or(8));
  const auto low = static_cast<float>(json_number(rope, "low_freq_factor").value_or(1));
  const auto high = static_cast<float>(json_number(rope, "high_freq_factor").value_or(4));
  const auto context =
      static_cast<float>(json_number(rope, "original_max_position_embeddings").value_or(8192));
  if (!(factor > 0) || !(low > 0) || !(high > low) || !(context > 0)) {
    fail(
        "rope_scaling: found factor {}, low_freq_factor {}, high_freq_factor {}, expected "
        "positive numbers, high above low",
        factor, low, high);
  }
  std::vector<float> factors;
  for (int64_t i = 0; i < dimensions; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(dimensions);
    const float frequency = 1.0f / std::pow(static_cast<float>(theta), exponent);
    const float wavelength = 2 * std::numbers::pi_v<float> / frequency;
    if (wavelength < context / high) {
      factors.push_back(1);
    } else if (wavelength > context / low) {
      factors.push_back(factor);
    } else {
      const float smooth = (context / wavelength - low) / (high - low);
      factors.push_back(1 / ((1 - smooth) / factor + smooth));
    }
  }
  return factors;
}

std::string folder_name(const std::filesystem::path& folder) {
  const std::filesystem::path path = std::filesystem::absolute(folder).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

}  // namespace

int64_t HfConfigWriter::size(std::string_view key) const {
  const auto found = optional_size(key);
  if (!found) fail("{}: it is missing, expected a positive integer", key);
  return *found;
}

std::optional<int64_t> HfConfigWriter::optional_size(std::string_view key) const {
  const auto found = json_int(config_, key);
  if (found && (*found < 1 || *found > INT32_MAX)) {
    fail("{}: found {}, expected 1 to 2^31 - 1", key, *found);
  }
  return found;
}

void HfConfigWriter::set(std::string_view key, int64_t value) {
  metadata_.set(fmt::format("{}.{}", family_.architecture, key), static_cast<uint32_t>(value));
}

void HfConfigWriter::set(std::string_view key, double value) {
  metadata_.set(fmt::format("{}.{}", family_.architecture, key), static_cast<float>(value));
}

void HfConfigWriter::set(std::string_view key, const std::vector<bool>& layers) {
  metadata_.set(fmt::format("{}.{}", family_.architecture, key), MetadataArray{layers});
}

void HfConfigWriter::set(std::string_view key, const std::vector<int64_t>& layers) {
  const std::vector<uint32_t> numbers(layers.begin(), layers.end());
  metadata_.set(fmt::format("{}.{}", family_.architecture, key), MetadataArray{numbers});
}

void HfConfigWriter::set_flag(std::string_view key, bool value) {
  metadata_.set(fmt::format("{}.{}", family_.architecture, key), value);
}

void HfConfigWriter::set_any(std::string_view key, bool value) {
  metadata_.set(std::string(key), value);
}

void HfConfigWriter::set_layers(int64_t layers) {
  if (layers > kMaxLayers) fail("layers: found {}, expected at most {}", layers, kMaxLayers);
  set("block_count", layers);
}

int64_t HfConfigWriter::read_vocabulary() {
  const auto found = optional_size("vocab_size");
  const int64_t usual = family_.defaults.vocabulary;
  vocabulary_ = !found && usual > 0 ? usual : size("vocab_size");
  if (vocabulary_ > kMaxVocabulary) {
    fail("vocab_size: found {}, expected at most {}", vocabulary_, kMaxVocabulary);
  }
  return vocabulary_;
}

int64_t HfConfigWriter::write_sizes() {
  const HfDefaults& usual = family_.defaults;
  const int64_t width = size("hidden_size");
  set_layers(size("num_hidden_layers"));
  read_vocabulary();
  set("context_length", optional_size("max_position_embeddings").value_or(usual.context));
  set("embedding_length", width);
  if (const auto hidden = optional_size("intermediate_size"); hidden || usual.has_dense)
    set("feed_forward_length", hidden ? *hidden : size("intermediate_size"));
  const auto given_heads = optional_size("num_attention_heads");
  const int64_t heads = !given_heads && usual.heads > 0 ? usual.heads : size("num_attention_heads");
  set("attention.head_count", heads);
  set("attention.head_count_kv",
      optional_size("num_key_value_heads").value_or(usual.kv_heads > 0 ? usual.kv_heads : heads));
  set(family_.epsilon.key, json_number(config_, family_.epsilon.field).value_or(usual.epsilon));
  auto head_dim = optional_size("head_dim");
  if (!head_dim && usual.head_dim > 0) head_dim = usual.head_dim;
  if (head_dim) {
    set("attention.key_length", *head_dim);
    set("attention.value_length", *head_dim);
  }
  return head_dim.value_or(width / heads);
}

int64_t HfConfigWriter::write_turned(int64_t head_dim) {
  auto part = json_number(rotation(), "partial_rotary_factor");
  if (!part) part = json_number(config_, "partial_rotary_factor");
  if (!part) part = family_.defaults.turned;
  if (!(*part > 0 && *part <= 1))
    fail("partial_rotary_factor: found {}, expected more than 0 and at most 1", *part);
  const auto turned = static_cast<int64_t>(static_cast<double>(head_dim) * *part);
  set("rope.dimension_count", turned);
  return turned;
}

void HfConfigWriter::write_windows(int64_t usual, int64_t period) {
  const int64_t otherwise = config_.contains("sliding_window") ? 0 : usual;
  const int64_t window = optional_size("sliding_window").value_or(otherwise);
  set("attention.sliding_window", window);
  if (window == 0) return;
  auto sliding = sliding_layers(config_);
  if (!sliding) {
    sliding.emplace();
    const int64_t layers = size("num_hidden_layers");
    for (int64_t i = 1; i <= layers; ++i) sliding->push_back(i % period != 0);
  }
  set("attention.sliding_window_pattern", *sliding);
}

const Json& HfConfigWriter::rotation() const {
  static const Json kNone = Json::object();
  const Json* parameters = json_field(config_, "rope_parameters");
  if (parameters == nullptr) parameters = json_field(config_, "rope_scaling");
  if (parameters == nullptr) return kNone;
  const Json* full = json_field(*parameters, "full_attention");
  return full != nullptr ? *full : *parameters;
}

void HfConfigWriter::write_rope(int64_t rotated) {
  const Json& global = rotation();
  const Json* parameters = json_field(config_, "rope_parameters");
  if (parameters == nullptr) parameters = json_field(config_, "rope_scaling");
  const Json* sliding =
      parameters != nullptr ? json_field(*parameters, "sliding_attention") : nullptr;

  auto theta = json_number(global, "rope_theta");
  if (!theta) theta = json_number(config_, "rope_theta");
  if (!theta && family_.defaults.rope_theta > 0) theta = family_.defaults.rope_theta;
  if (theta) set("rope.freq_base", *theta);
  auto local = sliding != nullptr ? json_number(*sliding, "rope_theta") : std::nullopt;
  if (!local) local = json_number(config_, "rope_local_base_freq");
  if (local) set("rope.freq_base_swa", *local);

  auto type = json_string(global, "rope_type");
  if (!type) type = json_string(global, "type");
  const auto factor = json_number(global, "factor");
  if (!type || *type == "default") return;
  if (*type == "llama3") {
    tensors_.push_back(
        {"rope_freqs.weight", llama3_factors(global, theta.value_or(10000), rotated)});
  } else if (*type == "linear" && factor) {
    write_scaling("linear", *factor);
  } else if (*type == "yarn" && factor) {
    write_yarn(global, *factor);
  } else if ((*type == "longrope" || *type == "su") && family_.long_rope) {
    write_long_rope(global, rotated);
  } else {
    fail(
        "rope_scaling: type: found \"{}\", expected default, linear, yarn (both with a factor){} "
        "or llama3",
        *type, family_.long_rope ? ", longrope" : "");
  }
}

int64_t HfConfigWriter::original_context(const Json& rope) const {
  auto original = json_int(rope, "original_max_position_embeddings");
  if (!original) original = optional_size("original_max_position_embeddings");
  if (!original) fail("rope_scaling: original_max_position_embeddings: it is missing");
  if (*original < 1)
    fail("rope_scaling: original_max_position_embeddings: found {}, expected 1 or more", *original);
  return *original;
}

// The magnitude is attention_factor where it is given, else what two multipliers make of the factor
// (transformers, modeling_rope_utils.py); GGUF has what that differs from YaRN's own by.
void HfConfigWriter::write_yarn(const Json& rope, double factor) {
  write_scaling("yarn", factor);
  set("rope.scaling.original_context_length", original_context(rope));
  if (const auto fast = json_number(rope, "beta_fast")) set("rope.scaling.yarn_beta_fast", *fast);
  if (const auto slow = json_number(rope, "beta_slow")) set("rope.scaling.yarn_beta_slow", *slow);
  const auto magnitude = [&](double multiplier) {
    return factor <= 1 ? 1 : 0.1 * multiplier * std::log(factor) + 1;
  };
  auto wanted = json_number(rope, "attention_factor");
  const double m = json_number(rope, "mscale").value_or(0);
  const double all = json_number(rope, "mscale_all_dim").value_or(0);
  if (family_.yarn_of_scores) {
    if (wanted || all == 0 || m != all)
      fail(
          "rope_scaling: found mscale {} and mscale_all_dim {}, expected the same, and no "
          "attention_factor",
          m, all);
    set("rope.scaling.yarn_log_multiplier", 0.1 * all);
    return;
  }
  if (!wanted && m != 0 && all != 0) wanted = magnitude(m) / magnitude(all);
  if (wanted && std::abs(*wanted - magnitude(1)) > 1e-6 * magnitude(1))
    set("rope.scaling.attn_factor", *wanted / magnitude(1));
}

void HfConfigWriter::write_long_rope(const Json& rope, int64_t rotated) {
  const int64_t original = original_context(rope);
  set("rope.scaling.original_context_length", original);
  const double factor =
      static_cast<double>(size("max_position_embeddings")) / static_cast<double>(original);
  auto magnitude = json_number(rope, "attention_factor");
  if (!magnitude && factor > 1)
    magnitude = std::sqrt(1 + std::log(factor) / std::log(static_cast<double>(original)));
  set("rope.scaling.attn_factor", magnitude.value_or(1));
  for (const auto& [field, name] : {std::pair("long_factor", "rope_factors_long.weight"),
                                    std::pair("short_factor", "rope_factors_short.weight")}) {
    const Json* list = json_field(rope, field);
    if (list == nullptr || !list->is_array() || static_cast<int64_t>(list->size()) * 2 != rotated)
      fail("rope_scaling: {}: expected a list of {} numbers", field, rotated / 2);
    HfConfigTensor tensor{name, {}};
    for (const Json& value : *list) {
      if (!value.is_number() || !(value.get<double>() > 0))
        fail("rope_scaling: {}: found {}, expected positive numbers", field, value.dump());
      tensor.values.push_back(value.get<float>());
    }
    tensors_.push_back(std::move(tensor));
  }
}

void HfConfigWriter::write_scaling(const char* type, double factor) {
  metadata_.set(fmt::format("{}.rope.scaling.type", family_.architecture), std::string(type));
  set("rope.scaling.factor", factor);
}

HfConfig read_hf_config(const std::filesystem::path& folder, std::span<const HfFamily> families,
                        Model& model) {
  const std::filesystem::path path = folder / "config.json";
  HfConfig target;
  target.config = read_json(path);
  try {
    const auto model_type = json_string(target.config, "model_type");
    if (!model_type) fail("model_type: it is missing");
    const HfFamily& family = find_family(families, *model_type, target.config);
    target.family = &family;
    FieldReport report("config.json", model);
    report_config(target.config, family, std::filesystem::exists(folder / "generation_config.json"),
                  report);
    // A model that also sees keeps the text model's config in its own object.
    const Json* text = json_field(target.config, "text_config");
    if (text != nullptr && !family.text_model_type.empty()) {
      const Json inner = *text;
      if (!inner.is_object()) fail("text_config: expected an object");
      target.config.update(inner);
    }
    model.metadata.set("general.name", folder_name(folder));
    model.metadata.set("general.architecture", std::string(family.architecture));
    model.metadata.set("general.type", std::string("model"));
    HfConfigWriter writer(family, target.config, model.metadata);
    family.write(writer);
    target.vocabulary = writer.vocabulary();
    target.tensors = writer.tensors();
    target.factors = writer.factors();
    target.tied_embeddings =
        json_bool(target.config, "tie_word_embeddings").value_or(family.tied_embeddings);
  } catch (Error& error) {
    error.add_context(path.string());
    throw;
  }
  return target;
}

}  // namespace outboard::formats
