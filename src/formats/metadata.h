// A model's key-value metadata, with GGUF's keys and types whatever file it came from.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace outboard::formats {

struct MetadataArray;

// GGUF's value types. A GGUF u8 stays a u8: writers keep what readers found.
using MetadataValue = std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float,
                                   bool, std::string, uint64_t, int64_t, double, MetadataArray>;

// One element type an array; nested arrays are std::vector<MetadataArray>.
struct MetadataArray {
  std::variant<std::vector<uint8_t>, std::vector<int8_t>, std::vector<uint16_t>,
               std::vector<int16_t>, std::vector<uint32_t>, std::vector<int32_t>,
               std::vector<float>, std::vector<bool>, std::vector<std::string>,
               std::vector<uint64_t>, std::vector<int64_t>, std::vector<double>,
               std::vector<MetadataArray>>
      values;

  size_t size() const;
};

// Keys in the order of the file. The getters convert between number types when the value fits and
// throw Error naming the key, the type found and the type wanted when it does not; get_* without a
// fallback also throw when the key is absent. Not thread-safe to change, safe to read.
class Metadata {
 public:
  using Entry = std::pair<std::string, MetadataValue>;

  void set(std::string key, MetadataValue value);  // replaces an equal key
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  const MetadataValue* find(std::string_view key) const;

  int64_t get_int(std::string_view key) const;
  int64_t get_int(std::string_view key, int64_t fallback) const;
  double get_float(std::string_view key) const;  // also from an integer
  double get_float(std::string_view key, double fallback) const;
  bool get_bool(std::string_view key, bool fallback) const;
  const std::string& get_string(std::string_view key) const;
  std::string get_string(std::string_view key, std::string_view fallback) const;
  // Arrays, converted element by element. An absent key gives an empty vector from the _or_empty
  // forms and throws from the others.
  std::vector<int64_t> get_ints(std::string_view key) const;
  std::vector<int64_t> get_ints_or_empty(std::string_view key) const;
  std::vector<float> get_floats_or_empty(std::string_view key) const;
  // Without a copy; string arrays are long (vocabularies).
  const std::vector<std::string>& get_strings(std::string_view key) const;

  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
  std::map<std::string, size_t, std::less<>> index_;
};

}  // namespace outboard::formats
