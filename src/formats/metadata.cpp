#include "formats/metadata.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "support/error.h"

namespace outboard::formats {
namespace {

template <typename T>
constexpr bool kIsInteger = std::is_integral_v<T> && !std::is_same_v<T, bool>;

template <typename T>
constexpr const char* type_name() {
  if constexpr (std::is_same_v<T, uint8_t>) return "u8";
  if constexpr (std::is_same_v<T, int8_t>) return "i8";
  if constexpr (std::is_same_v<T, uint16_t>) return "u16";
  if constexpr (std::is_same_v<T, int16_t>) return "i16";
  if constexpr (std::is_same_v<T, uint32_t>) return "u32";
  if constexpr (std::is_same_v<T, int32_t>) return "i32";
  if constexpr (std::is_same_v<T, float>) return "f32";
  if constexpr (std::is_same_v<T, bool>) return "bool";
  if constexpr (std::is_same_v<T, std::string>) return "string";
  if constexpr (std::is_same_v<T, uint64_t>) return "u64";
  if constexpr (std::is_same_v<T, int64_t>) return "i64";
  if constexpr (std::is_same_v<T, double>) return "f64";
  return "array";
}

std::string describe(const MetadataValue& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, MetadataArray>) {
          return std::visit(
              [](const auto& values) {
                using Element = typename std::decay_t<decltype(values)>::value_type;
                return fmt::format("array of {} {}", values.size(), type_name<Element>());
              },
              held.values);
        } else if constexpr (std::is_same_v<T, std::string>) {
          return "string";
        } else {
          return fmt::format("{} {}", type_name<T>(), held);
        }
      },
      value);
}

[[noreturn]] void wrong_type(std::string_view key, const MetadataValue& value,
                             std::string_view wanted) {
  fail("metadata {}: found {}, expected {}", key, describe(value), wanted);
}

[[noreturn]] void missing(std::string_view key, std::string_view wanted) {
  fail("metadata {}: the key is missing, expected {}", key, wanted);
}

template <typename T>
std::optional<int64_t> as_int(T value) {
  if constexpr (kIsInteger<T>) {
    if (std::is_unsigned_v<T> &&
        static_cast<uint64_t>(value) > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return std::nullopt;
    }
    return static_cast<int64_t>(value);
  } else if constexpr (std::is_floating_point_v<T>) {
    // 2^63 is exact in both float types; NaN fails both comparisons.
    if (!(value >= T(-9223372036854775808.0) && value < T(9223372036854775808.0))) {
      return std::nullopt;
    }
    if (std::trunc(value) != value) return std::nullopt;
    return static_cast<int64_t>(value);
  } else {
    return std::nullopt;
  }
}

constexpr const char* kInteger = "an integer that fits 64 bits";
constexpr const char* kNumber = "a number";

int64_t to_int(std::string_view key, const MetadataValue& value) {
  const auto number = std::visit(
      [](const auto& held) { return as_int<std::decay_t<decltype(held)>>(held); }, value);
  if (!number) wrong_type(key, value, kInteger);
  return *number;
}

double to_double(std::string_view key, const MetadataValue& value) {
  return std::visit(
      [&](const auto& held) -> double {
        using T = std::decay_t<decltype(held)>;
        if constexpr (kIsInteger<T> || std::is_floating_point_v<T>) {
          return static_cast<double>(held);
        } else {
          wrong_type(key, value, kNumber);
        }
      },
      value);
}

const MetadataArray& to_array(std::string_view key, const MetadataValue& value,
                              std::string_view wanted) {
  const auto* array = std::get_if<MetadataArray>(&value);
  if (array == nullptr) wrong_type(key, value, wanted);
  return *array;
}

}  // namespace

size_t MetadataArray::size() const {
  return std::visit([](const auto& held) { return held.size(); }, values);
}

void Metadata::set(std::string key, MetadataValue value) {
  const auto [place, added] = index_.try_emplace(key, entries_.size());
  if (added) {
    entries_.emplace_back(std::move(key), std::move(value));
  } else {
    entries_[place->second].second = std::move(value);
  }
}

const MetadataValue* Metadata::find(std::string_view key) const {
  const auto place = index_.find(key);
  return place == index_.end() ? nullptr : &entries_[place->second].second;
}

int64_t Metadata::get_int(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) missing(key, "an integer");
  return to_int(key, *value);
}

int64_t Metadata::get_int(std::string_view key, int64_t fallback) const {
  const MetadataValue* value = find(key);
  return value == nullptr ? fallback : to_int(key, *value);
}

double Metadata::get_float(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) missing(key, kNumber);
  return to_double(key, *value);
}

double Metadata::get_float(std::string_view key, double fallback) const {
  const MetadataValue* value = find(key);
  return value == nullptr ? fallback : to_double(key, *value);
}

bool Metadata::get_bool(std::string_view key, bool fallback) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return fallback;
  if (const bool* held = std::get_if<bool>(value)) return *held;
  const auto number = std::visit(
      [](const auto& held) { return as_int<std::decay_t<decltype(held)>>(held); }, *value);
  if (!number || (*number != 0 && *number != 1)) wrong_type(key, *value, "true or false");
  return *number == 1;
}

const std::string& Metadata::get_string(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) missing(key, "a string");
  const auto* held = std::get_if<std::string>(value);
  if (held == nullptr) wrong_type(key, *value, "a string");
  return *held;
}

std::string Metadata::get_string(std::string_view key, std::string_view fallback) const {
  return contains(key) ? get_string(key) : std::string(fallback);
}

std::vector<int64_t> Metadata::get_ints(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) missing(key, "an array of integers");
  const MetadataArray& array = to_array(key, *value, "an array of integers");
  return std::visit(
      [&](const auto& held) {
        using Element = typename std::decay_t<decltype(held)>::value_type;
        std::vector<int64_t> numbers;
        numbers.reserve(held.size());
        for (size_t i = 0; i < held.size(); ++i) {
          if constexpr (std::is_same_v<Element, bool>) {
            numbers.push_back(held[i] ? 1 : 0);  // Gemma's per-layer patterns are bools
          } else if constexpr (std::is_arithmetic_v<Element>) {
            const auto number = as_int<Element>(held[i]);
            if (!number)
              fail("metadata {}: element {} is {}, expected {}", key, i, held[i], kInteger);
            numbers.push_back(*number);
          } else {
            wrong_type(key, *value, "an array of integers");
          }
        }
        return numbers;
      },
      array.values);
}

std::vector<int64_t> Metadata::get_ints_or_empty(std::string_view key) const {
  return contains(key) ? get_ints(key) : std::vector<int64_t>{};
}

std::vector<float> Metadata::get_floats_or_empty(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) return {};
  const MetadataArray& array = to_array(key, *value, "an array of numbers");
  return std::visit(
      [&](const auto& held) {
        using Element = typename std::decay_t<decltype(held)>::value_type;
        std::vector<float> numbers;
        if constexpr (std::is_arithmetic_v<Element> && !std::is_same_v<Element, bool>) {
          numbers.reserve(held.size());
          for (const Element number : held) numbers.push_back(static_cast<float>(number));
        } else {
          wrong_type(key, *value, "an array of numbers");
        }
        return numbers;
      },
      array.values);
}

const std::vector<std::string>& Metadata::get_strings(std::string_view key) const {
  const MetadataValue* value = find(key);
  if (value == nullptr) missing(key, "an array of strings");
  const MetadataArray& array = to_array(key, *value, "an array of strings");
  const auto* held = std::get_if<std::vector<std::string>>(&array.values);
  if (held == nullptr) wrong_type(key, *value, "an array of strings");
  return *held;
}

}  // namespace outboard::formats
