#include "formats/json_file.h"

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

#include "formats/file_kind.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::formats {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 30;

// For messages: short whatever the value holds.
std::string shown(const Json& value) {
  if (value.is_object()) return fmt::format("an object of {}", value.size());
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  std::string text = value.dump(-1, ' ', true);
  if (text.size() > 60) text = text.substr(0, 60) + "...";
  return text;
}

[[noreturn]] void wrong(std::string_view key, const Json& value, std::string_view wanted) {
  fail("{}: found {}, expected {}", key, shown(value), wanted);
}

// Python writes Infinity, which JSON does not have: the largest number stands for it.
std::string without_infinity(std::string_view text) {
  constexpr std::string_view kWord = "Infinity";
  std::string out;
  bool quoted = false;
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    if (!quoted && rest.starts_with(kWord) && !out.ends_with('-')) {
      out += fmt::format("{}", std::numeric_limits<double>::max());
      at += kWord.size();
      continue;
    }
    const size_t taken = quoted && rest[0] == '\\' && rest.size() > 1 ? 2 : 1;
    if (rest[0] == '"') quoted = !quoted;
    out += rest.substr(0, taken);
    at += taken;
  }
  return out;
}

}  // namespace

Json read_json(const std::filesystem::path& path) {
  const MappedFile file = map_part(path);
  const std::span<const std::byte> bytes = file.bytes();
  try {
    if (bytes.size() > kMaxFileBytes) {
      fail("found {} bytes, expected at most {}", bytes.size(), kMaxFileBytes);
    }
    const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    try {
      return parse_json(text);
    } catch (const Error&) {
      if (text.find("Infinity") == std::string_view::npos) throw;
      return parse_json(without_infinity(text));
    }
  } catch (Error& error) {
    error.add_context(path.string());
    throw;
  }
}

Json read_json_if_present(const std::filesystem::path& path) {
  return std::filesystem::exists(path) ? read_json(path) : Json::object();
}

const Json* json_field(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto place = object.find(std::string(key));
  return place == object.end() || place->is_null() ? nullptr : &*place;
}

std::optional<int64_t> json_int(const Json& object, std::string_view key) {
  const Json* value = json_field(object, key);
  if (value == nullptr) return std::nullopt;
  const bool fits = value->is_number_integer() &&
                    !(value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX);
  if (!fits) wrong(key, *value, "an integer");
  return value->get<int64_t>();
}

std::optional<double> json_number(const Json& object, std::string_view key) {
  const Json* value = json_field(object, key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) wrong(key, *value, "a number");
  return value->get<double>();
}

std::optional<bool> json_bool(const Json& object, std::string_view key) {
  const Json* value = json_field(object, key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) wrong(key, *value, "true or false");
  return value->get<bool>();
}

std::optional<std::string> json_string(const Json& object, std::string_view key) {
  const Json* value = json_field(object, key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) wrong(key, *value, "a string");
  return value->get<std::string>();
}

}  // namespace outboard::formats
