// safetensors: tensors in one file, found by a JSON header.
//
// Layout (little-endian): u64 header length, the header, the tensors' bytes. The header is an
// object of NAME: {"dtype", "shape", "data_offsets": [begin, end]} (offsets from the header's end)
// and of an optional "__metadata__" of strings. Source: the format's description in
// huggingface/safetensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "formats/tensor_type.h"

namespace outboard::formats {

struct SafeTensor {
  std::string name;
  std::string dtype;               // as the file has it: "BF16"
  std::optional<TensorType> type;  // nothing for types that GGML lacks (BOOL, U8, F8_E4M3, ...)
  std::vector<int64_t> shape;      // outermost first; sizes may be 0
  size_t offset = 0;               // bytes from the start of the file
  size_t bytes = 0;
};

// Reads a whole file's header from memory, tensors in the order of their bytes. Checked: the
// header's length and JSON (no key twice, no deep nesting), dtypes, sizes, offsets; and that the
// tensors fill the rest of the file without holes or overlaps. Throws Error naming the tensor and
// field; the caller adds the file's name.
std::vector<SafeTensor> parse_safetensors(std::span<const std::byte> file);

// The files that hold a folder's tensors: model.safetensors, or those that
// model.safetensors.index.json names. Throws Error when there are none, or when the index names a
// file outside the folder or one that does not exist.
std::vector<std::filesystem::path> safetensors_files(const std::filesystem::path& folder);

}  // namespace outboard::formats
