// pytorch_model.bin: a state_dict as torch.save() writes it.
//
// Since PyTorch 1.6 a ZIP archive: NAME/data.pkl, and a member NAME/data/KEY for each storage.
// Before (many opus-mt models): five pickles one after the other (a magic number, the protocol, the
// machine, the state_dict, the list of storages' keys), then for each key an i64 count and the
// elements. Source: torch/serialization.py.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "formats/tensor_type.h"

namespace outboard::formats {

struct TorchTensor {
  std::string name;
  std::string dtype;                // "float32"
  std::optional<TensorType> type;   // nothing for types that GGML lacks (uint8, bool)
  std::vector<int64_t> shape;       // outermost first; sizes may be 0
  std::span<const std::byte> data;  // row-major, without gaps
};

struct TorchFile {
  std::vector<TorchTensor> tensors;  // in the state_dict's order
  // What holds their bytes, beside the file itself.
  std::vector<std::shared_ptr<const void>> owners;
};

// Reads a whole file from memory, which must outlive the result. The pickle is read by Pickle:
// tensors only, nothing is run. Checked: every offset, stride and length against the storage; that
// no two tensors have one name. Tensors with gaps or in another order (views, transposed ones) are
// copied into row-major order. Throws Error naming the tensor; the caller adds the file's name.
TorchFile read_torch_file(std::span<const std::byte> file);

}  // namespace outboard::formats
