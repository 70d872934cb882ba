#include "formats/hf_tokenizer_fields.h"

#include <algorithm>
#include <unordered_map>

#include "support/error.h"

namespace outboard::formats {
namespace {

constexpr std::string_view kSpaceMark = "\xe2\x96\x81";  // U+2581, SentencePiece's space

// The steps of a normalizer, pre_tokenizer, post_processor or decoder, sequences opened.
void collect(const Json& step, std::vector<const Json*>& steps) {
  for (const char* list : {"normalizers", "pretokenizers", "processors", "decoders"}) {
    const Json* inner = json_field(step, list);
    if (inner == nullptr || !inner->is_array()) continue;
    for (const Json& each : *inner) collect(each, steps);
    return;
  }
  steps.push_back(&step);
}

std::vector<const Json*> steps_of(const Json& tokenizer, std::string_view part) {
  std::vector<const Json*> steps;
  if (const Json* root = json_field(tokenizer, part)) collect(*root, steps);
  return steps;
}

std::string type_of(const Json& step) { return json_string(step, "type").value_or(""); }

const Json* find_step(const Json& tokenizer, std::string_view part, std::string_view type) {
  for (const Json* step : steps_of(tokenizer, part)) {
    if (type_of(*step) == type) return step;
  }
  return nullptr;
}

void report_step(std::string_view part, const Json& step, FieldReport& report) {
  report.unknown(fmt::format("{}: the step {}", part, shown_field(Json(type_of(step)))));
}

// The fields of a step that is done, but perhaps not with these values.
void report_step_fields(std::string_view part, const Json& step, std::vector<KnownField> known,
                        FieldReport& report) {
  known.push_back({"type"});
  report_unknown(step, fmt::format("{}: {}: ", part, type_of(step)), known, report);
}

// A step that replaces this text by that one.
bool replaces(const Json& step, std::string_view from, std::string_view to) {
  const Json* pattern = json_field(step, "pattern");
  return type_of(step) == "Replace" && pattern != nullptr &&
         json_string(*pattern, "String") == from && json_string(step, "content") == to;
}

// Splitting at spaces after all of them were replaced: Gemma's.
bool splits_at_spaces(const Json& step) {
  const Json* pattern = json_field(step, "pattern");
  return type_of(step) == "Split" && pattern != nullptr && json_string(*pattern, "String") == " ";
}

// "" unless the step is Split with a regular expression.
std::string split_pattern(const Json& step) {
  const Json* pattern = json_field(step, "pattern");
  if (pattern == nullptr) return {};
  return json_string(*pattern, "Regex").value_or(json_string(*pattern, "String").value_or(""));
}

// Metaspace's prepend_scheme; older files have add_prefix_space. Source: tokenizers' Metaspace.
std::string prepend_scheme(const Json& metaspace) {
  if (!json_bool(metaspace, "add_prefix_space").value_or(true)) return "never";
  return json_string(metaspace, "prepend_scheme").value_or("always");
}

bool ignores_merges(const Json& tokenizer) {
  const Json* model = json_field(tokenizer, "model");
  return model != nullptr && json_bool(*model, "ignore_merges").value_or(false);
}

// A family by what its tokenizer.json holds.
struct ByteLevelFamily {
  std::string_view name;
  std::string_view pattern;  // of Split; empty: GPT-2's, which is ByteLevel's own
  bool digits = false;       // single digits are split off first
  bool ignore_merges = false;
  bool compose = false;
};

constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// As src/text/pre_tokenizer_families.cpp has them. Of several with one pattern, the first is taken
// when none fits in all.
constexpr ByteLevelFamily kByteLevelFamilies[] = {
    {"llama-bpe", kLlama3, false, true, false}, {"smaug-bpe", kLlama3, false, false, false},
    {"qwen2", kQwen2, false, false, true},      {"deepseek-r1-qwen", kQwen2, false, false, false},
    {"tekken", kTekken, false, true, false},    {"gpt-2", {}, false, false, false},
    {"smollm", {}, true, false, false},
};

class ByteLevelReader {
 public:
  ByteLevelReader(const Json& tokenizer, FieldReport& report)
      : tokenizer_(tokenizer), report_(report) {}

  std::string read() {
    if (json_field(tokenizer_, "pre_tokenizer") == nullptr) fail("pre_tokenizer: it is missing");
    read_pre_tokenizer();
    read_normalizer();
    const bool ignore_merges = ignores_merges(tokenizer_);
    const ByteLevelFamily* best = nullptr;
    int most = -1;
    for (const ByteLevelFamily& family : kByteLevelFamilies) {
      if (family.pattern != pattern_ || family.digits != digits_) continue;
      const int same = 2 * (family.compose == composes_) + (family.ignore_merges == ignore_merges);
      if (same <= most) continue;
      most = same;
      best = &family;
    }
    if (best == nullptr) {
      throw Error(fmt::format("pre_tokenizer: found the pattern {}, which is not known",
                              shown_field(Json(pattern_))),
                  "Known are those of GPT-2, Llama 3, Qwen 2, SmolLM and Mistral's Tekken.");
    }
    if (best->compose != composes_) {
      report_.unknown(fmt::format("normalizer: {} \"NFC\" with this pre_tokenizer",
                                  composes_ ? "the step" : "no step"));
    }
    if (best->ignore_merges != ignore_merges) {
      report_.unknown("model.ignore_merges", ignore_merges);
    }
    return std::string(best->name);
  }

 private:
  void read_pre_tokenizer() {
    constexpr std::string_view kPart = "pre_tokenizer";
    const std::vector<const Json*> steps = steps_of(tokenizer_, kPart);
    const bool splits =
        std::ranges::any_of(steps, [](const Json* step) { return type_of(*step) == "Split"; });
    bool bytes = false;
    bool split = false;
    for (const Json* step : steps) {
      const std::string type = type_of(*step);
      if (type == "ByteLevel" && !bytes) {
        bytes = true;
        // Its own pattern is GPT-2's; without the field it is used.
        const bool own = json_bool(*step, "use_regex").value_or(true);
        if (own == splits)
          report_.unknown(fmt::format("{}: ByteLevel: use_regex = {}", kPart, own));
        report_step_fields(kPart, *step,
                           {{"add_prefix_space", "[false]"}, {"trim_offsets"}, {"use_regex"}},
                           report_);
      } else if (type == "Split" && !split && !bytes) {
        split = true;
        pattern_ = split_pattern(*step);
        report_step_fields(
            kPart, *step,
            {{"pattern"}, {"behavior", R"(["Isolated", "isolated"])"}, {"invert", "[false]"}},
            report_);
      } else if (type == "Digits" && !digits_ && !splits && !bytes) {
        // Splitting numbers off as a whole parts them from the space before, unlike any family.
        digits_ = json_bool(*step, "individual_digits").value_or(false);
        report_step_fields(kPart, *step, {{"individual_digits", "[true]"}}, report_);
      } else {
        report_step(kPart, *step, report_);
      }
    }
    if (!bytes) report_.unknown(fmt::format("{}: no step \"ByteLevel\"", kPart));
  }

  void read_normalizer() {
    for (const Json* step : steps_of(tokenizer_, "normalizer")) {
      if (type_of(*step) == "NFC") {
        composes_ = true;
      } else {
        report_step("normalizer", *step, report_);
      }
    }
  }

  const Json& tokenizer_;
  FieldReport& report_;
  std::string pattern_;
  bool digits_ = false;
  bool composes_ = false;
};

// Its fields but for the meaning of the schemes.
void report_metaspace(std::string_view part, const Json& step, FieldReport& report) {
  report_step_fields(part, step,
                     {{"replacement", R"(["▁"])"},
                      {"str_rep"},
                      {"prepend_scheme"},
                      {"add_prefix_space"},
                      {"split"}},
                     report);
}

// Whether a merge makes a token of more than one word: splitting into words first then matters.
bool has_token_across_words(const Vocabulary& vocabulary) {
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.kinds[id] == TokenKind::kNormal &&
        vocabulary.tokens[id].find(kSpaceMark, 1) != std::string::npos) {
      return true;
    }
  }
  return false;
}

void report_user_tokens_inside(const Json& tokenizer, const Vocabulary& vocabulary,
                               FieldReport& report) {
  const Json* added = json_field(tokenizer, "added_tokens");
  if (added == nullptr || !added->is_array()) return;
  int64_t last = vocabulary.size() - 1;
  const auto is_trained = [&](int64_t id) {
    const TokenKind kind = vocabulary.kinds[static_cast<size_t>(id)];
    return kind == TokenKind::kNormal || kind == TokenKind::kByte;
  };
  while (last >= 0 && !is_trained(last)) --last;
  for (const Json& token : *added) {
    const int64_t id = json_int(token, "id").value_or(last);
    if (id < 0 || id >= last) continue;
    if (vocabulary.kinds[static_cast<size_t>(id)] == TokenKind::kUserDefined) {
      report.unknown(fmt::format("added_tokens: {}: special = false amid the vocabulary",
                                 shown_field(Json(json_string(token, "content").value_or("")))));
    }
  }
}

void report_decoder(const Json& tokenizer, bool characters, FieldReport& report) {
  constexpr std::string_view kPart = "decoder";
  for (const Json* step : steps_of(tokenizer, kPart)) {
    const std::string type = type_of(*step);
    if (!characters) {
      if (type == "ByteLevel") {
        report_step_fields(kPart, *step, {{"add_prefix_space"}, {"trim_offsets"}, {"use_regex"}},
                           report);
      } else {
        report_step(kPart, *step, report);
      }
    } else if (type == "Metaspace") {
      report_metaspace(kPart, *step, report);
    } else if (type == "Strip") {
      // The space that was put in front of the text.
      report_step_fields(kPart, *step,
                         {{"content", R"([" "])"},
                          {"start", adds_space(tokenizer) ? "[0, 1]" : "[0]"},
                          {"stop", "[0]"}},
                         report);
    } else if (type != "ByteFallback" && type != "Fuse" && !replaces(*step, kSpaceMark, " ")) {
      report_step(kPart, *step, report);
    }
  }
}

}  // namespace

bool is_character_bpe(const Json& tokenizer) {
  const Json* model = json_field(tokenizer, "model");
  const auto fallback = model == nullptr ? std::nullopt : json_bool(*model, "byte_fallback");
  return fallback.value_or(false) && find_step(tokenizer, "pre_tokenizer", "ByteLevel") == nullptr;
}

bool adds_space(const Json& tokenizer) {
  if (find_step(tokenizer, "normalizer", "Prepend") != nullptr) return true;
  const Json* metaspace = find_step(tokenizer, "pre_tokenizer", "Metaspace");
  return metaspace != nullptr && prepend_scheme(*metaspace) != "never";
}

std::string space_prefix_rule(const Json& tokenizer) {
  if (find_step(tokenizer, "normalizer", "Prepend") != nullptr) return {};
  const Json* metaspace = find_step(tokenizer, "pre_tokenizer", "Metaspace");
  if (metaspace == nullptr) return {};
  const std::string scheme = prepend_scheme(*metaspace);
  return scheme == "never" ? std::string() : scheme;
}

std::string byte_level_family(const Json& tokenizer, FieldReport& report) {
  return ByteLevelReader(tokenizer, report).read();
}

void report_character_steps(const Json& tokenizer, const Vocabulary& vocabulary,
                            FieldReport& report) {
  bool prepends = false;
  bool marks = false;  // spaces
  for (const Json* step : steps_of(tokenizer, "normalizer")) {
    if (type_of(*step) == "Prepend" && !prepends) {
      prepends = true;
      report_step_fields("normalizer", *step, {{"prepend", R"(["▁"])"}}, report);
    } else if (replaces(*step, " ", kSpaceMark)) {
      marks = true;
    } else {
      report_step("normalizer", *step, report);
    }
  }
  for (const Json* step : steps_of(tokenizer, "pre_tokenizer")) {
    if (marks && splits_at_spaces(*step)) continue;
    if (type_of(*step) != "Metaspace") {
      report_step("pre_tokenizer", *step, report);
      continue;
    }
    marks = true;
    report_metaspace("pre_tokenizer", *step, report);
    const std::string scheme = prepend_scheme(*step);
    if (scheme != "never" && scheme != "always" && scheme != "first") {
      report.unknown("pre_tokenizer: Metaspace: prepend_scheme", scheme);
    }
    const bool splits = json_bool(*step, "split").value_or(true);
    if (splits && has_token_across_words(vocabulary)) {
      report.unknown("pre_tokenizer: Metaspace: split", splits);
    }
  }
  // Amid the vocabulary such a token is SentencePiece's own, matched in a text that has its space;
  // here it would be cut out first, and what follows given a space too.
  if (adds_space(tokenizer)) report_user_tokens_inside(tokenizer, vocabulary, report);
  if (!marks) report.unknown("normalizer: no step that writes \"▁\" for spaces");
  if (ignores_merges(tokenizer)) report.unknown("model.ignore_merges", true);
}

void report_beside_model(const Json& tokenizer, FieldReport& report) {
  for (const Json* step : steps_of(tokenizer, "normalizer")) {
    const std::string type = type_of(*step);
    const bool ours = type == "Prepend" || type == "Precompiled" || type == "Strip" ||
                      (type == "Replace" && json_string(*step, "content") == kSpaceMark);
    if (!ours) report_step("normalizer", *step, report);
  }
  for (const Json* step : steps_of(tokenizer, "pre_tokenizer")) {
    if (type_of(*step) != "Metaspace" && !splits_at_spaces(*step)) {
      report_step("pre_tokenizer", *step, report);
    }
  }
}

void report_tokenizer_fields(const Json& tokenizer, FieldReport& report) {
  report_unknown(tokenizer, "",
                 {{"version"},
                  {"truncation"},
                  {"padding"},
                  {"added_tokens"},
                  {"normalizer"},
                  {"pre_tokenizer"},
                  {"post_processor"},
                  {"decoder"},
                  {"model"}},
                 report);
  // Both are about batches of texts for training.
  for (const char* name : {"truncation", "padding"}) {
    if (json_field(tokenizer, name) != nullptr) {
      report.note(fmt::format("{} is set; texts are taken whole and as they are", name));
    }
  }
  const Json* model = json_field(tokenizer, "model");
  if (model == nullptr || json_string(*model, "type").value_or("BPE") != "BPE") return;
  report_unknown(*model, "model.",
                 {{"type"},
                  {"vocab"},
                  {"merges"},
                  {"unk_token"},
                  // There are tokens for all bytes, so nothing is unknown.
                  {"fuse_unk"},
                  {"byte_fallback"},
                  {"ignore_merges"},
                  {"dropout", "[0]"},
                  {"continuing_subword_prefix", R"([""])"},
                  {"end_of_word_suffix", R"([""])"}},
                 report);
  report_decoder(tokenizer, is_character_bpe(tokenizer), report);
}

void report_added_tokens(const Json& tokens, const Json& tokenizer, std::string_view path,
                         FieldReport& report) {
  const bool prepends = find_step(tokenizer, "normalizer", "Prepend") != nullptr;
  const bool composes = find_step(tokenizer, "normalizer", "NFC") != nullptr;
  const std::vector<KnownField> known = {{"id"},     {"content"}, {"special"},     {"normalized"},
                                         {"lstrip"}, {"rstrip"},  {"single_word"}, {"__type"}};
  for (const Json& token : tokens) {
    const auto text = json_string(token, "content").value_or("");
    const std::string name = shown_field(Json(text));
    report_unknown(token, fmt::format("{}: {}: ", path, name), known, report);
    for (const char* flag : {"lstrip", "rstrip", "single_word"}) {
      if (json_bool(token, flag).value_or(false)) {
        report.unknown(fmt::format("{}: {}: {}", path, name, flag), true);
      }
    }
    // Such a token is looked for when the normalizer is through, and is normalized itself: behind
    // the space that Prepend puts, or composed.
    const bool plain =
        std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    if (json_bool(token, "normalized").value_or(false) && (prepends || (composes && !plain))) {
      report.unknown(fmt::format("{}: {}: normalized", path, name), true);
    }
  }
}

void note_tokens_beyond(const Json& added_tokens, int64_t rows, FieldReport& report) {
  std::string first;
  int64_t count = 0;
  for (const Json& token : added_tokens) {
    const auto text = json_string(token, "content").value_or("");
    // A picture's place; Gemma's models without eyes have the tokenizer of those that see.
    if (json_int(token, "id").value_or(0) < rows || text == "<image_soft_token>") continue;
    if (count++ == 0) first = shown_field(Json(text));
  }
  if (count > 0) {
    report.note(fmt::format("added_tokens: {}{} beyond the model's {} rows: read as plain text",
                            first, count == 1 ? " is" : fmt::format(" and {} more are", count - 1),
                            rows));
  }
}

void report_added_ids(const Json& tokenizer, FieldReport& report) {
  const Json* added = json_field(tokenizer, "added_tokens");
  const Json* model = json_field(tokenizer, "model");
  const Json* vocab = model == nullptr ? nullptr : json_field(*model, "vocab");
  if (added == nullptr || !added->is_array() || vocab == nullptr || !vocab->is_object()) return;
  // Vocabularies are long, lists of added tokens mostly short.
  constexpr int64_t kNone = -1;
  std::unordered_map<std::string, int64_t> ids;
  for (const Json& token : *added) {
    ids.emplace(json_string(token, "content").value_or(""), kNone);
  }
  for (const auto& [text, id] : vocab->items()) {
    const auto place = ids.find(text);
    if (place != ids.end() && id.is_number_unsigned()) place->second = id.get<int64_t>();
  }
  int64_t next = static_cast<int64_t>(vocab->size());
  for (const Json& token : *added) {
    const auto text = json_string(token, "content").value_or("");
    int64_t& id = ids[text];
    if (id == kNone) id = next;
    next = std::max(next, id + 1);
    if (const auto written = json_int(token, "id"); written && *written != id) {
      report.unknown(fmt::format("added_tokens: {}: id = {}, where tokenizers reads {}",
                                 shown_field(Json(text)), *written, id));
    }
  }
}

std::optional<TextEnds> read_text_ends(const Json& tokenizer, FieldReport& report) {
  constexpr std::string_view kPart = "post_processor";
  std::optional<TextEnds> ends;
  bool has_template = false;
  for (const Json* step : steps_of(tokenizer, kPart)) {
    const std::string type = type_of(*step);
    if (type == "ByteLevel") {  // changes offsets only
      report_step_fields(kPart, *step, {{"add_prefix_space"}, {"trim_offsets"}, {"use_regex"}},
                         report);
      if (!ends) ends.emplace();
      continue;
    }
    const Json* single = json_field(*step, "single");
    if (type != "TemplateProcessing" || has_template || single == nullptr || !single->is_array()) {
      report_step(kPart, *step, report);
      continue;
    }
    has_template = true;
    ends.emplace();
    report_step_fields(kPart, *step, {{"single"}, {"pair"}, {"special_tokens"}}, report);
    const Json* specials = json_field(*step, "special_tokens");
    int texts = 0;
    for (const Json& element : *single) {
      if (const Json* sequence = json_field(element, "Sequence")) {
        if (json_string(*sequence, "id") != "A") report_step(kPart, *step, report);
        ++texts;
        continue;
      }
      const Json* special = json_field(element, "SpecialToken");
      TextEnds::Special found;
      if (special != nullptr) found.text = json_string(*special, "id").value_or("");
      const Json* entry = specials == nullptr ? nullptr : json_field(*specials, found.text);
      const Json* ids = entry == nullptr ? nullptr : json_field(*entry, "ids");
      if (ids != nullptr && ids->is_array() && ids->size() == 1 &&
          ids->front().is_number_unsigned()) {
        found.id = ids->front().get<int64_t>();
      }
      (texts == 0 ? ends->before : ends->after).push_back(std::move(found));
    }
    if (texts != 1) report.unknown(fmt::format("{}: the text {} times", kPart, texts));
  }
  return ends;
}

}  // namespace outboard::formats
