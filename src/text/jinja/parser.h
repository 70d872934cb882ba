// Template source to its tree. Internal to the Jinja engine.
#pragma once

#include <memory>
#include <string_view>

#include "text/jinja/ast.h"

namespace outboard::text::jinja {

// Throws Error "line N: ...".
std::unique_ptr<Node> parse(std::string_view source);

}  // namespace outboard::text::jinja
