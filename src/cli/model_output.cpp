#include "cli/model_output.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <vector>

#include "cli/options.h"
#include "support/error.h"
#include "support/files_in_use.h"
#include "support/output_file.h"

namespace outboard::cli {

formats::Mix mix_of(std::string_view command, const std::string& type) {
  if (const std::optional<formats::Mix> mix = formats::mix_by_name(type)) return *mix;
  std::vector<std::string_view> names;
  for (const formats::MixInfo& info : formats::mixes()) names.push_back(info.name);
  throw Error(fmt::format("{}: type \"{}\" is not known", command, type),
              fmt::format("The types are {}.", fmt::join(names, ", ")));
}

void check_output(const std::string& path, bool force) {
  const OutputPlace place = output_place(path);
  if (place.kind == OutputPlace::Kind::kFile && !force)
    throw Error(fmt::format("{} exists", path), "Choose another name, or replace it with --force.");
  if (place.kind == OutputPlace::Kind::kBlocks && !force)
    throw Error(fmt::format("{} is a disk, and what is on it would be written over", path),
                "Choose another name, or write to it with --force.");
  claim_output(path, "OUT");
}

void stop_if_interrupted(std::string_view command) {
  if (InterruptGuard::flag())
    throw Interrupted(fmt::format("{}: stopped by Ctrl-C", command), "Nothing was written.");
}

std::string type_of_model(const formats::Model& model) {
  const int64_t type = model.metadata.get_int("general.file_type", -1);
  for (const formats::MixInfo& info : formats::mixes())
    if (static_cast<int64_t>(info.mix) == type) return std::string(info.name);
  std::map<std::string_view, size_t> bytes;
  for (const formats::Tensor& tensor : model.tensors())
    bytes[formats::type_info(tensor.type).name] += tensor.data.size();
  const auto most = std::ranges::max_element(bytes, {}, [](const auto& b) { return b.second; });
  return most == bytes.end() ? "" : std::string(most->first);
}

std::string types_help() {
  std::string types;
  for (const formats::MixInfo& info : formats::mixes())
    types += fmt::format("  {:<9} {}\n", info.name, info.description);
  return types;
}

}  // namespace outboard::cli
