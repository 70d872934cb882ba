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

const HfFamily& find_family(std::span<const HfFamily> families, const std::string& model_type) {
  std::vector<std::string_view> supported;
  for (const HfFamily& family : families) {
    if (family.model_type == model_type || family.text_model_type == model_type) return family;
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
  set("feed_forward_length", size("intermediate_size"));
  const auto given_heads = optional_size("num_attention_heads");
  const int64_t heads = !given_heads && usual.heads > 0 ? usual.heads : size("num_attention_heads");
  set("attention.head_count", heads);
  set("attention.head_count_kv",
      optional_size("num_key_value_heads").value_or(usual.kv_heads > 0 ? usual.kv_heads : heads));
  set("attention.layer_norm_rms_epsilon", json_number(config_, "rms_norm_eps").value_or(1e-6));
  auto head_dim = optional_size("head_dim");
  if (!head_dim && usual.head_dim > 0) head_dim = usual.head_dim;
  if (head_dim) {
    set("attention.key_length", *head_dim);
    set("attention.value_length", *head_dim);
  }
  return head_dim.value_or(width / heads);
}

void HfConfigWriter::write_rope(int64_t rotated) {
  static const Json kNone = Json::object();
  const Json* parameters = json_field(config_, "rope_parameters");
  if (parameters == nullptr) parameters = json_field(config_, "rope_scaling");
  if (parameters == nullptr) parameters = &kNone;
  const Json* full = json_field(*parameters, "full_attention");
  const Json* sliding = json_field(*parameters, "sliding_attention");
  const Json& global = full != nullptr ? *full : *parameters;

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
    rope_factors_ = llama3_factors(global, theta.value_or(10000), rotated);
  } else if (*type == "linear" && factor) {
    write_scaling("linear", *factor);
  } else if (*type == "yarn" && factor) {
    write_scaling("yarn", *factor);
    auto original = json_int(global, "original_max_position_embeddings");
    if (!original) original = json_int(config_, "original_max_position_embeddings");
    if (!original) fail("rope_scaling: original_max_position_embeddings: it is missing");
    set("rope.scaling.original_context_length", *original);
  } else {
    fail(
        "rope_scaling: type: found \"{}\", expected default, linear, yarn (both with a factor) "
        "or llama3",
        *type);
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
    const HfFamily& family = find_family(families, *model_type);
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
    target.rope_factors = writer.rope_factors();
    target.tied_embeddings =
        json_bool(target.config, "tie_word_embeddings").value_or(family.tied_embeddings);
  } catch (Error& error) {
    error.add_context(path.string());
    throw;
  }
  return target;
}

}  // namespace outboard::formats
