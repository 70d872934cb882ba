// A small Jinja engine: what chat templates need, with the settings of Hugging Face transformers
// (trim_blocks, lstrip_blocks, loop controls, generation blocks, no autoescape, immutable values).
// Reference: jinja.palletsprojects.com, version 3.1, and the sandbox's limits.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "text/traced_text.h"

namespace outboard::text::jinja {

// Templates come with models and are not trusted: they end in Error when they exceed these.
struct Limits {
  uint64_t steps = 10'000'000;           // expressions and statements evaluated
  uint64_t bytes = uint64_t{256} << 20;  // of all strings made, in sum
  size_t output = size_t{64} << 20;      // bytes
  int recursion = 60;                    // macros and recursive loops inside one another
};

struct Node;
struct Variables;  // value.h

// A parsed template. Immutable; render() may run in many threads.
class Template {
 public:
  // Throws Error with the line when the source can not be parsed.
  explicit Template(std::string_view source);
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  // variables: the names the template sees. Besides them it has range, dict, namespace, joiner,
  // cycler, raise_exception and strftime_now. What strings of the variables become keeps their
  // origin. Throws Error with the line.
  TracedText render_traced(const Variables& variables, const Limits& limits = {}) const;
  // variables: an object; all of it is trusted.
  std::string render(const nlohmann::ordered_json& variables, const Limits& limits = {}) const;

 private:
  std::unique_ptr<Node> root_;
};

}  // namespace outboard::text::jinja
