#include "chat/tools.h"

#include <optional>

#include "chat/loose_value.h"

namespace outboard::chat {
namespace {

using Json = nlohmann::ordered_json;

unsigned kind_of(const Json& value) {
  if (value.is_string()) return kString;
  if (value.is_number()) return kNumber;
  if (value.is_boolean()) return kBoolean;
  if (value.is_null()) return kNull;
  return value.is_array() ? kList : kMap;
}

unsigned kind_named(const Json& type) {
  if (type == "string") return kString;
  if (type == "number" || type == "integer") return kNumber;
  if (type == "boolean") return kBoolean;
  if (type == "null") return kNull;
  if (type == "array") return kList;
  return type == "object" ? kMap : kAnyKind;
}

unsigned allowed(const Json& schema, const Json& root, int depth) {
  if (!schema.is_object() || depth > 20) return kAnyKind;
  unsigned kinds = kAnyKind;
  if (const auto type = schema.find("type"); type != schema.end()) {
    kinds = 0;
    if (type->is_array())
      for (const Json& one : *type) kinds |= kind_named(one);
    else
      kinds = kind_named(*type);
  }
  if (const auto list = schema.find("enum"); list != schema.end() && list->is_array()) {
    unsigned values = 0;
    for (const Json& value : *list) values |= kind_of(value);
    kinds &= values;
  }
  if (const auto value = schema.find("const"); value != schema.end()) kinds &= kind_of(*value);
  for (const char* key : {"anyOf", "oneOf"}) {
    const auto list = schema.find(key);
    if (list == schema.end() || !list->is_array()) continue;
    unsigned some = 0;
    for (const Json& one : *list) some |= allowed(one, root, depth + 1);
    kinds &= some;
  }
  if (const auto list = schema.find("allOf"); list != schema.end() && list->is_array())
    for (const Json& one : *list) kinds &= allowed(one, root, depth + 1);
  if (const auto reference = schema.find("$ref");
      reference != schema.end() && reference->is_string()) {
    const std::string& text = reference->get_ref<const std::string&>();
    if (text.starts_with("#/")) {
      try {
        const Json::json_pointer pointer(text.substr(1));
        if (root.contains(pointer)) kinds &= allowed(root.at(pointer), root, depth + 1);
      } catch (const Json::exception&) {
        // No pointer that anything could be found by: it says nothing of the kind of value.
        return kinds;
      }
    }
  }
  return kinds;
}

}  // namespace

unsigned allowed_kinds(const Json& schema, const Json& root) { return allowed(schema, root, 0); }

const Json* function_of(const Json& entry) {
  if (!entry.is_object()) return nullptr;
  const auto inner = entry.find("function");
  const Json& function = inner != entry.end() ? *inner : entry;
  if (!function.is_object()) return nullptr;
  const auto name = function.find("name");
  return name != function.end() && name->is_string() ? &function : nullptr;
}

const Json* Tools::find(std::string_view name) const {
  if (!tools_.is_array()) return nullptr;
  for (const Json& entry : tools_)
    if (const Json* function = function_of(entry);
        function != nullptr && function->at("name").get_ref<const std::string&>() == name)
      return function;
  return nullptr;
}

Json Tools::value_of(std::string_view function, const std::string& parameter,
                     std::string_view text) const {
  unsigned kinds = kAnyKind;
  if (const Json* found = find(function); found != nullptr && found->contains("parameters")) {
    const Json& schema = found->at("parameters");
    if (schema.is_object() && schema.contains("properties") &&
        schema.at("properties").is_object() && schema.at("properties").contains(parameter))
      kinds = allowed_kinds(schema.at("properties").at(parameter), schema);
  }
  if (kinds == kString) return std::string(text);
  Json value = Json::parse(text, nullptr, false);
  if (!value.is_discarded() && (kind_of(value) & kinds & ~kString) != 0) return value;
  if (kinds == kAnyKind) {
    // A string in JSON's quotes, where anything may stand: the model wrote JSON.
    if (!value.is_discarded()) return value;
    return std::string(text);
  }
  // Some templates write None and 'text' as Python does, and so do their models.
  LooseReader loose(text, "", false);
  if (auto read = loose.value(); read && loose.at_end() && (kind_of(*read) & kinds & ~kString) != 0)
    return std::move(*read);
  return std::string(text);
}

}  // namespace outboard::chat
