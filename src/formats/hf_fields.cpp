#include "formats/hf_fields.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <limits>

#include "support/error.h"

namespace outboard::formats {
namespace {

constexpr size_t kShown = 80;

// Sources: the configuration classes of transformers 4.57 and 5 with what their models do with each
// field, and the config.json files of published models.
constexpr KnownField kConfigFields[] = {
    // Read by the readers of configs and tokenizers.
    {"model_type"},
    {"vocab_size"},
    {"tie_word_embeddings"},
    {"bos_token_id"},
    {"eos_token_id"},
    {"unk_token_id"},
    {"sep_token_id"},
    {"pad_token_id"},
    {"mask_token_id"},

    // The computation.
    {"is_encoder_decoder", "[false]"},
    {"add_cross_attention", "[false]"},
    {"pruned_heads", "[{}]"},

    // How the same numbers are kept, cut, cached or summed.
    {"torch_dtype"},
    {"dtype"},
    {"use_cache"},
    {"cache_implementation"},
    {"pretraining_tp"},
    {"chunk_size_feed_forward"},
    {"use_bfloat16"},
    {"attn_implementation"},
    {"_attn_implementation*"},
    {"_flash_attn_2_enabled"},
    {"torchscript"},
    {"return_dict"},
    {"output_attentions"},
    {"output_hidden_states"},
    {"output_past"},
    {"tie_last_hidden_states"},

    // Training's.
    {"initializer_range"},
    {"initializer_factor"},
    {"attention_dropout"},
    {"hidden_dropout"},
    {"hidden_dropout_prob"},
    {"resid_pdrop"},
    {"embd_pdrop"},
    {"attn_pdrop"},
    {"gradient_checkpointing"},
    {"unsloth_*"},

    // Names, versions, other tasks' heads.
    {"architectures"},
    {"name_or_path"},
    {"_name_or_path"},
    {"_commit_hash"},
    {"transformers_version"},
    {"transformers.js_config"},
    {"tokenizer_class"},
    {"model_max_length"},
    {"max_sequence_length"},
    {"is_decoder"},
    {"tie_encoder_decoder"},
    {"decoder_start_token_id"},
    {"finetuning_task"},
    {"task_specific_params"},
    {"prefix"},
    {"problem_type"},
    {"id2label"},
    {"label2id"},
    {"num_labels"},
    {"_num_labels"},
    {"tf_legacy_loss"},
};

// Of families with rotary positions, whose names are Llama's.
constexpr KnownField kRotatingFields[] = {
    // Read by HfConfigWriter.
    {"hidden_size"},
    {"intermediate_size"},
    {"num_hidden_layers"},
    {"num_attention_heads"},
    {"num_key_value_heads"},
    {"head_dim"},
    {"max_position_embeddings"},
    {"original_max_position_embeddings"},
    {"rope_theta"},
    // Whether a bias is there, the tensors say.
    {"attention_bias"},
    {"mlp_bias"},
    // The computation.
    {"rope_interleaved", "[false]"},
};

// Sources: transformers' GenerationConfig, whose defaults are the values listed, and what its
// generate() does with each for a decoder.
constexpr KnownField kGenerationFields[] = {
    // Read.
    {"eos_token_id"},
    {"bos_token_id"},
    {"pad_token_id"},
    {"do_sample"},
    {"temperature"},
    {"top_k"},
    {"top_p"},
    {"min_p"},
    {"repetition_penalty"},
    // How long, how stored, how reported: the caller's choice here.
    {"max_length"},
    {"max_new_tokens"},
    {"max_time"},
    {"use_cache"},
    {"cache_implementation"},
    {"cache_config"},
    {"max_cache_len"},
    {"return_legacy_cache"},
    {"prefill_chunk_size"},
    {"low_memory"},
    {"compile_config"},
    {"disable_compile"},
    {"continuous_batching_config"},
    {"output_*"},
    {"return_dict_in_generate"},
    {"remove_invalid_values"},
    {"renormalize_logits"},
    {"transformers_version"},
    {"trust_remote_code"},
    {"_from_model_config"},
    {"_commit_hash"},
    {"decoder_start_token_id"},
    // Guessing ahead changes speed, not answers.
    {"use_mtp"},
    {"is_assistant"},
    {"num_assistant_tokens*"},
    {"assistant_*"},
    {"target_lookbehind"},
    {"speculation_type"},
    {"prompt_lookup_num_tokens"},
    {"max_matching_ngram_size"},
    // These count only with several beams, groups of beams or contrastive search.
    {"early_stopping"},
    {"length_penalty"},
    {"diversity_penalty"},
    // Changes of the answer that are not done.
    {"num_beams", "[1]"},
    {"num_beam_groups", "[1]"},
    {"num_return_sequences", "[1]"},
    {"min_length", "[0]"},
    {"min_new_tokens", "[0]"},
    {"typical_p", "[1]"},
    {"epsilon_cutoff", "[0]"},
    {"eta_cutoff", "[0]"},
    {"encoder_repetition_penalty", "[1]"},
    {"no_repeat_ngram_size", "[0]"},
    {"encoder_no_repeat_ngram_size", "[0]"},
    {"guidance_scale", "[1]"},
    {"penalty_alpha", "[0]"},
    {"token_healing", "[false]"},
    {"stop_strings", "[[]]"},
    {"bad_words_ids", "[[]]"},
    {"force_words_ids", "[[]]"},
    {"constraints", "[[]]"},
    {"suppress_tokens", "[[]]"},
    {"begin_suppress_tokens", "[[]]"},
    {"sequence_bias", "[[], {}]"},
    {"forced_bos_token_id", "[]"},
    {"forced_eos_token_id", "[]"},
    {"exponential_decay_length_penalty", "[]"},
    {"watermarking_config", "[]"},
    {"dola_layers", "[]"},
    {"top_h", "[]"},
};

bool has_name(std::string_view known, std::string_view name) {
  if (known.ends_with('*')) return name.starts_with(known.substr(0, known.size() - 1));
  return known == name;
}

bool is_fine(const KnownField& field, const Json& object, const Json& value) {
  if (field.fits != nullptr) return field.fits(object, value);
  if (field.values.empty()) return true;
  const Json listed = parse_json(field.values);
  return std::find(listed.begin(), listed.end(), value) != listed.end();
}

const KnownField* find_known(std::span<const KnownField> fields, std::string_view name) {
  for (const KnownField& field : fields) {
    if (has_name(field.name, name)) return &field;
  }
  return nullptr;
}

// A name of a field for a message; hostile ones as JSON.
std::string shown_name(std::string_view name) {
  const bool plain = std::ranges::all_of(name, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '-' ||
           c == '[' || c == ']';
  });
  return plain && name.size() <= kShown ? std::string(name) : shown_field(Json(std::string(name)));
}

class ConfigChecker {
 public:
  ConfigChecker(const HfFamily& family, bool has_generation_config, FieldReport& report)
      : family_(family), has_generation_config_(has_generation_config), report_(report) {}

  void check(const Json& object, const std::string& path) {
    for (const auto& [name, value] : object.items()) {
      if (!value.is_null() && !is_known(object, name, value, path)) {
        report_.unknown(path + shown_name(name), value);
      }
    }
  }

 private:
  bool is_known(const Json& object, const std::string& name, const Json& value,
                const std::string& path) {
    if (name == "text_config" && has_text_config() && value.is_object() && path.empty()) {
      check(value, "text_config.");
      return true;
    }
    if (name == "model_type" && !path.empty())
      return value == Json(std::string(family_.text_model_type));
    if (name == "rope_parameters" && rotates()) return check_rope(value, path + name);
    if (name == "rope_scaling" && rotates()) {
      // rope_parameters is the newer name and wins.
      const Json* newer = json_field(object, "rope_parameters");
      return newer != nullptr ? *newer == value : check_rope(value, path + name);
    }
    if (rotates() && name == family_.epsilon.field) return true;
    if (rotates() && name == "partial_rotary_factor")
      return family_.defaults.turned > 0 || value == 1;
    for (const HfRename& alias : family_.field_aliases) {
      if (name != alias.from) continue;
      const Json* own = json_field(object, alias.to);
      return own != nullptr && *own == value;
    }
    const KnownField* field = find_known(family_.fields, name);
    if (field == nullptr && rotates()) field = find_known(kRotatingFields, name);
    if (field == nullptr) field = find_known(kConfigFields, name);
    if (field != nullptr) return is_fine(*field, object, value);
    field = find_known(kGenerationFields, name);
    return field != nullptr && (has_generation_config_ || is_fine(*field, object, value));
  }

  bool has_text_config() const { return !family_.text_model_type.empty(); }
  bool rotates() const { return family_.positions != HfPositions::kLearned; }

  bool check_rope(const Json& rope, const std::string& path) {
    if (!rope.is_object()) return false;
    const bool nested = json_field(rope, "full_attention") != nullptr ||
                        json_field(rope, "sliding_attention") != nullptr;
    if (!nested) {
      check_rotation(rope, path, true);
      return true;
    }
    for (const auto& [name, value] : rope.items()) {
      if (value.is_null()) continue;
      const bool full = name == "full_attention";
      if (family_.positions == HfPositions::kRotaryByLayerType && value.is_object() &&
          (full || name == "sliding_attention")) {
        check_rotation(value, fmt::format("{}.{}", path, name), full);
      } else {
        report_.unknown(fmt::format("{}.{}", path, shown_name(name)), value);
      }
    }
    return true;
  }

  // One kind of layer's rotation; layers with a window are never scaled (Gemma 3).
  void check_rotation(const Json& rope, const std::string& path, bool may_scale) {
    std::vector<KnownField> known(family_.rope_fields.begin(), family_.rope_fields.end());
    known.push_back({"rope_theta"});
    known.push_back({"partial_rotary_factor", family_.defaults.turned > 0 ? "" : "[1]"});
    auto type = json_string(rope, "rope_type");
    if (!type) type = json_string(rope, "type");
    if (!type || *type == "default" || !may_scale) {
      known.insert(
          known.end(),
          {{"rope_type", R"(["default"])"}, {"type", R"(["default"])"}, {"factor", "[1]"}});
    } else {  // kinds that are not listed here are refused by hf_config.cpp
      known.insert(known.end(), {{"rope_type"}, {"factor"}});
      if (const Json* old = json_field(rope, "type"); old != nullptr && *old == *type) {
        known.push_back({"type"});
      }
      if (*type != "linear") known.push_back({"original_max_position_embeddings"});
      if (*type == "yarn") {  // whether the ramp's ends are whole numbers: llama.cpp's always are
        known.insert(known.end(), {{"beta_fast"},
                                   {"beta_slow"},
                                   {"attention_factor"},
                                   {"mscale"},
                                   {"mscale_all_dim"},
                                   {"truncate", "[true]"}});
      }
      if (family_.long_rope && (*type == "longrope" || *type == "su"))
        known.insert(known.end(), {{"short_factor"}, {"long_factor"}, {"attention_factor"}});
      if (*type == "llama3") {
        known.insert(known.end(), {{"low_freq_factor"}, {"high_freq_factor"}});
      }
    }
    report_unknown(rope, path + ".", known, report_);
  }

  const HfFamily& family_;
  bool has_generation_config_;
  FieldReport& report_;
};

// Reads numbers of a generation_config.json in their ranges.
class SamplingReader {
 public:
  SamplingReader(const Json& source, bool is_config_json, Metadata& metadata, FieldReport& report)
      : source_(source), is_config_json_(is_config_json), metadata_(metadata), report_(report) {}

  void read() {
    const auto at_least_0 = [](double x) { return x >= 0; };
    const auto do_sample = json_bool(source_, "do_sample");
    if (do_sample == false) {
      // Old config.json files hold all fields of that time, so false is no wish there.
      if (!is_config_json_) metadata_.set("general.sampling.temp", 0.0f);
    } else {
      number("temperature", "temp", 1, at_least_0);
      whole("top_k", "top_k", 50);
      number("top_p", "top_p", 1, [](double x) { return x > 0 && x <= 1; });
      number("min_p", "min_p", 0, [](double x) { return x >= 0 && x <= 1; });
    }
    number("repetition_penalty", "penalty_repeat", 1, [](double x) { return x > 0; });
  }

 private:
  // In config.json a default is no wish.
  bool is_wish(double value, double usual) const { return !is_config_json_ || value != usual; }

  template <typename Fits>
  void number(std::string_view name, std::string_view key, double usual, Fits fits) {
    const auto value = json_number(source_, name);
    if (!value || !is_wish(*value, usual)) return;
    if (!std::isfinite(*value) || !fits(*value)) {
      report_.unknown(name, *json_field(source_, name));
      return;
    }
    metadata_.set(fmt::format("general.sampling.{}", key), static_cast<float>(*value));
  }

  void whole(std::string_view name, std::string_view key, int64_t usual) {
    const auto value = json_int(source_, name);
    if (!value || !is_wish(static_cast<double>(*value), static_cast<double>(usual))) return;
    if (*value < 0 || *value > INT32_MAX) {
      report_.unknown(name, *json_field(source_, name));
      return;
    }
    metadata_.set(fmt::format("general.sampling.{}", key), static_cast<int32_t>(*value));
  }

  const Json& source_;
  bool is_config_json_;
  Metadata& metadata_;
  FieldReport& report_;
};

}  // namespace

std::string shown_field(const Json& value) {
  std::string text = value.dump(-1, ' ', true);
  if (text.size() > kShown) text = text.substr(0, kShown - 3) + "...";
  return text;
}

void FieldReport::unknown(std::string_view path, const Json& value) {
  line(model_->unknown, fmt::format("{} = {}", path, shown_field(value)));
}

void FieldReport::line(std::vector<std::string>& lines, std::string_view text) const {
  std::string whole = fmt::format("{}: {}", file_, text);
  if (std::ranges::find(lines, whole) == lines.end()) lines.push_back(std::move(whole));
}

void report_unknown(const Json& object, std::string_view path, const std::vector<KnownField>& known,
                    FieldReport& report) {
  for (const auto& [name, value] : object.items()) {
    if (value.is_null()) continue;
    const KnownField* field = find_known(known, name);
    if (field == nullptr || !is_fine(*field, object, value)) {
      report.unknown(fmt::format("{}{}", path, shown_name(name)), value);
    }
  }
}

void report_config(const Json& config, const HfFamily& family, bool has_generation_config,
                   FieldReport& report) {
  ConfigChecker(family, has_generation_config, report).check(config, "");
}

std::optional<std::vector<bool>> sliding_layers(const Json& config) {
  const Json* types = json_field(config, "layer_types");
  if (types == nullptr || !types->is_array()) return std::nullopt;
  std::vector<bool> sliding;
  for (const Json& type : *types) {
    if (type != "sliding_attention" && type != "full_attention") return std::nullopt;
    sliding.push_back(type == "sliding_attention");
  }
  return sliding;
}

std::optional<int64_t> window_pattern(const std::vector<bool>& sliding) {
  const auto first = std::ranges::find(sliding, false);
  const size_t n = static_cast<size_t>(first - sliding.begin()) + 1;
  for (size_t i = 0; i < sliding.size(); ++i) {
    if (sliding[i] != ((i + 1) % n != 0)) return std::nullopt;
  }
  return static_cast<int64_t>(n);
}

bool all_layers_slide(const Json& config, bool slide, std::string_view layers_field) {
  const auto sliding = sliding_layers(config);
  return sliding && static_cast<int64_t>(sliding->size()) == json_int(config, layers_field) &&
         std::ranges::all_of(*sliding, [&](bool each) { return each == slide; });
}

bool lists_layers(const Json& config, const Json& /*layer_types*/) {
  const auto sliding = sliding_layers(config);
  return sliding && static_cast<int64_t>(sliding->size()) == json_int(config, "num_hidden_layers");
}

bool has_no_limit(const Json& /*config*/, const Json& limits) {
  return limits.is_array() && limits.size() == 2 && limits[0] == 0 &&
         (limits[1].is_null() || limits[1].is_object() ||
          (limits[1].is_number() && limits[1].get<double>() >= std::numeric_limits<float>::max()));
}

void read_generation(const Json& generation, bool is_config_json, Metadata& metadata,
                     FieldReport& report) {
  if (!is_config_json) {
    static const std::vector<KnownField> kKnown(std::begin(kGenerationFields),
                                                std::end(kGenerationFields));
    report_unknown(generation, "", kKnown, report);
  }
  SamplingReader(generation, is_config_json, metadata, report).read();
}

}  // namespace outboard::formats
