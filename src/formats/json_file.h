// JSON files, read with messages that name the field.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "support/json.h"

namespace outboard::formats {

using Json = nlohmann::ordered_json;  // keys in the file's order

// parse_json() of a file of at most 1 GiB; messages name it. Infinity, which Python writes, is
// the largest number.
Json read_json(const std::filesystem::path& path);
// An empty object when there is no such file.
Json read_json_if_present(const std::filesystem::path& path);

// A field of an object; nullptr when absent or null, or when `object` is no object.
const Json* json_field(const Json& object, std::string_view key);
// Typed reads. Throw Error "KEY: found ..., expected ..." when the field has another type; the
// forms that give an optional take an absent or null field for nothing.
std::optional<int64_t> json_int(const Json& object, std::string_view key);
std::optional<double> json_number(const Json& object, std::string_view key);
std::optional<bool> json_bool(const Json& object, std::string_view key);
std::optional<std::string> json_string(const Json& object, std::string_view key);

}  // namespace outboard::formats
