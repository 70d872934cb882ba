// A Hugging Face config.json as GGUF metadata. Internal to formats; use open_model().
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "formats/hf_family.h"
#include "formats/json_file.h"
#include "formats/model_file.h"

namespace outboard::formats {

struct HfConfig {
  const HfFamily* family = nullptr;
  Json config;  // of the text model (text_config of one that also sees)
  bool tied_embeddings = false;
  int64_t vocabulary = 0;
  std::vector<HfConfigTensor> tensors;  // HfConfigWriter's
  std::vector<HfFactors> factors;       // likewise
};

// Reads config.json and sets the model's keys (all but tokenizer.*). Keys and values are those of
// llama.cpp's converter (conversion/base.py and the families' files). Fields that are neither used
// nor harmless are added to the model's `unknown`. Throws Error for a family that is not among
// `families` (the hint lists them) and for fields that are missing or of the wrong type.
HfConfig read_hf_config(const std::filesystem::path& folder, std::span<const HfFamily> families,
                        Model& model);

}  // namespace outboard::formats
