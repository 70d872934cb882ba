#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "models/family.h"
#include "models/models.h"
#include "support/error.h"

namespace outboard::models {
namespace {

constexpr const Family* kFamilies[] = {
#define OUTBOARD_FAMILY(name) &families::name,
#include "models/families.def"
#undef OUTBOARD_FAMILY
};

const Family* find_family(std::string_view architecture) {
  for (const Family* family : kFamilies)
    if (std::ranges::find(family->architectures, architecture) != family->architectures.end())
      return family;
  return nullptr;
}

// Tensors that change no text: what older converters wrote down besides the weights, and the parts
// of models that also see.
bool is_harmless(std::string_view name) {
  return name.starts_with("v.") || name.starts_with("mm.") || name.ends_with(".attn_rot_embd") ||
         name.ends_with(".attn_rot_embd.weight") || name.ends_with(".rotary_emb.inv_freq");
}

// Of the last layers, which predict tokens further on (DeepSeek V3's multi-token prediction): texts
// come out without.
bool predicts_further(const formats::Model& model, std::string_view name) {
  if (!name.starts_with("blk.")) return false;
  const std::string architecture = model.metadata.get_string("general.architecture");
  const int64_t more = model.metadata.get_int(architecture + ".nextn_predict_layers", 0);
  int64_t layer = 0;
  std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return more > 0 && layer >= model.metadata.get_int(architecture + ".block_count", 0) - more;
}

// "blk.N.x" of "blk.3.x": one line tells of all layers.
std::string without_layer(std::string_view name) {
  const size_t at = name.find("blk.");
  if (at == std::string_view::npos) return std::string(name);
  const size_t begin = at + 4;
  const size_t end = std::min(name.find_first_not_of("0123456789", begin), name.size());
  return fmt::format("{}N{}", name.substr(0, begin), name.substr(end));
}

std::vector<std::string> unused_tensors(const formats::Model& model,
                                        const program::Program& program) {
  std::set<std::string_view> used;
  for (const program::Weight& weight : program.weights) used.insert(weight.name);
  std::map<std::string, std::vector<std::string_view>> left;
  for (const formats::Tensor& tensor : model.tensors())
    if (!used.contains(tensor.name) && tensor.elements() > 0 && !is_harmless(tensor.name) &&
        !predicts_further(model, tensor.name))
      left[without_layer(tensor.name)].push_back(tensor.name);
  std::vector<std::string> lines;
  for (const auto& [name, tensors] : left)
    lines.push_back(tensors.size() == 1
                        ? fmt::format("tensor {}", tensors.front())
                        : fmt::format("tensor {} ({} layers)", name, tensors.size()));
  return lines;
}

}  // namespace

std::vector<std::string> supported_architectures() {
  std::vector<std::string> names;
  for (const Family* family : kFamilies)
    names.insert(names.end(), family->architectures.begin(), family->architectures.end());
  std::ranges::sort(names);
  return names;
}

formats::Model open_model(const std::filesystem::path& path) {
  std::vector<formats::HfFamily> folders;
  for (const Family* family : kFamilies)
    folders.insert(folders.end(), family->folders.begin(), family->folders.end());
  return formats::open_model(path, folders);
}

program::Program build_program(const formats::Model& model, std::vector<std::string>* unheard) {
  try {
    const std::string kind = model.metadata.get_string("general.type", "model");
    if (kind != "model")
      throw Error(fmt::format("general.type: \"{}\", expected \"model\"", kind),
                  "Adapters, projectors and the like are no models of their own: get the model, "
                  "with the adapter merged if you need it.");
    const std::string& architecture = model.metadata.get_string("general.architecture");
    const Family* family = find_family(architecture);
    if (family == nullptr)
      throw Error(fmt::format("general.architecture: \"{}\" is not supported", architecture),
                  fmt::format("Outboard runs {}.", fmt::join(supported_architectures(), ", ")));
    Keys keys(model.metadata);
    program::Program program = family->build(model, keys);
    if (unheard != nullptr) {
      for (std::string& line : unused_tensors(model, program)) unheard->push_back(std::move(line));
      for (std::string& line : keys.unheard()) unheard->push_back(std::move(line));
    }
    return program;
  } catch (Error& e) {
    e.add_context(model.path.string());
    throw;
  }
}

}  // namespace outboard::models
