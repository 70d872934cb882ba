#include "formats/hf_tokenizer.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "formats/hf_vocabulary.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::formats {
namespace {

namespace fs = std::filesystem;

// Runs body; an error gets the file's name in front.
template <typename Body>
auto in_file(const fs::path& path, Body body) {
  try {
    return body();
  } catch (Error& error) {
    error.add_context(path.string());
    throw;
  }
}

std::string read_text(const fs::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// True when text is marked with U+2581 for spaces, not coded byte by byte.
bool is_character_bpe(const Json& tokenizer) {
  const Json* model = json_field(tokenizer, "model");
  const auto fallback = model == nullptr ? std::nullopt : json_bool(*model, "byte_fallback");
  return fallback.value_or(false);
}

// A step of tokenizer.json's normalizer or pre_tokenizer with this type.
const Json* find_step(const Json* root, std::string_view type) {
  if (root == nullptr) return nullptr;
  if (json_string(*root, "type") == type) return root;
  for (const char* list : {"normalizers", "pretokenizers", "processors"}) {
    const Json* steps = json_field(*root, list);
    if (steps == nullptr || !steps->is_array()) continue;
    for (const Json& step : *steps) {
      if (const Json* found = find_step(&step, type)) return found;
    }
  }
  return nullptr;
}

// Whether a text is given a leading space.
bool adds_space(const Json& tokenizer) {
  if (find_step(json_field(tokenizer, "normalizer"), "Prepend") != nullptr) return true;
  const Json* metaspace = find_step(json_field(tokenizer, "pre_tokenizer"), "Metaspace");
  if (metaspace == nullptr) return false;
  const auto scheme = json_string(*metaspace, "prepend_scheme");
  if (scheme) return *scheme != "never";
  return json_bool(*metaspace, "add_prefix_space").value_or(true);
}

class Reader {
 public:
  Reader(const fs::path& folder, const HfConfig& config, Metadata& metadata)
      : folder_(folder),
        config_(config),
        metadata_(metadata),
        vocabulary_(config.vocabulary),
        tokenizer_config_(read_json_if_present(folder / "tokenizer_config.json")),
        generation_config_(read_json_if_present(folder / "generation_config.json")) {}

  int64_t read() {
    const fs::path sentencepiece = folder_ / "tokenizer.model";
    const fs::path json = folder_ / "tokenizer.json";
    const bool has_json = fs::exists(json);
    if (has_json) tokenizer_ = read_json(json);
    if (fs::exists(sentencepiece)) {
      in_file(sentencepiece, [&] { read_model(sentencepiece); });
    } else if (has_json) {
      in_file(json, [&] { read_tokenizer_json(); });
    } else {
      throw Error(
          fmt::format("{}: found neither tokenizer.json nor tokenizer.model", folder_.string()),
          "Get the model's tokenizer files too.");
    }
    write_vocabulary();
    in_file(folder_ / "tokenizer_config.json", [&] {
      write_special_tokens();
      write_flags();
      write_chat_template();
    });
    return vocabulary_.size();
  }

 private:
  void read_model(const fs::path& path) {
    const MappedFile file(path);
    const std::span<const std::byte> bytes = file.bytes();
    bool unigram = false;
    read_sentencepiece({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, vocabulary_,
                       unigram);
    // GGUF's "llama" merges by score, "t5" searches the best sum of scores.
    kind_ = unigram ? "t5" : "llama";
    pre_ = "default";
    const Json* added = json_field(tokenizer_config_, "added_tokens_decoder");
    if (added != nullptr && added->is_object()) add_added_tokens(*added, true, vocabulary_);
  }

  void read_tokenizer_json() {
    const Json* model = json_field(tokenizer_, "model");
    const std::string type = model == nullptr ? "" : json_string(*model, "type").value_or("BPE");
    if (type != "BPE") fail("model.type: found \"{}\", expected \"BPE\"", type);
    const bool characters = is_character_bpe(tokenizer_);
    if (characters) {
      read_character_bpe(tokenizer_, vocabulary_);
      kind_ = "llama";
      pre_ = "default";
    } else {
      read_byte_level_bpe(tokenizer_, vocabulary_);
      kind_ = "gpt2";
      pre_ = pre_tokenizer_name(tokenizer_);
    }
    const Json* added = json_field(tokenizer_, "added_tokens");
    if (added != nullptr && added->is_array()) add_added_tokens(*added, characters, vocabulary_);
  }

  void write_vocabulary() {
    metadata_.set("tokenizer.ggml.model", kind_);
    metadata_.set("tokenizer.ggml.pre", pre_);
    metadata_.set("tokenizer.ggml.tokens", MetadataArray{vocabulary_.tokens});
    if (!vocabulary_.scores.empty()) {
      metadata_.set("tokenizer.ggml.scores", MetadataArray{vocabulary_.scores});
    }
    std::vector<int32_t> kinds;
    kinds.reserve(vocabulary_.kinds.size());
    for (const TokenKind kind : vocabulary_.kinds) kinds.push_back(static_cast<int32_t>(kind));
    metadata_.set("tokenizer.ggml.token_type", MetadataArray{std::move(kinds)});
    if (!vocabulary_.merges.empty()) {
      metadata_.set("tokenizer.ggml.merges", MetadataArray{vocabulary_.merges});
    }
  }

  std::optional<int64_t> id_of(std::string_view text) const {
    const auto place = std::find(vocabulary_.tokens.begin(), vocabulary_.tokens.end(), text);
    if (place == vocabulary_.tokens.end()) return std::nullopt;
    return place - vocabulary_.tokens.begin();
  }

  // "bos_token": a string, or an object with "content".
  std::optional<int64_t> named_token(const std::string& name) const {
    const Json* entry = json_field(tokenizer_config_, name);
    if (entry == nullptr) return std::nullopt;
    if (entry->is_object()) {
      const auto content = json_string(*entry, "content");
      return content ? id_of(*content) : std::nullopt;
    }
    return id_of(json_string(tokenizer_config_, name).value_or(""));
  }

  // A number; a list's first number.
  static std::optional<int64_t> first_id(const Json& object, const std::string& key) {
    const Json* value = json_field(object, key);
    if (value == nullptr) return std::nullopt;
    const Json& first = value->is_array() && !value->empty() ? value->front() : *value;
    return first.is_number_integer() ? std::optional(first.get<int64_t>()) : std::nullopt;
  }

  void set_id(const std::string& key, std::optional<int64_t> id) {
    if (id && *id >= 0 && *id < vocabulary_.size()) {
      metadata_.set("tokenizer.ggml." + key, static_cast<uint32_t>(*id));
    }
  }

  void write_special_tokens() {
    // GGUF spells "seperator" so.
    constexpr std::pair<const char*, const char*> kSpecial[] = {
        {"bos", "bos_token_id"},       {"eos", "eos_token_id"},     {"unk", "unknown_token_id"},
        {"sep", "seperator_token_id"}, {"pad", "padding_token_id"}, {"mask", "mask_token_id"}};
    for (const auto& [name, key] : kSpecial) {
      auto id = named_token(std::string(name) + "_token");
      if (!id) id = first_id(config_.config, std::string(name) + "_token_id");
      if (!id) id = first_id(generation_config_, std::string(name) + "_token_id");
      set_id(key, id);
    }
    write_ends();
  }

  // Llama 3 and Gemma 3 end an answer with one of several tokens.
  void write_ends() {
    const Json* list = json_field(generation_config_, "eos_token_id");
    if (list == nullptr || !list->is_array()) return;
    std::vector<uint32_t> ids;
    for (const Json& id : *list) {
      if (id.is_number_unsigned() && id.get<uint64_t>() < vocabulary_.tokens.size()) {
        ids.push_back(id.get<uint32_t>());
      }
    }
    for (const uint32_t id : ids) {
      const std::string& text = vocabulary_.tokens[id];
      if (text == "<|eot_id|>" || text == "<end_of_turn>" || text == "<|im_end|>") {
        set_id("eot_token_id", id);
      }
      if (text == "<|eom_id|>") set_id("eom_token_id", id);
    }
    metadata_.set("outboard.eos_token_ids", MetadataArray{std::move(ids)});
  }

  void write_flags() {
    const auto [adds_first, adds_last] = template_ends();
    const auto set = [&](const char* name, std::optional<bool> by_template) {
      const auto value = by_template ? by_template : json_bool(tokenizer_config_, name);
      if (value) metadata_.set(std::string("tokenizer.ggml.") + name, *value);
    };
    set("add_bos_token", adds_first);
    set("add_eos_token", adds_last);
    if (kind_ == "gpt2") {
      if (!metadata_.contains("tokenizer.ggml.add_bos_token")) {
        metadata_.set("tokenizer.ggml.add_bos_token", false);
      }
      return;
    }
    auto space = json_bool(tokenizer_config_, "add_prefix_space");
    if (config_.family == HfFamily::kGemma3) space = false;
    if (!space && tokenizer_.is_object()) space = adds_space(tokenizer_);
    metadata_.set("tokenizer.ggml.add_space_prefix", space.value_or(true));
  }

  // Whether tokenizer.json puts bos before and eos after a text; nothing where it does not say.
  std::pair<std::optional<bool>, std::optional<bool>> template_ends() const {
    const Json* processor = json_field(tokenizer_, "post_processor");
    const Json* single = nullptr;
    if (const Json* found = find_step(processor, "TemplateProcessing")) {
      single = json_field(*found, "single");
    }
    if (single == nullptr || !single->is_array() || single->empty()) {
      if (find_step(processor, "ByteLevel") != nullptr) return {false, false};
      return {};
    }
    const auto is_token = [&](const Json& element, const char* name) {
      const Json* special = json_field(element, "SpecialToken");
      const auto text = special == nullptr ? std::nullopt : json_string(*special, "id");
      return text && id_of(*text) && id_of(*text) == named_token(name);
    };
    return {is_token(single->front(), "bos_token"), is_token(single->back(), "eos_token")};
  }

  void write_chat_template() {
    std::optional<std::string> text;
    const Json* entry = json_field(tokenizer_config_, "chat_template");
    if (entry != nullptr && entry->is_array()) {  // several, by name
      for (const Json& named : *entry) {
        if (json_string(named, "name") == "default") text = json_string(named, "template");
      }
    } else if (entry != nullptr) {
      text = json_string(tokenizer_config_, "chat_template");
    }
    if (!text && fs::exists(folder_ / "chat_template.jinja")) {
      text = read_text(folder_ / "chat_template.jinja");
    }
    if (!text) {
      text = json_string(read_json_if_present(folder_ / "chat_template.json"), "chat_template");
    }
    if (text) metadata_.set("tokenizer.chat_template", *text);
  }

  fs::path folder_;
  const HfConfig& config_;
  Metadata& metadata_;
  Vocabulary vocabulary_;
  Json tokenizer_;  // null without tokenizer.json
  Json tokenizer_config_;
  Json generation_config_;
  std::string kind_;
  std::string pre_;
};

}  // namespace

int64_t read_hf_tokenizer(const fs::path& folder, const HfConfig& config, Metadata& metadata) {
  return Reader(folder, config, metadata).read();
}

}  // namespace outboard::formats
