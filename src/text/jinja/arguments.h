// Reading the arguments of built-ins. Internal to the Jinja engine.
#pragma once

#include <string>
#include <string_view>

#include "support/error.h"
#include "text/jinja/value.h"

namespace outboard::text::jinja {

inline bool flag_argument(const Arguments& arguments, size_t position, std::string_view name,
                          bool fallback) {
  const Value* value = arguments.find(position, name);
  return value != nullptr ? value->truth() : fallback;
}

inline int64_t int_argument(const Arguments& arguments, size_t position, std::string_view name,
                            int64_t fallback) {
  const Value* value = arguments.find(position, name);
  if (value == nullptr || value->is_none()) return fallback;
  if (!value->is_integral()) fail("argument {} must be int, not {}", name, value->type_name());
  return value->integer();
}

inline std::string text_argument(const Arguments& arguments, size_t position, std::string_view name,
                                 std::string_view fallback) {
  const Value* value = arguments.find(position, name);
  if (value == nullptr) return std::string(fallback);
  if (!value->is_string()) fail("argument {} must be str, not {}", name, value->type_name());
  return value->string();
}

inline TracedText traced_argument(const Arguments& arguments, size_t position,
                                  std::string_view name, std::string_view fallback) {
  const Value* value = arguments.find(position, name);
  if (value == nullptr) return TracedText(std::string(fallback));
  if (!value->is_string()) fail("argument {} must be str, not {}", name, value->type_name());
  return value->text();
}

inline const Value& needed_argument(const Arguments& arguments, size_t position,
                                    std::string_view name) {
  const Value* value = arguments.find(position, name);
  if (value == nullptr) fail("missing argument: {}", name);
  return *value;
}

// The arguments without the first few positional ones.
inline Arguments rest_arguments(const Arguments& arguments, size_t skipped) {
  Arguments rest;
  for (size_t i = skipped; i < arguments.positional.size(); ++i)
    rest.positional.push_back(arguments.positional[i]);
  rest.named = arguments.named;
  return rest;
}

}  // namespace outboard::text::jinja
