#include "cli/model_output.h"

#include <fmt/ranges.h>

#include <filesystem>
#include <vector>

#include "support/error.h"

namespace outboard::cli {

formats::Mix mix_of(std::string_view command, const std::string& type) {
  if (const std::optional<formats::Mix> mix = formats::mix_by_name(type)) return *mix;
  std::vector<std::string_view> names;
  for (const formats::MixInfo& info : formats::mixes()) names.push_back(info.name);
  throw Error(fmt::format("{}: type \"{}\" is not known", command, type),
              fmt::format("The types are {}.", fmt::join(names, ", ")));
}

void check_output(const std::string& path, bool force) {
  if (std::filesystem::exists(path) && !force)
    throw Error(fmt::format("{} exists", path), "Choose another name, or replace it with --force.");
}

std::string types_help() {
  std::string types;
  for (const formats::MixInfo& info : formats::mixes())
    types += fmt::format("  {:<7} {}\n", info.name, info.description);
  return types;
}

}  // namespace outboard::cli
