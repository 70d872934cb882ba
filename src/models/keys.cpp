#include "models/keys.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>

#include "support/error.h"

namespace outboard::models {
namespace {

// Keys of any architecture that change nothing here. Sources: gguf-py's constants.py and the
// readers of llama.cpp (src/llama-model.cpp, llama-hparams.cpp).
constexpr std::string_view kHarmless[] = {
    // Sizes that the tensors' shapes tell, and are checked with.
    "vocab_size",
    "feed_forward_length",
    "expert_feed_forward_length",
    "expert_count",
    "expert_shared_feed_forward_length",
    "attention.head_dim",  // ollama's, beside key_length
    // How the file was made.
    "tensor_data_layout",
    "source_quantization",
    "source_fp8_tensors",
    // The other kind of norm's, which the architecture does not have; GPT-2 asks for it first.
    "attention.layer_norm_epsilon",
    // Which parts of a head turn by which of an image's coordinates: a text has one.
    "rope.mrope_section",
    "rope.dimension_sections",
    "rope.scaling.finetuned",
    // What becomes of hidden states where an embedding is asked for (engine::pooling_of()).
    "pooling_type",
    // Marian: a search's own settings, asked for by the translator.
    "decoder_feed_forward_length",
    "decoder_start_token_id",
    "generation.num_beams",
    "generation.length_penalty",
    "generation.early_stopping",
    "generation.max_length",
};

// Options whose values here ask for nothing: off, or what every family does anyway.
struct Neutral {
  std::string_view name;
  double values[2];
};
constexpr Neutral kNeutral[] = {
    {"attention.max_alibi_bias", {0, 0}},
    {"attention.clamp_kqv", {0, 0}},
    {"attn_logit_softcapping", {0, 0}},
    {"attention.causal", {1, 1}},
    {"attention.temperature_scale", {0, 0}},
    {"attention.temperature_length", {0, 0}},
    {"attention.output_scale", {0, 1}},
    {"attention.value_scale", {0, 1}},
    {"use_parallel_residual", {0, 0}},
    {"logit_scale", {0, 1}},
    {"embedding_scale", {0, 1}},
    {"residual_scale", {0, 1}},
    {"rope.scaling.yarn_log_multiplier", {0, 0}},
    {"expert_shared_count", {0, 0}},
    {"expert_weights_scale", {0, 1}},
    {"expert_weights_norm", {1, 1}},
    {"norm_top_k_prob", {1, 1}},     // ollama's name of it
    {"expert_gating_func", {0, 1}},  // 1: softmax
    {"expert_group_count", {0, 1}},
    {"expert_group_used_count", {0, 1}},
    {"leading_dense_block_count", {0, 0}},
    {"moe_every_n_layers", {0, 1}},
    {"interleave_moe_layer_step", {0, 1}},
    // What llama.cpp writes for every architecture when it saves a model (llama-model-saver.cpp).
    {"attention.scale", {0, 0}},
    {"attention.q_lora_rank", {0, 0}},
    {"attention.kv_lora_rank", {0, 0}},
    {"attention.relative_buckets_count", {0, 0}},
    {"expert_used_count", {0, 0}},
    {"swin_norm", {0, 0}},
    {"rescale_every_n_layers", {0, 0}},
    {"time_mix_extra_dim", {0, 0}},
    {"time_decay_extra_dim", {0, 0}},
    {"wkv.head_size", {0, 0}},
    {"ssm.inner_size", {0, 0}},
    {"ssm.conv_kernel", {0, 0}},
    {"ssm.state_size", {0, 0}},
    {"ssm.time_step_rank", {0, 0}},
    {"ssm.dt_b_c_rms", {0, 0}},
};

// What tools note about a file, not what they ask of its reader.
constexpr std::string_view kNotes[] = {"general.", "tokenizer.",   "quantize.", "imatrix.",
                                       "split.",   "outboard.",    "training.", "duynt.",
                                       "unsloth.", "mradermacher."};

bool is_in(std::span<const std::string_view> list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

int64_t checked(const std::string& key, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) fail("{}: {}, expected {} to {}", key, value, low, high);
  return value;
}

// A flag as 0 or 1; whatever is no number at all as NaN, which equals no neutral value.
double number_of(const formats::Metadata& metadata, const std::string& key) {
  if (const auto* flag = std::get_if<bool>(metadata.find(key))) return *flag ? 1 : 0;
  if (std::holds_alternative<std::string>(*metadata.find(key)) ||
      std::holds_alternative<formats::MetadataArray>(*metadata.find(key)))
    return NAN;
  return metadata.get_float(key);
}

}  // namespace

Keys::Keys(const formats::Metadata& metadata)
    : metadata_(metadata), architecture_(metadata.get_string("general.architecture")) {}

std::string Keys::full(std::string_view name) const {
  return fmt::format("{}.{}", architecture_, name);
}

std::string Keys::ask(std::string_view name) {
  asked_.emplace(name);
  return full(name);
}

int64_t Keys::integer(std::string_view name, int64_t low, int64_t high) {
  const std::string key = ask(name);
  return checked(key, metadata_.get_int(key), low, high);
}

int64_t Keys::integer_or(std::string_view name, int64_t fallback, int64_t low, int64_t high) {
  const std::string key = ask(name);
  return checked(key, metadata_.get_int(key, fallback), low, high);
}

float Keys::number(std::string_view name) {
  const std::string key = ask(name);
  const double value = metadata_.get_float(key);
  if (!std::isfinite(value)) fail("{}: {}, expected a number", key, value);
  return static_cast<float>(value);
}

float Keys::positive_or(std::string_view name, double fallback) {
  const float value = number_or(name, fallback);
  if (value <= 0) fail("{}: {}, expected a positive number", full(name), value);
  return value;
}

float Keys::number_or(std::string_view name, double fallback) {
  const std::string key = ask(name);
  const double value = metadata_.get_float(key, fallback);
  if (!std::isfinite(value)) fail("{}: {}, expected a number", key, value);
  return static_cast<float>(value);
}

std::vector<bool> Keys::sliding_layers(std::string_view name, int64_t fallback, int layers) {
  const std::string key = ask(name);
  const formats::MetadataValue* value = metadata_.find(key);
  std::vector<bool> sliding;
  if (value != nullptr && std::holds_alternative<formats::MetadataArray>(*value)) {
    const std::vector<int64_t> flags = metadata_.get_ints(key);
    if (flags.size() < static_cast<size_t>(layers))
      fail("{}: {} layers, expected {}", key, flags.size(), layers);
    for (int i = 0; i < layers; ++i) sliding.push_back(flags[static_cast<size_t>(i)] != 0);
    return sliding;
  }
  const int64_t period = checked(key, metadata_.get_int(key, fallback), 0, int64_t{1} << 30);
  for (int i = 0; i < layers; ++i) sliding.push_back(period == 0 || (i + 1) % period != 0);
  return sliding;
}

std::vector<int> Keys::each_layer(std::string_view name, std::optional<int64_t> fallback,
                                  int layers, int64_t low, int64_t high) {
  const std::string key = ask(name);
  const formats::MetadataValue* value = metadata_.find(key);
  std::vector<int> numbers;
  if (value != nullptr && std::holds_alternative<formats::MetadataArray>(*value)) {
    const std::vector<int64_t> all = metadata_.get_ints(key);
    if (all.size() < static_cast<size_t>(layers))
      fail("{}: {} layers, expected {}", key, all.size(), layers);
    for (int i = 0; i < layers; ++i)
      numbers.push_back(static_cast<int>(checked(key, all[static_cast<size_t>(i)], low, high)));
    return numbers;
  }
  const int64_t number = fallback ? metadata_.get_int(key, *fallback) : metadata_.get_int(key);
  numbers.assign(static_cast<size_t>(layers), static_cast<int>(checked(key, number, low, high)));
  return numbers;
}

bool Keys::flag_or(std::string_view name, bool fallback) {
  return metadata_.get_bool(ask(name), fallback);
}

std::string Keys::text_or(std::string_view name, std::string_view fallback) {
  return metadata_.get_string(ask(name), fallback);
}

std::vector<std::string> Keys::unheard() const {
  std::vector<std::string> found;
  const std::string own = architecture_ + ".";
  for (const formats::Metadata::Entry& entry : metadata_.entries()) {
    const std::string& key = entry.first;
    const bool is_note = std::any_of(std::begin(kNotes), std::end(kNotes),
                                     [&](auto space) { return key.starts_with(space); });
    if (is_note && key != "general.quant_wht.enabled") continue;
    std::string line = fmt::format("metadata {}", key);
    if (key.starts_with(own)) {
      const std::string_view name = std::string_view(key).substr(own.size());
      // Of models that also see: their text does without (ollama keeps both in one file).
      const bool of_images = name.starts_with("vision.") || name.starts_with("mm.");
      if (asked_.contains(name) || of_images || is_in(kHarmless, name)) continue;
      if (const auto* option = std::find_if(std::begin(kNeutral), std::end(kNeutral),
                                            [&](const Neutral& each) { return each.name == name; });
          option != std::end(kNeutral)) {
        const double number = number_of(metadata_, key);
        if (number == option->values[0] || number == option->values[1]) continue;
        if (!std::isnan(number)) line += fmt::format(" = {}", number);
        line += fmt::format(" ({})", option->values[1]);
      }
    }
    found.push_back(std::move(line));
  }
  return found;
}

}  // namespace outboard::models
