// The metadata of a model's architecture, read so that nothing it asks for goes unheard.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "formats/metadata.h"

namespace outboard::models {

// "llama.block_count" is asked for as "block_count". Every question is remembered, so that
// unheard() can name what the file asks for and nobody took. The metadata must outlive it.
class Keys {
 public:
  explicit Keys(const formats::Metadata& metadata);

  const std::string& architecture() const { return architecture_; }
  std::string full(std::string_view name) const;

  // These throw Error naming the key: when it is absent and there is no fallback, has the wrong
  // type, or is out of range (hostile files hold anything).
  int64_t integer(std::string_view name, int64_t low, int64_t high);
  int64_t integer_or(std::string_view name, int64_t fallback, int64_t low, int64_t high);
  float number(std::string_view name);
  float positive_or(std::string_view name, double fallback);
  float number_or(std::string_view name, double fallback);
  // Of each layer whether it has the sliding window: n of "every nth layer has none", or a list of
  // flags.
  std::vector<bool> sliding_layers(std::string_view name, int64_t fallback, int layers);
  // Of each layer: a list, or one number for all.
  std::vector<int> each_layer(std::string_view name, std::optional<int64_t> fallback, int layers,
                              int64_t low, int64_t high);
  bool flag_or(std::string_view name, bool fallback);
  std::string text_or(std::string_view name, std::string_view fallback);
  bool contains(std::string_view name) const { return metadata_.contains(full(name)); }

  // What the file asks for and nobody asked about, unless it is known to be harmless: "metadata
  // llama.attention.gate", and options that no family implements by their value, with the one that
  // is accepted in brackets: "metadata llama.attention.clamp_kqv = 8 (0)". Keys of the tokenizer
  // are not among them: text/ knows those.
  std::vector<std::string> unheard() const;

 private:
  std::string ask(std::string_view name);

  const formats::Metadata& metadata_;
  std::string architecture_;
  std::set<std::string, std::less<>> asked_;  // without the architecture
};

}  // namespace outboard::models
