// libFuzzer: any text goes through each kind of tokenizer, and comes back where the kind promises
// it; any metadata gives a tokenizer or an Error.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "support/error.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace {

using outboard::formats::Metadata;
using outboard::formats::MetadataArray;
using outboard::text::Tokenizer;

// Tokens for all bytes as GPT-2 spells them, and a few merges.
Metadata byte_level(const char* family) {
  std::vector<std::string> tokens;
  char32_t next = 256;
  for (char32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    std::string spelled;
    outboard::text::append_utf8(printable ? b : next++, spelled);
    tokens.push_back(spelled);
  }
  std::vector<int32_t> types(tokens.size(), 1);
  const std::vector<std::string> merges = {"a b", "ab ab", "Ġ a", "e r", "Ċ Ċ"};
  for (const std::string& merge : merges) {
    std::string merged = merge;
    merged.erase(merged.find(' '), 1);
    tokens.push_back(merged);
    types.push_back(1);
  }
  tokens.push_back("<|im_end|>");
  types.push_back(3);
  tokens.push_back("<x>");
  types.push_back(4);
  Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.set("tokenizer.ggml.pre", std::string(family));
  metadata.set("tokenizer.ggml.tokens", MetadataArray{tokens});
  metadata.set("tokenizer.ggml.token_type", MetadataArray{types});
  metadata.set("tokenizer.ggml.merges", MetadataArray{merges});
  return metadata;
}

Metadata sentencepiece(const char* kind, bool bytes) {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>", "a",  "b", "ab",
                                     "▁",     "▁a",  "aab",  "  ", "ü"};
  std::vector<int32_t> types = {2, 3, 3, 1, 1, 1, 1, 1, 5, 4, 1};
  std::vector<float> scores = {0, 0, 0, -1, -2, -1.5F, -3, -1, -0.5F, 0, -4};
  for (int b = 0; bytes && b < 256; ++b) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    const auto byte = static_cast<size_t>(b);
    tokens.push_back(std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">");
    types.push_back(6);
    scores.push_back(0);
  }
  Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string(kind));
  metadata.set("tokenizer.ggml.tokens", MetadataArray{tokens});
  metadata.set("tokenizer.ggml.token_type", MetadataArray{types});
  metadata.set("tokenizer.ggml.scores", MetadataArray{scores});
  metadata.set("tokenizer.ggml.unknown_token_id", int32_t{0});
  return metadata;
}

void check(bool holds) {
  if (!holds) std::abort();
}

void use(const Tokenizer& tokenizer, std::string_view text, bool exact) {
  const std::vector<int32_t> ids = tokenizer.encode(text, true, true);
  const std::string back = tokenizer.decode(ids, true);
  if (exact) check(back == text);
  outboard::text::StreamDecoder decoder(tokenizer, true);
  std::string streamed;
  for (const int32_t id : ids) {
    const std::string part = decoder.feed(id);
    check(outboard::text::is_valid_utf8(part));
    streamed += part;
  }
  streamed += decoder.flush();
  check(streamed == outboard::text::to_valid_utf8(back));
}

// Metadata made of the fuzzer's bytes: the first picks the kind, lines become tokens.
void hostile(std::string_view data) {
  if (data.size() < 3) return;
  const auto choice = static_cast<uint8_t>(data[0]);
  const auto flags = static_cast<uint8_t>(data[1]);
  data.remove_prefix(2);
  std::vector<std::string> lines;
  while (!data.empty() && lines.size() < 300) {
    const size_t end = std::min(data.find('\n'), data.size());
    lines.emplace_back(data.substr(0, end));
    data.remove_prefix(std::min(end + 1, data.size()));
  }
  std::vector<int32_t> types;
  std::vector<float> scores;
  std::vector<uint8_t> map;
  for (const std::string& line : lines) {
    const auto value = line.empty() ? 0 : static_cast<uint8_t>(line.back());
    types.push_back((flags & 1) != 0 ? 1 + value % 6 : 1);
    scores.push_back(static_cast<float>(value) - 100);
    for (const char c : line) map.push_back(static_cast<uint8_t>(c));
  }
  constexpr const char* kKinds[] = {"gpt2", "llama", "t5"};
  constexpr const char* kFamilies[] = {"gpt-2", "llama-bpe", "qwen2", "tekken", "deepseek-llm"};
  Metadata metadata;
  metadata.set("tokenizer.ggml.model", std::string(kKinds[choice % 3]));
  metadata.set("tokenizer.ggml.pre", std::string(kFamilies[choice / 3 % 5]));
  if ((flags & 2) == 0) metadata.set("tokenizer.ggml.tokens", MetadataArray{lines});
  metadata.set("tokenizer.ggml.token_type", MetadataArray{types});
  if ((flags & 4) == 0) metadata.set("tokenizer.ggml.scores", MetadataArray{scores});
  if ((flags & 8) == 0) metadata.set("tokenizer.ggml.merges", MetadataArray{lines});
  if ((flags & 16) != 0) metadata.set("tokenizer.ggml.precompiled_charsmap", MetadataArray{map});
  metadata.set("tokenizer.ggml.unknown_token_id", int32_t{flags >> 5});
  metadata.set("tokenizer.ggml.remove_extra_whitespaces", (choice & 128) != 0);
  try {
    const std::unique_ptr<Tokenizer> tokenizer = Tokenizer::from_metadata(metadata);
    for (const std::string& line : lines) use(*tokenizer, line, false);
  } catch (const outboard::Error&) {
    return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<std::unique_ptr<Tokenizer>> kByteLevel = [] {
    std::vector<std::unique_ptr<Tokenizer>> all;
    for (const char* family : {"gpt-2", "llama-bpe", "tekken", "gpt-4o", "smollm", "falcon",
                               "deepseek-llm", "deepseek-coder", "deepseek-v3", "qwen35"})
      all.push_back(Tokenizer::from_metadata(byte_level(family)));
    return all;
  }();
  static const std::vector<std::unique_ptr<Tokenizer>> kSentencePiece = [] {
    std::vector<std::unique_ptr<Tokenizer>> all;
    for (const char* kind : {"llama", "t5"})
      for (const bool bytes : {true, false})
        all.push_back(Tokenizer::from_metadata(sentencepiece(kind, bytes)));
    return all;
  }();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& tokenizer : kByteLevel) {
    // The begin token, where the family adds one, is not in these vocabularies.
    use(*tokenizer, text, true);
  }
  for (const auto& tokenizer : kSentencePiece) use(*tokenizer, text, false);
  hostile(text);
  return 0;
}
