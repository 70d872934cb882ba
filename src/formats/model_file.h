// A model on disk, whatever its format: metadata and tensors by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "formats/metadata.h"
#include "formats/tensor_type.h"

namespace outboard::formats {

struct HfFamily;  // hf_family.h

struct Tensor {
  std::string name;  // GGUF's names: "blk.0.attn_q.weight"
  TensorType type = TensorType::F32;
  // Row-major, outermost dimension first (the reverse of GGUF's `ne`): a linear layer's weight is
  // [outputs, inputs]. Blocks run along the last dimension.
  std::vector<int64_t> shape;
  std::span<const std::byte> data;  // storage_bytes(type, elements()) bytes, owned by the Model

  int64_t elements() const;
  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const { return columns() == 0 ? 0 : elements() / columns(); }
};

// Metadata and tensors, and whatever keeps their bytes alive (mapped files, converted buffers).
// Movable. Reading is thread-safe.
class Model {
 public:
  Metadata metadata;

  // Throws Error when the name is taken.
  void add(Tensor tensor);
  void keep_alive(std::shared_ptr<const void> owner) { owners_.push_back(std::move(owner)); }

  const std::vector<Tensor>& tensors() const { return tensors_; }
  const Tensor* find(std::string_view name) const;  // null when absent
  const Tensor& get(std::string_view name) const;   // throws Error when absent
  size_t tensor_bytes() const;                      // sum over all tensors

  // What the file is called in messages.
  std::filesystem::path path;

  // What the file asks for that its reader neither does nor knows to be harmless, one a line, as
  // "config.json: attention_sinks = 4". Whoever runs or converts the model refuses then, unless the
  // person said that it may be ignored.
  std::vector<std::string> unknown;
  // What the file leaves open or says against itself, and how it was taken: a sentence each, for
  // the person to read.
  std::vector<std::string> notes;

 private:
  std::vector<Tensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::vector<std::shared_ptr<const void>> owners_;
};

// Throws one Error that names all of them; nothing for an empty list. The hint tells of the option
// --ignore-unknown, which commands that load a model have.
void refuse_unknown(const std::filesystem::path& path, std::span<const std::string> unknown);

// Opens a GGUF file (of a split set: any part, all are opened), a model folder, or a ZIP archive of
// one. Tensors are mapped where the file allows it, not read. Every length and offset is checked
// before use. Throws Error naming file, field and what was expected.
//
// Folders: Hugging Face's, of `families` or of Marian, with config.json and safetensors or
// pytorch_model.bin, and Marian's own (marian.h). models::open_model() knows all families;
// `families` must outlive the call only. A folder gives the same metadata keys and tensor names as
// a GGUF file of that model, its tokenizer included, except that q and k rows of llama and granite
// keep the folder's order (key "outboard.rope.neox"), and granite's experts gate and up in one.
Model open_model(const std::filesystem::path& path, std::span<const HfFamily> families);

}  // namespace outboard::formats
