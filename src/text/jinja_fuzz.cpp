// libFuzzer: any template either renders or ends in Error, in bounded time and memory.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "support/error.h"
#include "text/jinja/jinja.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const nlohmann::ordered_json kVariables = nlohmann::ordered_json::parse(R"({
    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Größe 你"},
                 {"role": "assistant", "content": null, "tool_calls": [{"x": [1, 2.5, true]}]}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true, "n": 3})");
  outboard::text::jinja::Limits limits;
  limits.steps = 200'000;
  limits.bytes = 4 << 20;
  limits.output = 1 << 20;
  try {
    const outboard::text::jinja::Template source(
        std::string_view(reinterpret_cast<const char*>(data), size));
    source.render(kVariables, limits);
  } catch (const outboard::Error&) {
    return 0;
  }
  return 0;
}
