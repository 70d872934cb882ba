// The weights of a Hugging Face folder, whatever file they lie in. Internal to formats.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "formats/model_file.h"

namespace outboard::formats {

struct SourceTensor {
  std::string name;                 // the file's
  std::string dtype;                // as the file has it, for messages
  std::optional<TensorType> type;   // nothing for types that GGML lacks
  std::vector<int64_t> shape;       // outermost first; sizes may be 0
  std::span<const std::byte> data;  // row-major; kept alive by the model
};

struct WeightFile {
  std::filesystem::path path;
  std::vector<SourceTensor> tensors;
};

// model.safetensors, or the parts that model.safetensors.index.json names, else pytorch_model.bin.
// The model keeps their bytes alive. Throws Error naming the file.
std::vector<WeightFile> open_hf_weights(const std::filesystem::path& folder, Model& model);

}  // namespace outboard::formats
