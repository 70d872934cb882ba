// What errors mean: from an error's text to a name, an explanation, and what to do.
#pragma once

#include <string>
#include <string_view>

#include "support/error.h"

namespace outboard::doctor {

struct Diagnosis {
  std::string_view name;     // stable, for scripts: "psp.boot-loader"
  std::string_view meaning;  // a sentence
  std::string_view todo;     // a sentence; empty: the error's own hint says it
};

// The first that fits; "unknown" when none does.
const Diagnosis& diagnose(const Error& error);
// By name, for findings that are no error. REQUIRES: there is one of that name.
const Diagnosis& diagnosis(std::string_view name);

}  // namespace outboard::doctor
