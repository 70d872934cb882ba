// The tools of a request, as OpenAI's protocol lists them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace outboard::chat {

// Kinds of JSON values, as bits.
enum ValueKind : unsigned {
  kString = 1,
  kNumber = 2,
  kBoolean = 4,
  kNull = 8,
  kList = 16,
  kMap = 32,
  kAnyKind = 63
};
// What a schema allows, as far as its outermost words say; `root` is where its references begin.
unsigned allowed_kinds(const nlohmann::ordered_json& schema, const nlohmann::ordered_json& root);

class Tools {
 public:
  // [{"type": "function", "function": {"name":, "parameters": schema}}], or the functions
  // themselves. What is no such list holds no tools.
  explicit Tools(nlohmann::ordered_json tools) : tools_(std::move(tools)) {}

  bool empty() const { return !tools_.is_array() || tools_.empty(); }
  bool has(std::string_view name) const { return find(name) != nullptr; }
  // The value that `text`, written between tags, stands for: the text itself where the schema of
  // this parameter allows only strings, or nothing else that the text could be.
  nlohmann::ordered_json value_of(std::string_view function, const std::string& parameter,
                                  std::string_view text) const;

 private:
  const nlohmann::ordered_json* find(std::string_view name) const;

  nlohmann::ordered_json tools_;
};

// The "function" of an entry, or the entry itself where it is one; null where it is neither.
const nlohmann::ordered_json* function_of(const nlohmann::ordered_json& entry);

}  // namespace outboard::chat
