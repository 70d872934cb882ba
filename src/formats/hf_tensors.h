// A Hugging Face folder's tensors under GGUF's names. Internal to formats; use open_model().
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "formats/hf_config.h"
#include "formats/model_file.h"

namespace outboard::formats {

struct GgufName {
  std::string name;
  std::optional<size_t> part;  // which row of that tensor, where it is one of several
};

// The GGUF name of a folder's tensor. Nothing for tensors that a text model does not need: masks,
// rotary tables, vision towers. Throws Error for a name that no model of the family has.
std::optional<GgufName> gguf_tensor_name(const HfFamily& family, std::string_view name);

// Opens the folder's weights and adds their tensors: matrices as stored, or transposed or cut into
// halves, vectors as float32 or as rows of one matrix, norms plus 1 and the embedding cut to
// `tokens` rows where the family's table says so; an output matrix equal to the embedding by config
// is left out; the factors of rotation that the config has are added. Throws Error naming file and
// tensor.
void add_hf_tensors(Model& model, const std::filesystem::path& folder, const HfConfig& config,
                    int64_t tokens);

}  // namespace outboard::formats
