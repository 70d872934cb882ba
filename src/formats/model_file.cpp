#include "formats/model_file.h"

#include <fmt/ranges.h>

#include "formats/file_kind.h"
#include "formats/gguf.h"
#include "formats/hf_family.h"
#include "formats/hf_folder.h"
#include "formats/zip_archive.h"
#include "formats/zip_folder.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::formats {

int64_t Tensor::elements() const {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

void Model::add(Tensor tensor) {
  if (!index_.try_emplace(tensor.name, tensors_.size()).second) {
    fail("tensor {}: found the name twice, expected it once", tensor.name);
  }
  tensors_.push_back(std::move(tensor));
}

const Tensor* Model::find(std::string_view name) const {
  const auto place = index_.find(std::string(name));
  return place == index_.end() ? nullptr : &tensors_[place->second];
}

const Tensor& Model::get(std::string_view name) const {
  const Tensor* tensor = find(name);
  if (tensor == nullptr) {
    fail("{}: tensor {}: it is missing, expected it among the {} tensors", path.string(), name,
         tensors_.size());
  }
  return *tensor;
}

size_t Model::tensor_bytes() const {
  size_t sum = 0;
  for (const Tensor& tensor : tensors_) sum += tensor.data.size();
  return sum;
}

void refuse_unknown(const std::filesystem::path& path, std::span<const std::string> unknown) {
  if (unknown.empty()) return;
  throw Error(
      fmt::format("{}: the model asks for what Outboard does not know: {}", path.string(),
                  fmt::join(unknown, "; ")),
      "Without it the answers would be wrong in ways that are hard to see. A newer Outboard "
      "may know it; --ignore-unknown goes on without it.");
}

Model open_model(const std::filesystem::path& path, std::span<const HfFamily> families) {
  if (std::filesystem::is_directory(path)) return open_hf_folder(path, families);
  {
    const MappedFile file(path);
    if (is_zip(file.bytes())) return open_zipped_folder(path, families);
    if (!looks_like_gguf(file.bytes())) throw not_a_model(path, file.bytes());
  }
  return open_gguf(path);
}

}  // namespace outboard::formats
