#include <fmt/ranges.h>

#include <map>

#include "models/family.h"
#include "models/models.h"
#include "support/error.h"

namespace outboard::models {
namespace {

using Build = program::Program (*)(const formats::Model&);

const std::map<std::string, Build, std::less<>>& registry() {
  static const std::map<std::string, Build, std::less<>> families = {
      {"gemma3", build_gemma3}, {"gpt2", build_gpt2},  {"llama", build_llama},
      {"marian", build_marian}, {"qwen2", build_qwen}, {"qwen3", build_qwen},
      {"qwen3moe", build_qwen},
  };
  return families;
}

}  // namespace

std::vector<std::string> supported_architectures() {
  std::vector<std::string> names;
  for (const auto& [name, build] : registry()) names.push_back(name);
  return names;
}

program::Program build_program(const formats::Model& model) {
  try {
    const std::string& architecture = model.metadata.get_string("general.architecture");
    const auto family = registry().find(architecture);
    if (family == registry().end())
      throw Error(fmt::format("general.architecture: \"{}\" is not supported", architecture),
                  fmt::format("Outboard runs {}.", fmt::join(supported_architectures(), ", ")));
    return family->second(model);
  } catch (Error& e) {
    e.add_context(model.path.string());
    throw;
  }
}

}  // namespace outboard::models
