// YAML from outside (Marian's options and vocabularies), parsed by yaml-cpp with limits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace outboard::formats {

struct YamlField;

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };
  Kind kind = Kind::kNull;
  std::string scalar;  // YAML's text; what it means is up to the reader: "1", "true", "swish"
  std::vector<YamlNode> items;    // of a sequence
  std::vector<YamlField> fields;  // of a map, in the file's order

  const YamlNode* find(std::string_view key) const;  // of a map; null when absent
};

struct YamlField {
  std::string key;
  YamlNode value;
};

// Parses one document of at most 256 MiB. Throws Error, with line and column, for bad syntax, a key
// that stands twice in one map or is no scalar, aliases, or nesting deeper than 32.
YamlNode parse_yaml(std::string_view text);

// Typed reads of a map's field; nothing when it is absent or null. Throw Error "KEY: found ...,
// expected ...".
std::optional<int64_t> yaml_int(const YamlNode& map, std::string_view key);
std::optional<double> yaml_number(const YamlNode& map, std::string_view key);
std::optional<bool> yaml_bool(const YamlNode& map, std::string_view key);
std::optional<std::string> yaml_string(const YamlNode& map, std::string_view key);

// A Marian vocabulary: a map of tokens to ids, or a sequence of tokens. Gives the tokens by id.
// Throws Error unless the ids are 0, 1, 2, ... each once, in any order.
std::vector<std::string> parse_yaml_vocabulary(std::string_view text);

}  // namespace outboard::formats
