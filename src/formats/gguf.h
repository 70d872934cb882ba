// GGUF versions 2 and 3: the header of one file, and models in one or several files.
//
// Layout (little-endian): "GGUF", u32 version, u64 tensor count, u64 metadata count; then per
// metadata entry: string key, u32 value type, value; then per tensor: string name, u32 dimensions,
// u64 each (fastest first), u32 type, u64 offset; then padding to the alignment and the tensors'
// bytes, offsets counted from here. A string is u64 length and bytes; an array is u32 element type,
// u64 count and the elements. Source: ggml's GGUF specification (docs/gguf.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "formats/metadata.h"
#include "formats/model_file.h"
#include "formats/tensor_type.h"

namespace outboard::formats {

// Value types by number, in the order of MetadataValue's alternatives but for the array.
enum class GgufValueType : uint32_t {
  U8 = 0,
  I8 = 1,
  U16 = 2,
  I16 = 3,
  U32 = 4,
  I32 = 5,
  F32 = 6,
  Bool = 7,
  String = 8,
  Array = 9,
  U64 = 10,
  I64 = 11,
  F64 = 12,
};

// The hint of parse_gguf()'s errors where the file ends before what its header promises.
constexpr const char* kGgufIncomplete = "The file is incomplete or damaged: get it again.";

constexpr size_t kGgufDefaultAlignment = 32;  // when there is no key general.alignment
constexpr const char* kGgufAlignmentKey = "general.alignment";

struct GgufTensor {
  std::string name;
  TensorType type = TensorType::F32;
  std::vector<int64_t> shape;  // outermost first, as in Tensor
  size_t offset = 0;           // bytes from the start of the file
  size_t bytes = 0;            // offset + bytes lies inside the file
};

struct GgufHeader {
  uint32_t version = 3;
  Metadata metadata;
  std::vector<GgufTensor> tensors;
  size_t alignment = kGgufDefaultAlignment;
  size_t data_offset = 0;  // where tensor bytes begin; may be the file's end without tensors
};

// Reads a whole file's header from memory. Everything is checked: counts, lengths and offsets
// against the bytes there are before anything is allocated, value and tensor types, dimensions
// (1 to 4 of at least 1, whole blocks, product within 63 bits), alignment, duplicate keys and
// names, tensors that overlap, arrays nested deeper than 8. Throws Error naming the field, what was
// found and what was expected; the caller adds the file's name.
GgufHeader parse_gguf(std::span<const std::byte> file);

// The alignment of tensor bytes that the metadata asks for. Throws Error unless a power of two.
size_t gguf_alignment(const Metadata& metadata);

// True when the bytes begin as a GGUF file does, whatever follows.
bool looks_like_gguf(std::span<const std::byte> file);

// Maps the file, and when it is a part of a split set (NAME-00001-of-00003.gguf) all parts. The
// metadata is the first part's. Throws Error.
Model open_gguf(const std::filesystem::path& path);

}  // namespace outboard::formats
