#include "formats/hf_tokenizer.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "formats/file_kind.h"
#include "formats/hf_fields.h"
#include "formats/hf_tokenizer_fields.h"
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
  const MappedFile file = map_part(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

class Reader {
 public:
  Reader(const fs::path& folder, const HfConfig& config, Model& model)
      : folder_(folder),
        config_(config),
        model_(model),
        metadata_(model.metadata),
        report_("tokenizer.json", model),
        config_report_("tokenizer_config.json", model),
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
    if (has_json) in_file(json, [&] { report_tokenizer_json(); });
    write_vocabulary();
    in_file(folder_ / "tokenizer_config.json", [&] {
      report_tokenizer_config();
      write_special_tokens();
      write_flags();
      write_chat_template();
    });
    write_generation();
    return vocabulary_.size();
  }

 private:
  void read_model(const fs::path& path) {
    const MappedFile file = map_part(path);
    const std::span<const std::byte> bytes = file.bytes();
    bool unigram = false;
    read_sentencepiece({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, vocabulary_,
                       unigram);
    // GGUF's "llama" merges by score, "t5" searches the best sum of scores.
    kind_ = unigram ? "t5" : "llama";
    pre_ = "default";
    write_normalisation(
        read_sentencepiece_spec({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
    const Json* added = json_field(tokenizer_config_, "added_tokens_decoder");
    if (added != nullptr && added->is_object()) add_added_tokens(*added, true, vocabulary_);
  }

  // Keys of llama.cpp's converter, where the file differs from what is done without them.
  void write_normalisation(const SentencePieceSpec& spec) {
    dummy_prefix_ = spec.add_dummy_prefix;
    if (spec.remove_extra_whitespaces) {
      metadata_.set("tokenizer.ggml.remove_extra_whitespaces", true);
    }
    if (!spec.charsmap.empty()) {
      metadata_.set(
          "tokenizer.ggml.precompiled_charsmap",
          MetadataArray{std::vector<uint8_t>(spec.charsmap.begin(), spec.charsmap.end())});
    }
    FieldReport report("tokenizer.model", model_);
    constexpr uint64_t kBpe = 2;
    if (spec.model_type > kBpe) report.unknown("trainer_spec.model_type", spec.model_type);
    if (spec.whitespace_as_suffix) {
      report.unknown("trainer_spec.treat_whitespace_as_suffix", true);
    }
    if (!spec.escape_whitespaces) report.unknown("normalizer_spec.escape_whitespaces", false);
    if (spec.denormalizes) report.unknown("denormalizer_spec: replacements of characters");
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
      if (config_.family->merges_pieces_in_order) {
        read_merges(tokenizer_, vocabulary_);
        kind_ = "gemma4";
      }
    } else {
      read_byte_level_bpe(tokenizer_, vocabulary_);
      kind_ = "gpt2";
      pre_ = byte_level_family(tokenizer_, report_);
    }
    const Json* added = json_field(tokenizer_, "added_tokens");
    if (added != nullptr && added->is_array()) add_added_tokens(*added, characters, vocabulary_);
    if (characters) report_character_steps(tokenizer_, vocabulary_, report_);
  }

  void report_tokenizer_json() {
    report_tokenizer_fields(tokenizer_, report_);
    text_ends_ = read_text_ends(tokenizer_, report_);
    adds_space_ = adds_space(tokenizer_);
    if (dummy_prefix_) report_beside_model(tokenizer_, report_);
    const Json* added = json_field(tokenizer_, "added_tokens");
    if (added != nullptr && added->is_array()) {
      report_added_tokens(*added, dummy_prefix_ ? Json() : tokenizer_, "added_tokens", report_);
      if (!dummy_prefix_) report_added_ids(tokenizer_, report_);
      note_tokens_beyond(*added, vocabulary_.size(), report_);
    }
  }

  void report_tokenizer_config() {
    std::vector<const char*> unwanted = {"do_lower_case", "split_special_tokens"};
    if (kind_ == "gpt2") unwanted.push_back("add_prefix_space");
    for (const char* name : unwanted) {
      if (json_bool(tokenizer_config_, name).value_or(false)) config_report_.unknown(name, true);
    }
    const Json* added = json_field(tokenizer_config_, "added_tokens_decoder");
    if (added != nullptr && added->is_object()) {
      report_added_tokens(*added, Json(), "added_tokens_decoder", config_report_);
    }
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
  std::optional<int64_t> named_token(const std::string& name) {
    const Json* entry = json_field(tokenizer_config_, name);
    if (entry == nullptr) return std::nullopt;
    const auto text =
        entry->is_object() ? json_string(*entry, "content") : json_string(tokenizer_config_, name);
    const auto id = id_of(text.value_or(""));
    if (!id && text) {
      config_report_.note(
          fmt::format("{} = {}, which the model has no token for", name, shown_field(Json(*text))));
    }
    return id;
  }

  // A number, or those of a list; ids that the model lacks are noted (-1 is an old way to say
  // none).
  std::vector<int64_t> ids_in(const Json& object, const std::string& key, const char* file) {
    std::vector<int64_t> ids;
    const Json* value = json_field(object, key);
    if (value == nullptr) return ids;
    FieldReport report(file, model_);
    const auto add = [&](const Json& id) {
      if (!id.is_number_integer()) {
        report.unknown(key, *value);
      } else if (id.is_number_unsigned() && id.get<uint64_t>() < vocabulary_.tokens.size()) {
        ids.push_back(id.get<int64_t>());
      } else if (id != -1) {
        report.note(fmt::format("{} = {}, and the model's tokens are 0 to {}: not used", key,
                                shown_field(*value), vocabulary_.size() - 1));
      }
    };
    if (value->is_array()) {
      for (const Json& id : *value) add(id);
    } else {
      add(*value);
    }
    return ids;
  }

  std::optional<int64_t> special_id(const std::string& name) {
    if (const auto id = named_token(name)) return id;
    for (const auto& [json, file] : configs()) {
      const std::vector<int64_t> ids = ids_in(*json, name + "_id", file);
      if (!ids.empty()) return ids.front();
    }
    return std::nullopt;
  }

  std::vector<std::pair<const Json*, const char*>> configs() const {
    return {{&config_.config, "config.json"}, {&generation_config_, "generation_config.json"}};
  }

  void set_id(const std::string& key, std::optional<int64_t> id) {
    if (id) metadata_.set("tokenizer.ggml." + key, static_cast<uint32_t>(*id));
  }

  void write_special_tokens() {
    // GGUF spells "seperator" so.
    constexpr std::pair<const char*, const char*> kSpecial[] = {
        {"bos", "bos_token_id"},       {"eos", "eos_token_id"},     {"unk", "unknown_token_id"},
        {"sep", "seperator_token_id"}, {"pad", "padding_token_id"}, {"mask", "mask_token_id"}};
    for (const auto& [name, key] : kSpecial) {
      const auto id = special_id(std::string(name) + "_token");
      set_id(key, id);
      if (std::string_view(name) == "bos") bos_ = id;
      if (std::string_view(name) == "eos") eos_ = id;
    }
    write_ends();
  }

  // Llama 3 and Gemma 3 end an answer with one of several tokens; others with another one than the
  // tokenizer calls its end.
  void write_ends() {
    std::vector<uint32_t> ends;
    bool list = false;
    const auto add = [&](const Json& json, const char* file) {
      for (const int64_t id : ids_in(json, "eos_token_id", file)) {
        const auto end = static_cast<uint32_t>(id);
        if (std::ranges::find(ends, end) == ends.end()) ends.push_back(end);
      }
      const Json* value = json_field(json, "eos_token_id");
      list = list || (value != nullptr && value->is_array());
    };
    add(generation_config_, "generation_config.json");
    add(config_.config, "config.json");
    for (const uint32_t id : ends) {
      const std::string& text = vocabulary_.tokens[id];
      if (text == "<|eot_id|>" || text == "<end_of_turn>" || text == "<|im_end|>") {
        set_id("eot_token_id", id);
      }
      if (text == "<|eom_id|>") set_id("eom_token_id", id);
    }
    if (list || std::ranges::any_of(ends, [&](uint32_t id) { return id != eos_; })) {
      metadata_.set("outboard.eos_token_ids", MetadataArray{std::move(ends)});
    }
  }

  void write_flags() {
    const auto [adds_first, adds_last] = template_ends();
    const auto set = [&](const char* name, std::optional<bool> by_template) {
      const auto by_config = json_bool(tokenizer_config_, name);
      if (by_config && by_template && *by_config != *by_template) {
        config_report_.note(
            fmt::format("{} = {}, and tokenizer.json's post_processor does otherwise and counts",
                        name, *by_config));
      }
      const auto value = by_template ? by_template : by_config;
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
    if (dummy_prefix_) {
      if (config_.family->never_spaces_prefix) space = false;
      space = space.value_or(*dummy_prefix_);
    } else {
      if (space && *space != adds_space_) {
        config_report_.note(fmt::format(
            "add_prefix_space = {}, and tokenizer.json does otherwise and counts", *space));
      }
      space = adds_space_;
    }
    metadata_.set("tokenizer.ggml.add_space_prefix", *space);
    if (const std::string rule = space_prefix_rule(tokenizer_); *space && !rule.empty()) {
      metadata_.set("outboard.space_prefix", rule);
    }
  }

  // Whether tokenizer.json puts bos before and eos after a text; nothing where it does not say.
  std::pair<std::optional<bool>, std::optional<bool>> template_ends() {
    if (!text_ends_) return {};
    const auto is_there = [&](const std::vector<TextEnds::Special>& specials, const char* place,
                              const char* key, std::optional<int64_t>& own) {
      bool there = false;
      for (const TextEnds::Special& special : specials) {
        // A tokenizer that names no such token elsewhere names it here.
        if (!own && special.id && *special.id < vocabulary_.size()) set_id(key, own = special.id);
        if (!there && special.id && special.id == own) {
          there = true;
        } else {
          report_.unknown(fmt::format("post_processor: the special token {} {} a text",
                                      shown_field(Json(special.text)), place));
        }
      }
      return there;
    };
    const bool first = is_there(text_ends_->before, "before", "bos_token_id", bos_);
    return {first, is_there(text_ends_->after, "behind", "eos_token_id", eos_)};
  }

  void write_generation() {
    const char* name = "generation_config.json";
    const bool is_config = !fs::exists(folder_ / name);
    if (is_config) name = "config.json";
    in_file(folder_ / name, [&] {
      FieldReport report(name, model_);
      read_generation(is_config ? config_.config : generation_config_, is_config, metadata_,
                      report);
    });
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
  Model& model_;
  Metadata& metadata_;
  FieldReport report_;         // of tokenizer.json
  FieldReport config_report_;  // of tokenizer_config.json
  Vocabulary vocabulary_;
  Json tokenizer_;  // null without tokenizer.json
  Json tokenizer_config_;
  Json generation_config_;
  std::optional<TextEnds> text_ends_;  // of tokenizer.json
  bool adds_space_ = false;            // the same
  std::optional<bool> dummy_prefix_;   // of tokenizer.model; nothing: tokenizer.json is read
  std::optional<int64_t> bos_;
  std::optional<int64_t> eos_;
  std::string kind_;
  std::string pre_;
};

}  // namespace

int64_t read_hf_tokenizer(const fs::path& folder, const HfConfig& config, Model& model) {
  return Reader(folder, config, model).read();
}

}  // namespace outboard::formats
