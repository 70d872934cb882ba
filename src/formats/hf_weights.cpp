#include "formats/hf_weights.h"

#include <memory>

#include "formats/file_kind.h"
#include "formats/safetensors.h"
#include "formats/torch_file.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::formats {
namespace {

namespace fs = std::filesystem;

std::vector<SourceTensor> read_safetensors(std::span<const std::byte> file) {
  std::vector<SourceTensor> tensors;
  for (SafeTensor& tensor : parse_safetensors(file)) {
    tensors.push_back({std::move(tensor.name), std::move(tensor.dtype), tensor.type,
                       std::move(tensor.shape), file.subspan(tensor.offset, tensor.bytes)});
  }
  return tensors;
}

std::vector<SourceTensor> read_torch(std::span<const std::byte> file, Model& model) {
  TorchFile torch = read_torch_file(file);
  for (std::shared_ptr<const void>& owner : torch.owners) model.keep_alive(std::move(owner));
  std::vector<SourceTensor> tensors;
  tensors.reserve(torch.tensors.size());
  for (TorchTensor& tensor : torch.tensors) {
    tensors.push_back({std::move(tensor.name), std::move(tensor.dtype), tensor.type,
                       std::move(tensor.shape), tensor.data});
  }
  return tensors;
}

}  // namespace

std::vector<WeightFile> open_hf_weights(const fs::path& folder, Model& model) {
  const fs::path torch = folder / "pytorch_model.bin";
  const bool safetensors = fs::exists(folder / "model.safetensors") ||
                           fs::exists(folder / "model.safetensors.index.json");
  const bool use_torch = !safetensors && fs::exists(torch);
  std::vector<WeightFile> files;
  for (const fs::path& path :
       use_torch ? std::vector<fs::path>{torch} : safetensors_files(folder)) {
    const auto file = std::make_shared<const MappedFile>(map_part(path));
    model.keep_alive(file);
    try {
      files.push_back(
          {path, use_torch ? read_torch(file->bytes(), model) : read_safetensors(file->bytes())});
    } catch (Error& error) {
      error.add_context(path.string());
      throw;
    }
  }
  return files;
}

}  // namespace outboard::formats
