#include "formats/hf_folder.h"

#include "formats/hf_config.h"
#include "formats/hf_tensors.h"
#include "formats/hf_tokenizer.h"
#include "support/error.h"

namespace outboard::formats {

Model open_hf_folder(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "config.json")) {
    throw Error(fmt::format("{}: found no config.json", folder.string()),
                "A model folder holds config.json, tokenizer.json and *.safetensors; "
                "for a GGUF model name the file.");
  }
  Model model;
  model.path = folder;
  const HfConfig config = read_hf_config(folder, model.metadata);
  const int64_t tokens = read_hf_tokenizer(folder, config, model.metadata);
  add_hf_tensors(model, folder, config, tokens);
  return model;
}

}  // namespace outboard::formats
