#include "formats/hf_folder.h"

#include "formats/hf_config.h"
#include "formats/hf_tensors.h"
#include "formats/hf_tokenizer.h"
#include "formats/json_file.h"
#include "formats/marian.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

// What read() returns; its errors name the folder.
template <typename Read>
Model read_named(const std::filesystem::path& folder, Read read) {
  try {
    return read();
  } catch (Error& error) {
    if (error.message().find(folder.string()) == std::string::npos)
      error.add_context(folder.string());
    throw;
  }
}

}  // namespace

Model open_hf_folder(const std::filesystem::path& folder, std::span<const HfFamily> families) {
  const std::filesystem::path config_path = folder / "config.json";
  if (!std::filesystem::exists(config_path)) {
    if (is_marian_npz(folder)) return read_named(folder, [&] { return open_marian_npz(folder); });
    throw Error(
        fmt::format("{}: found neither config.json nor decoder.yml", folder.string()),
        "A model folder holds config.json, a tokenizer and weights, or decoder.yml and what "
        "it names; for a GGUF model name the file.");
  }
  const Json json = read_json(config_path);
  if (const Json* type = json_field(json, "model_type"); type != nullptr && *type == "marian") {
    return read_named(folder, [&] { return open_marian_hf(folder, json); });
  }
  Model model;
  model.path = folder;
  const HfConfig config = read_hf_config(folder, families, model);
  const int64_t tokens = read_hf_tokenizer(folder, config, model);
  add_hf_tensors(model, folder, config, tokens);
  return model;
}

}  // namespace outboard::formats
