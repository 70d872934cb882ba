// What tokenizer.json asks for: the steps that Outboard's tokenizers do, and a report of all
// others. Internal to formats.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "formats/hf_fields.h"
#include "formats/hf_vocabulary.h"
#include "formats/json_file.h"

namespace outboard::formats {

// True when text is marked with U+2581 for spaces, not coded byte by byte.
bool is_character_bpe(const Json& tokenizer);

// Whether a character BPE puts a space in front of a text.
bool adds_space(const Json& tokenizer);

// Metaspace's own rule for that space, "always" or "first": unlike SentencePiece and the step
// Prepend, it puts none before a text that begins with a space, and "first" none behind a special
// token. Empty where the step is not the one that adds it.
std::string space_prefix_rule(const Json& tokenizer);

// GGUF's name of the family whose words, Unicode form and merges are the file's ("llama-bpe",
// "qwen2", ...); what no family does is reported. Throws Error for a pattern that is not known.
std::string byte_level_family(const Json& tokenizer, FieldReport& report);

// Reports what a character BPE asks for beyond SentencePiece's way with spaces. The vocabulary has
// its added tokens.
void report_character_steps(const Json& tokenizer, const Vocabulary& vocabulary,
                            FieldReport& report);

// The same of a tokenizer.json beside a tokenizer.model, which is the one that is read: steps that
// stand for something of SentencePiece's are in order.
void report_beside_model(const Json& tokenizer, FieldReport& report);

// The rest of the file: its own fields, the model's, the decoder.
void report_tokenizer_fields(const Json& tokenizer, FieldReport& report);

// Tokens with conditions that are not done. Takes the lists that add_added_tokens() takes; of
// `tokenizer`, which may be null, the normalizer.
void report_added_tokens(const Json& tokens, const Json& tokenizer, std::string_view path,
                         FieldReport& report);
// Those whose number is not what the library tokenizers takes: the vocabulary's where it has the
// text, else the next free one, whatever the file says.
void report_added_ids(const Json& tokenizer, FieldReport& report);
// Those of tokenizer.json's list that the model has no rows for.
void note_tokens_beyond(const Json& added_tokens, int64_t rows, FieldReport& report);

// The special tokens that the post-processor puts around a text.
struct TextEnds {
  struct Special {
    std::string text;
    std::optional<int64_t> id;  // nothing unless it stands for one token
  };
  std::vector<Special> before;
  std::vector<Special> after;
};
// Nothing where the file does not say. Reports other kinds of processors.
std::optional<TextEnds> read_text_ends(const Json& tokenizer, FieldReport& report);

}  // namespace outboard::formats
