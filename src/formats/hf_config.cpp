#include "formats/hf_config.h"

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

struct Family {
  std::string_view model_type;
  std::string_view architecture;
  HfFamily family;
};

constexpr Family kFamilies[] = {
    {"llama", "llama", HfFamily::kLlama},    {"mistral", "llama", HfFamily::kLlama},
    {"qwen2", "qwen2", HfFamily::kQwen},     {"qwen3", "qwen3", HfFamily::kQwen},
    {"gemma3", "gemma3", HfFamily::kGemma3}, {"gemma3_text", "gemma3", HfFamily::kGemma3},
    {"gpt2", "gpt2", HfFamily::kGpt2},
};

const Family& find_family(const std::string& model_type) {
  for (const Family& family : kFamilies) {
    if (family.model_type == model_type) return family;
  }
  throw Error(fmt::format("model_type: found \"{}\", which is not supported", model_type),
              "Supported Hugging Face folders: llama, mistral, qwen2, qwen3, gemma3, gpt2.");
}

class Writer {
 public:
  Writer(HfConfig& target, Metadata& metadata) : target_(target), metadata_(metadata) {}

  void write() {
    metadata_.set("general.architecture", target_.architecture);
    metadata_.set("general.type", std::string("model"));
    if (target_.family == HfFamily::kGpt2) {
      write_gpt2();
    } else {
      write_llama_like();
    }
  }

 private:
  // A size: a positive integer below 2^31.
  int64_t size(std::string_view key) const {
    const auto found = optional_size(key);
    if (!found) fail("{}: it is missing, expected a positive integer", key);
    return *found;
  }
  std::optional<int64_t> optional_size(std::string_view key) const {
    const auto found = json_int(target_.config, key);
    if (found && (*found < 1 || *found > INT32_MAX)) {
      fail("{}: found {}, expected 1 to 2^31 - 1", key, *found);
    }
    return found;
  }
  void set(std::string_view key, int64_t value) {
    metadata_.set(target_.architecture + "." + std::string(key), static_cast<uint32_t>(value));
  }
  void set(std::string_view key, double value) {
    metadata_.set(target_.architecture + "." + std::string(key), static_cast<float>(value));
  }

  void set_layers(int64_t layers) {
    if (layers > kMaxLayers) fail("layers: found {}, expected at most {}", layers, kMaxLayers);
    target_.layers = layers;
    set("block_count", layers);
  }
  void read_vocabulary() {
    // Gemma 3 models that also see leave it to the family's default.
    const auto found = optional_size("vocab_size");
    target_.vocabulary =
        !found && target_.family == HfFamily::kGemma3 ? 262208 : size("vocab_size");
    if (target_.vocabulary > kMaxVocabulary) {
      fail("vocab_size: found {}, expected at most {}", target_.vocabulary, kMaxVocabulary);
    }
  }

  void write_gpt2() {
    const int64_t width = size("n_embd");
    set_layers(size("n_layer"));
    read_vocabulary();
    const auto context = optional_size("n_ctx");
    set("context_length", context ? *context : size("n_positions"));
    set("embedding_length", width);
    set("feed_forward_length", optional_size("n_inner").value_or(4 * width));
    set("attention.head_count", size("n_head"));
    set("attention.layer_norm_epsilon",
        json_number(target_.config, "layer_norm_epsilon").value_or(1e-5));
    target_.tied_embeddings = json_bool(target_.config, "tie_word_embeddings").value_or(true);
  }

  void write_llama_like() {
    const bool gemma = target_.family == HfFamily::kGemma3;
    const int64_t width = size("hidden_size");
    set_layers(size("num_hidden_layers"));
    read_vocabulary();
    set("context_length", optional_size("max_position_embeddings").value_or(gemma ? 131072 : 2048));
    set("embedding_length", width);
    set("feed_forward_length", size("intermediate_size"));
    const int64_t heads =
        gemma ? optional_size("num_attention_heads").value_or(8) : size("num_attention_heads");
    set("attention.head_count", heads);
    set("attention.head_count_kv",
        optional_size("num_key_value_heads").value_or(gemma ? 4 : heads));
    set("attention.layer_norm_rms_epsilon",
        json_number(target_.config, "rms_norm_eps").value_or(1e-6));
    auto head_dim = optional_size("head_dim");
    if (gemma && !head_dim) head_dim = 256;
    if (head_dim) {
      set("attention.key_length", *head_dim);
      set("attention.value_length", *head_dim);
    }
    const int64_t rotated = head_dim.value_or(width / heads);
    if (target_.architecture == "llama") {
      set("vocab_size", target_.vocabulary);
      set("rope.dimension_count", rotated);
      // The folder's q and k rows are made for rotating halves, GGUF's for neighbours.
      metadata_.set("outboard.rope.neox", true);
    }
    if (target_.model_type == "mistral") write_window();
    write_rope(rotated);
    if (gemma) write_gemma3(rotated);
    target_.tied_embeddings = json_bool(target_.config, "tie_word_embeddings").value_or(gemma);
  }

  // Mistral's layers all have it (v0.1; later models write null); a config without the field has
  // the family's. One that the context never fills changes nothing.
  void write_window() {
    const bool none = target_.config.contains("sliding_window") &&
                      json_field(target_.config, "sliding_window") == nullptr;
    const int64_t window = none ? 0 : optional_size("sliding_window").value_or(4096);
    if (window > 0 && window < optional_size("max_position_embeddings").value_or(2048)) {
      set("attention.sliding_window", window);
    }
  }

  void write_gemma3(int64_t head_dim) {
    if (const auto cap = json_number(target_.config, "final_logit_softcapping"); cap && *cap != 0) {
      set("final_logit_softcapping", *cap);
    }
    set("attention.sliding_window", optional_size("sliding_window").value_or(4096));
    // Every nth layer sees everything; 6 is the family's and is not stored.
    auto pattern = optional_size("sliding_window_pattern");
    if (!pattern) pattern = optional_size("_sliding_window_pattern");
    // Newer configs list the layers instead, and the list counts.
    if (const auto sliding = sliding_layers(target_.config)) {
      if (const auto listed = window_pattern(*sliding)) pattern = listed;
    }
    if (pattern && *pattern != 6) set("attention.sliding_window_pattern", *pattern);
    const auto scalar = json_number(target_.config, "query_pre_attn_scalar");
    if (scalar && *scalar > 0 && *scalar != static_cast<double>(head_dim)) {
      set("attention.scale", 1 / std::sqrt(*scalar));
    }
  }

  // Old configs: rope_theta, rope_local_base_freq and rope_scaling side by side; new ones: all in
  // rope_parameters, by layer type where layers differ.
  void write_rope(int64_t rotated) {
    const Json& config = target_.config;
    static const Json kNone = Json::object();
    const Json* parameters = json_field(config, "rope_parameters");
    if (parameters == nullptr) parameters = json_field(config, "rope_scaling");
    if (parameters == nullptr) parameters = &kNone;
    const Json* full = json_field(*parameters, "full_attention");
    const Json* sliding = json_field(*parameters, "sliding_attention");
    const Json& global = full != nullptr ? *full : *parameters;

    auto theta = json_number(global, "rope_theta");
    if (!theta) theta = json_number(config, "rope_theta");
    if (!theta && target_.family == HfFamily::kGemma3) theta = 1e6;
    if (theta) set("rope.freq_base", *theta);
    auto local = sliding != nullptr ? json_number(*sliding, "rope_theta") : std::nullopt;
    if (!local) local = json_number(config, "rope_local_base_freq");
    if (local) set("rope.freq_base_swa", *local);

    auto type = json_string(global, "rope_type");
    if (!type) type = json_string(global, "type");
    const auto factor = json_number(global, "factor");
    if (!type || *type == "default") return;
    if (*type == "llama3") {
      target_.rope_factors = llama3_factors(global, theta.value_or(10000), rotated);
    } else if (*type == "linear" && factor) {
      write_scaling("linear", *factor);
    } else if (*type == "yarn" && factor) {
      write_scaling("yarn", *factor);
      auto original = json_int(global, "original_max_position_embeddings");
      if (!original) original = json_int(config, "original_max_position_embeddings");
      if (!original) fail("rope_scaling: original_max_position_embeddings: it is missing");
      set("rope.scaling.original_context_length", *original);
    } else {
      fail(
          "rope_scaling: type: found \"{}\", expected default, linear, yarn (both with a factor) "
          "or llama3",
          *type);
    }
  }

  void write_scaling(const char* type, double factor) {
    metadata_.set(target_.architecture + ".rope.scaling.type", std::string(type));
    set("rope.scaling.factor", factor);
  }

  // Divisors of the rotation frequencies: long wavelengths by `factor`, short ones by 1, between
  // them smoothly. Source: Llama 3.1's published scaling; float32 in the converter's order.
  static std::vector<float> llama3_factors(const Json& rope, double theta, int64_t dimensions) {
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

  HfConfig& target_;
  Metadata& metadata_;
};

std::string folder_name(const std::filesystem::path& folder) {
  const std::filesystem::path path = std::filesystem::absolute(folder).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

}  // namespace

HfConfig read_hf_config(const std::filesystem::path& folder, Model& model) {
  const std::filesystem::path path = folder / "config.json";
  HfConfig target;
  target.config = read_json(path);
  try {
    const auto model_type = json_string(target.config, "model_type");
    if (!model_type) fail("model_type: it is missing");
    const Family& family = find_family(*model_type);
    target.model_type = *model_type;
    target.family = family.family;
    target.architecture = family.architecture;
    FieldReport report("config.json", model);
    report_config(target.config, *model_type,
                  std::filesystem::exists(folder / "generation_config.json"), report);
    // A model that also sees keeps the text model's config in its own object.
    const Json* text = json_field(target.config, "text_config");
    if (text != nullptr && target.family == HfFamily::kGemma3) {
      const Json inner = *text;
      if (!inner.is_object()) fail("text_config: expected an object");
      target.config.update(inner);
    }
    model.metadata.set("general.name", folder_name(folder));
    Writer(target, model.metadata).write();
  } catch (Error& error) {
    error.add_context(path.string());
    throw;
  }
  return target;
}

}  // namespace outboard::formats
