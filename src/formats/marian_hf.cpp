#include <cmath>
#include <cstring>
#include <map>

#include "formats/file_kind.h"
#include "formats/hf_weights.h"
#include "formats/marian.h"
#include "formats/marian_model.h"
#include "formats/quantize.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::formats {
namespace {

namespace fs = std::filesystem;

int64_t needed_int(const Json& config, const char* key) {
  const auto value = json_int(config, key);
  if (!value) fail("{}: it is missing, expected an integer", key);
  return *value;
}

std::string activation_of(const Json& config, Refusals& refusals) {
  std::string name = json_string(config, "activation_function").value_or("gelu");
  if (name == "silu") return "swish";
  refusals.check(
      name == "swish" || name == "relu" || name == "gelu",
      fmt::format("activation_function is {}, expected swish, silu, relu or gelu", name));
  return name;
}

MarianConfig read_config(const Json& json, Refusals& refusals) {
  MarianConfig config;
  config.width = needed_int(json, "d_model");
  config.positions = needed_int(json, "max_position_embeddings");
  config.encoder = {needed_int(json, "encoder_layers"), needed_int(json, "encoder_attention_heads"),
                    needed_int(json, "encoder_ffn_dim")};
  config.decoder = {needed_int(json, "decoder_layers"), needed_int(json, "decoder_attention_heads"),
                    needed_int(json, "decoder_ffn_dim")};
  config.activation = activation_of(json, refusals);
  config.scale_embedding = json_bool(json, "scale_embedding").value_or(false);
  config.normalize_before = json_bool(json, "normalize_before").value_or(false);
  config.final_norms = json_bool(json, "add_final_layer_norm").value_or(false);
  config.padding = needed_int(json, "pad_token_id");
  config.eos = needed_int(json, "eos_token_id");
  config.start = json_int(json, "decoder_start_token_id").value_or(config.padding);
  refusals.check(!json_bool(json, "normalize_embedding").value_or(false),
                 "normalize_embedding is true, expected false");
  refusals.check(json_bool(json, "static_position_embeddings").value_or(true),
                 "static_position_embeddings is false, expected true");
  refusals.check(config.normalize_before || !config.final_norms,
                 "add_final_layer_norm is true and normalize_before is false");
  const int64_t tokens = needed_int(json, "vocab_size");
  const int64_t decoder_tokens = json_int(json, "decoder_vocab_size").value_or(tokens);
  refusals.check(
      tokens == decoder_tokens,
      fmt::format("decoder_vocab_size is {}, expected vocab_size, {}", decoder_tokens, tokens));
  return config;
}

// bad_words_ids and the like: single tokens become never; longer words are refused.
void read_bad_words(const Json& json, MarianConfig& config, Refusals& refusals) {
  const auto never = [&](const Json& id, const char* key) {
    if (!id.is_number_integer()) fail("{}: expected ids", key);
    config.never.push_back(id.get<int64_t>());
  };
  if (const Json* words = json_field(json, "bad_words_ids"); words != nullptr) {
    if (!words->is_array()) fail("bad_words_ids: expected a list");
    for (const Json& word : *words) {
      if (!word.is_array() || word.empty()) fail("bad_words_ids: expected lists of ids");
      refusals.check(word.size() == 1, "bad_words_ids has words of several tokens");
      if (word.size() == 1) never(word[0], "bad_words_ids");
    }
  }
  if (const Json* tokens = json_field(json, "suppress_tokens"); tokens != nullptr) {
    if (!tokens->is_array()) fail("suppress_tokens: expected a list");
    for (const Json& token : *tokens) never(token, "suppress_tokens");
  }
}

// Generation as the model's makers set it. `json`: generation_config.json, or config.json where
// that is absent, as in older transformers.
void read_generation(const Json& json, MarianConfig& config, Refusals& refusals) {
  config.beams = json_int(json, "num_beams");
  config.length_penalty = json_number(json, "length_penalty");
  config.max_length = json_int(json, "max_length");
  if (const Json* stop = json_field(json, "early_stopping"); stop != nullptr) {
    refusals.check(stop->is_boolean(), fmt::format("early_stopping is {}", stop->dump()));
    if (stop->is_boolean()) config.early_stopping = stop->get<bool>();
  }
  read_bad_words(json, config, refusals);
  config.never.push_back(config.padding);  // Marian itself has no such token

  struct Neutral {
    const char* key;
    double value;  // that changes nothing
  };
  constexpr Neutral kNeutral[] = {
      {"no_repeat_ngram_size", 0}, {"encoder_no_repeat_ngram_size", 0},
      {"repetition_penalty", 1},   {"encoder_repetition_penalty", 1},
      {"min_length", 0},           {"num_beam_groups", 1},
      {"diversity_penalty", 0},    {"do_sample", 0},
  };
  for (const Neutral& row : kNeutral) {
    const Json* value = json_field(json, row.key);
    if (value == nullptr) continue;
    const double found = value->is_boolean()  ? (value->get<bool>() ? 1 : 0)
                         : value->is_number() ? value->get<double>()
                                              : std::nan("");
    refusals.check(found == row.value, fmt::format("{} is {}", row.key, value->dump()));
  }
  for (const char* key : {"forced_bos_token_id", "sequence_bias", "begin_suppress_tokens",
                          "exponential_decay_length_penalty", "penalty_alpha", "min_new_tokens"}) {
    const Json* value = json_field(json, key);
    const bool empty = value == nullptr || (value->is_structured() && value->empty());
    refusals.check(empty, fmt::format("{} is {}", key, empty ? "" : value->dump()));
  }
  const auto same = [&](const char* key, int64_t expected) {
    const Json* value = json_field(json, key);
    if (value == nullptr) return;
    const Json& id = value->is_array() && value->size() == 1 ? (*value)[0] : *value;
    refusals.check(id.is_number_integer() && id.get<int64_t>() == expected,
                   fmt::format("{} is {}, expected {}", key, value->dump(), expected));
  };
  same("forced_eos_token_id", config.eos);
  same("eos_token_id", config.eos);
  same("pad_token_id", config.padding);
  same("decoder_start_token_id", config.start);
}

// A token of tokenizer_config.json: text, or an object with the text in "content".
std::string special_token(const Json& json, const char* key, const char* fallback) {
  const Json* token = json_field(json, key);
  if (token != nullptr && token->is_object()) token = json_field(*token, "content");
  if (token == nullptr) return fallback;
  if (!token->is_string()) fail("{}: expected a token", key);
  return token->get<std::string>();
}

std::vector<std::string> read_tokens(const fs::path& path, int64_t count) {
  const Json json = read_json(path);
  try {
    if (!json.is_object()) fail("expected an object of tokens and ids");
    if (count < 1 || count > 1 << 24) fail("config.json: vocab_size: found {}", count);
    std::vector<std::string> tokens(static_cast<size_t>(count));
    std::vector<bool> taken(tokens.size());
    for (const auto& [token, id] : json.items()) {
      const bool in_range =
          id.is_number_unsigned() && id.get<uint64_t>() < static_cast<uint64_t>(count);
      if (!in_range || taken[id.get<size_t>()]) {
        fail(
            "token \"{}\": found id {}, expected one below config.json's vocab_size {}, and each "
            "once",
            token.substr(0, 60), id.dump().substr(0, 40), count);
      }
      taken[id.get<size_t>()] = true;
      tokens[id.get<size_t>()] = token;
    }
    // As in other folders; the model has rows for them, and no text means them.
    for (size_t id = 0; id < tokens.size(); ++id) {
      if (!taken[id]) tokens[id] = fmt::format("[PAD{}]", id);
    }
    return tokens;
  } catch (Error& error) {
    error.add_context(path.string());
    throw;
  }
}

void read_tokenizer(const fs::path& folder, const std::vector<std::string>& tokens,
                    MarianConfig& config, Refusals& refusals) {
  const Json json = read_json_if_present(folder / "tokenizer_config.json");
  refusals.check(!json_bool(json, "separate_vocabs").value_or(false),
                 "separate_vocabs is true, expected one vocabulary for both languages");
  if (const Json* spm = json_field(json, "sp_model_kwargs"); spm != nullptr) {
    refusals.check(spm->is_object() && spm->empty(),
                   fmt::format("sp_model_kwargs is {}", spm->dump()));
  }
  config.unknown = marian_token_id(tokens, special_token(json, "unk_token", "<unk>"));
  const auto same = [&](const char* key, const char* fallback, const char* id_key, int64_t id) {
    const int64_t found = marian_token_id(tokens, special_token(json, key, fallback));
    refusals.check(found == id,
                   fmt::format("{} is {} and the {} is token {}", id_key, id, key, found));
  };
  same("eos_token", "</s>", "eos_token_id", config.eos);
  same("pad_token", "<pad>", "pad_token_id", config.padding);
}

struct Rename {
  std::string_view from;
  std::string_view to;
};

// Within a layer, without ".weight" or ".bias".
constexpr Rename kLayer[] = {
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.out_proj", "attn_o"},
    {"self_attn_layer_norm", "attn_norm"},
    {"encoder_attn.q_proj", "cross_attn_q"},
    {"encoder_attn.k_proj", "cross_attn_k"},
    {"encoder_attn.v_proj", "cross_attn_v"},
    {"encoder_attn.out_proj", "cross_attn_o"},
    {"encoder_attn_layer_norm", "cross_attn_norm"},
    {"fc1", "ffn_up"},
    {"fc2", "ffn_down"},
    {"final_layer_norm", "ffn_norm"},
};

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// "model.encoder.layers.0.fc1.weight" to "enc.blk.0.ffn_up.weight".
std::string gguf_name(std::string_view name) {
  std::string_view rest = name;
  take_prefix(rest, "model.");
  const bool encoder = take_prefix(rest, "encoder.");
  if (encoder || take_prefix(rest, "decoder.")) {
    const char* side = encoder ? "enc" : "dec";
    const size_t dot = rest.rfind('.');
    const std::string_view suffix = dot == std::string_view::npos ? "" : rest.substr(dot);
    if (suffix == ".weight" || suffix == ".bias") {
      rest = rest.substr(0, dot);
      if (rest == "layer_norm") return fmt::format("{}.output_norm{}", side, suffix);
      if (take_prefix(rest, "layers.")) {
        const size_t digits = rest.find_first_not_of("0123456789");
        if (digits != std::string_view::npos && digits > 0 && rest[digits] == '.') {
          for (const Rename& row : kLayer) {
            if (row.from != rest.substr(digits + 1)) continue;
            return fmt::format("{}.blk.{}.{}{}", side, rest.substr(0, digits), row.to, suffix);
          }
        }
      }
    }
  }
  fail("name: no Marian model has this tensor");
}

bool is_float(const std::optional<TensorType>& type) {
  return type == TensorType::F32 || type == TensorType::F16 || type == TensorType::BF16;
}

MarianWeights::Source source_of(const SourceTensor& tensor) {
  if (!is_float(tensor.type))
    fail("dtype: found {}, expected float32, 16 or bfloat16", tensor.dtype);
  if (tensor.data.empty()) fail("shape: found no elements");
  return {tensor.name, {tensor.name, tensor.type.value(), tensor.shape, tensor.data}};
}

// Sorts the file's tensors: layers go to their place at once; parameters that have several names in
// a state_dict wait until all are seen.
class Sorter {
 public:
  explicit Sorter(const MarianConfig& config, bool shared, bool tied)
      : config_(config), shared_(shared), tied_(tied) {}

  void add(const SourceTensor& tensor) {
    std::string_view name = tensor.name;
    take_prefix(name, "model.");
    if (name == "final_logits_bias") {
      weights_.add("output.bias", source_of(tensor));
    } else if (name == "encoder.embed_positions.weight" ||
               name == "decoder.embed_positions.weight") {
      check_positions(tensor);
    } else if (name == "shared.weight" || name == "encoder.embed_tokens.weight" ||
               name == "decoder.embed_tokens.weight" || name == "lm_head.weight") {
      embeddings_.emplace(std::string(name), source_of(tensor));
    } else {
      weights_.add(gguf_name(name), source_of(tensor));
    }
  }

  MarianWeights take() {
    const char* kOutput = "lm_head.weight";
    // Files without copies keep one name of those that share; which one is up to the writer.
    if (shared_) {
      const auto shared = first({"shared.weight", "encoder.embed_tokens.weight",
                                 "decoder.embed_tokens.weight", tied_ ? kOutput : ""});
      check_same(shared, {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"});
      if (tied_) check_same(shared, {kOutput});
      weights_.add("token_embd.weight", *shared);
    } else {
      weights_.add("token_embd.weight", *first({"encoder.embed_tokens.weight"}));
      const auto decoder = first({"decoder.embed_tokens.weight", tied_ ? kOutput : ""});
      if (tied_) check_same(decoder, {kOutput});
      weights_.add("dec.token_embd.weight", *decoder);
    }
    if (!tied_) weights_.add("output.weight", *first({kOutput}));
    return std::move(weights_);
  }

 private:
  const MarianWeights::Source* first(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      const auto place = embeddings_.find(name);
      if (place != embeddings_.end()) return &place->second;
    }
    fail("tensor {}: it is missing", *names.begin());
  }

  void check_same(const MarianWeights::Source* shared,
                  std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      const auto place = embeddings_.find(name);
      if (place == embeddings_.end()) continue;
      const Tensor& a = shared->tensor;
      const Tensor& b = place->second.tensor;
      const bool same = a.shape == b.shape && a.type == b.type && a.data.size() == b.data.size() &&
                        std::memcmp(a.data.data(), b.data.data(), a.data.size()) == 0;
      if (!same) {
        fail("tensors {} and {}: found different values, and config.json says that they are shared",
             shared->name, place->second.name);
      }
    }
  }

  // Older files hold the table; it must be the one that all of these models have.
  void check_positions(const SourceTensor& tensor) const {
    const std::vector<int64_t> expected = {config_.positions, config_.width};
    if (!is_float(tensor.type) || tensor.shape != expected) {
      fail("expected floats of the shape [{}, {}]", config_.positions, config_.width);
    }
    const std::vector<float> table = marian_positions(config_.positions, config_.width);
    std::vector<float> values(table.size());
    dequantize(tensor.type.value(), tensor.data.data(), values);
    for (size_t i = 0; i < table.size(); ++i) {
      if (!(std::fabs(values[i] - table[i]) < 0.01f)) {  // halfs, and float32 arithmetic
        fail("found {} at {}, expected {}: sinusoidal positions only", values[i], i, table[i]);
      }
    }
  }

  const MarianConfig& config_;
  bool shared_;
  bool tied_;
  MarianWeights weights_;
  std::map<std::string, MarianWeights::Source, std::less<>> embeddings_;
};

}  // namespace

Model open_marian_hf(const fs::path& folder, const Json& json) {
  Refusals refusals;
  const fs::path generation_path = folder / "generation_config.json";
  MarianConfig config;
  try {
    config = read_config(json, refusals);
    read_generation(fs::exists(generation_path) ? read_json(generation_path) : json, config,
                    refusals);
  } catch (Error& error) {
    error.add_context((folder / "config.json").string());
    throw;
  }
  const std::vector<std::string> tokens =
      read_tokens(folder / "vocab.json", json_int(json, "vocab_size").value_or(0));
  read_tokenizer(folder, tokens, config, refusals);
  refusals.done("config");
  Model model;
  model.path = folder;
  Sorter sorter(config, json_bool(json, "share_encoder_decoder_embeddings").value_or(true),
                json_bool(json, "tie_word_embeddings").value_or(true));
  for (const WeightFile& file : open_hf_weights(folder, model)) {
    for (const SourceTensor& tensor : file.tensors) {
      try {
        sorter.add(tensor);
      } catch (Error& error) {
        error.add_context(fmt::format("{}: tensor {}", file.path.filename().string(), tensor.name));
        throw;
      }
    }
  }
  const MappedFile source = map_part(folder / "source.spm");
  const MappedFile target = map_part(folder / "target.spm");
  finish_marian(model, config, {tokens, source.bytes(), target.bytes()}, sorter.take());
  return model;
}

}  // namespace outboard::formats
