#include "formats/json_file.h"

#include <algorithm>
#include <string>
#include <unordered_set>
#include <vector>

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

// Builds the tree. nlohmann's own builder looks a key up among those before it, which takes seconds
// for an object as long as a vocabulary; here a set of the open objects' keys finds the one that
// stands twice, and fields are appended.
class TreeBuilder {
 public:
  using number_integer_t = Json::number_integer_t;    // NOLINT: nlohmann's names
  using number_unsigned_t = Json::number_unsigned_t;  // NOLINT
  using number_float_t = Json::number_float_t;        // NOLINT
  using string_t = Json::string_t;                    // NOLINT
  using binary_t = Json::binary_t;                    // NOLINT

  TreeBuilder(std::string_view text, int max_depth) : text_(text), max_depth_(max_depth) {}
  Json take() { return std::move(root_); }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(number_integer_t value) { return add(value); }
  bool number_unsigned(number_unsigned_t value) { return add(value); }
  bool number_float(number_float_t value, const string_t&) { return add(value); }
  bool string(string_t& value) { return add(std::move(value)); }
  bool binary(binary_t&) { fail("JSON: found bytes, expected text"); }
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(string_t& name) {
    if (!open_.back().keys.insert(name).second) {
      fail("JSON: found the key {} twice in one object", shown(Json(name)));
    }
    key_ = std::move(name);
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    std::string_view what = error.what();
    if (const size_t at = what.find("] parse error "); at != std::string_view::npos) {
      what.remove_prefix(at + 2);
    }
    // What other programs write or bear: Python's numbers that are none, comments.
    const std::string_view rest = text_.substr(std::min(position - 1, text_.size()));
    for (const char* name : {"NaN", "Infinity"}) {
      if (rest.starts_with(name)) fail("JSON: {}: {} is no number of JSON's", place_of(what), name);
    }
    if (rest.starts_with("/") || rest.starts_with("#")) {
      fail("JSON: {}: comments are not allowed in JSON", place_of(what));
    }
    fail("JSON: {}", what);
  }

 private:
  // "parse error at line 1, column 2" of an error's text.
  static std::string_view place_of(std::string_view what) { return what.substr(0, what.find(':')); }

  struct Open {
    Json* value;
    std::unordered_set<std::string> keys;  // of an object
  };

  Json* place(Json value) {
    if (static_cast<int>(open_.size()) > max_depth_) {
      fail("JSON: found nesting deeper than {}", max_depth_);
    }
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back().value;
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    auto& fields = parent.get_ref<Json::object_t&>();
    // A vector's member: ordered_map's own looks the key up.
    static_cast<Json::object_t::Container&>(fields).emplace_back(std::move(key_), std::move(value));
    return &fields.back().second;
  }
  template <typename T>
  bool add(T&& value) {
    place(Json(std::forward<T>(value)));
    return true;
  }
  bool open(Json value) {
    open_.push_back({place(std::move(value)), {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  int max_depth_;
  Json root_;
  std::vector<Open> open_;
  std::string key_;
};

}  // namespace

Json parse_json(std::string_view text, int max_depth) {
  TreeBuilder builder(text, max_depth);
  Json::sax_parse(text, &builder);
  return builder.take();
}

Json read_json(const std::filesystem::path& path) {
  const MappedFile file = map_part(path);
  const std::span<const std::byte> bytes = file.bytes();
  try {
    if (bytes.size() > kMaxFileBytes) {
      fail("found {} bytes, expected at most {}", bytes.size(), kMaxFileBytes);
    }
    return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
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
