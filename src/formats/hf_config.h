// A Hugging Face config.json as GGUF metadata. Internal to formats; use open_model().
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "formats/json_file.h"
#include "formats/model_file.h"

namespace outboard::formats {

// The families that differ in names of tensors or in their treatment.
enum class HfFamily { kLlama, kQwen, kGemma3, kGpt2 };

struct HfConfig {
  HfFamily family = HfFamily::kLlama;
  std::string model_type;    // the file's
  std::string architecture;  // GGUF's general.architecture
  Json config;               // of the text model (text_config of one that also sees)
  bool tied_embeddings = false;
  int64_t layers = 0;
  int64_t vocabulary = 0;
  // What llama.cpp's converter stores as rope_freqs.weight (Llama 3.1's scaling); empty without.
  std::vector<float> rope_factors;
};

// Reads config.json and sets the model's keys (all but tokenizer.*). Keys and values are those of
// llama.cpp's converter (conversion/base.py and the families' files). Fields that are neither used
// nor harmless are added to the model's `unknown`. Throws Error for a family that is not supported
// (the hint lists them) and for fields that are missing or of the wrong type.
HfConfig read_hf_config(const std::filesystem::path& folder, Model& model);

}  // namespace outboard::formats
