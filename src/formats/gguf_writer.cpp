#include "formats/gguf_writer.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "formats/gguf.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

// The header's bytes, built up in memory.
class Buffer {
 public:
  template <typename T>
  void number(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void string(std::string_view text) {
    number<uint64_t>(text.size());
    bytes_.append(text);
  }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(bytes_)); }

 private:
  std::string bytes_;
};

// The variants of metadata.h list the types in GGUF's order, but for the array (GGUF's 9), last.
uint32_t value_type_number(size_t variant_index) {
  constexpr size_t kLast = static_cast<size_t>(GgufValueType::F64);
  constexpr size_t kArray = static_cast<size_t>(GgufValueType::Array);
  if (variant_index == kLast) return kArray;
  return static_cast<uint32_t>(variant_index < kArray ? variant_index : variant_index + 1);
}

void put_array(Buffer& out, const MetadataArray& array);

template <typename T>
void put_value(Buffer& out, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    out.number<uint8_t>(value ? 1 : 0);
  } else if constexpr (std::is_same_v<T, std::string>) {
    out.string(value);
  } else if constexpr (std::is_same_v<T, MetadataArray>) {
    put_array(out, value);
  } else {
    out.number(value);
  }
}

void put_array(Buffer& out, const MetadataArray& array) {
  out.number(value_type_number(array.values.index()));
  out.number<uint64_t>(array.size());
  std::visit(
      [&](const auto& values) {
        using Element = typename std::decay_t<decltype(values)>::value_type;
        for (size_t i = 0; i < values.size(); ++i) put_value<Element>(out, values[i]);
      },
      array.values);
}

void put_metadata(Buffer& out, const Metadata& metadata) {
  for (const auto& [key, value] : metadata.entries()) {
    if (key.empty()) fail("metadata: found an empty key, expected a name");
    out.string(key);
    out.number(value_type_number(value.index()));
    std::visit([&](const auto& held) { put_value(out, held); }, value);
  }
}

size_t checked_bytes(const TensorPlan& tensor) {
  if (tensor.name.empty()) fail("tensor: found an empty name");
  if (tensor.shape.size() > 4) {
    fail("tensor {}: found {} dimensions, expected at most 4", tensor.name, tensor.shape.size());
  }
  int64_t elements = 1;
  for (const int64_t size : tensor.shape) {
    if (size < 0 || __builtin_mul_overflow(elements, std::max<int64_t>(1, size), &elements)) {
      fail("tensor {}: found dimension {}, expected at least 0 and a product within 63 bits",
           tensor.name, size);
    }
  }
  const TypeInfo& info = type_info(tensor.type);
  const int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (columns % info.block_elements != 0) {
    fail("tensor {}: found {} columns, expected a multiple of {} for {}", tensor.name, columns,
         info.block_elements, info.name);
  }
  const bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
  return empty ? 0 : storage_bytes(tensor.type, elements);
}

size_t align_up(size_t offset, size_t alignment) {
  return (offset + alignment - 1) & ~(alignment - 1);
}

}  // namespace

GgufWriter::GgufWriter(const std::filesystem::path& path, const Metadata& metadata,
                       const std::vector<TensorPlan>& tensors)
    : path_(path), alignment_(gguf_alignment(metadata)) {
  Buffer header;
  for (const char letter : std::string_view("GGUF")) header.number(letter);
  header.number<uint32_t>(3);
  header.number<uint64_t>(tensors.size());
  header.number<uint64_t>(metadata.entries().size());
  put_metadata(header, metadata);
  size_t offset = 0;
  std::unordered_set<std::string_view> names;
  for (const TensorPlan& tensor : tensors) {
    if (!names.insert(tensor.name).second) fail("tensor {}: found the name twice", tensor.name);
    names_.push_back(tensor.name);
    sizes_.push_back(checked_bytes(tensor));
    header.string(tensor.name);
    header.number(static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) {
      header.number(static_cast<uint64_t>(*size));
    }
    header.number(static_cast<uint32_t>(tensor.type));
    header.number<uint64_t>(offset);
    offset = align_up(offset + sizes_.back(), alignment_);
  }

  file_.emplace(path);
  file_->write(header.bytes());
  pad();
  skip_empty();
}

void GgufWriter::skip_empty() {
  while (tensor_ < sizes_.size() && sizes_[tensor_] == 0) ++tensor_;
}

void GgufWriter::append(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  if (tensor_ == sizes_.size()) {
    fail("{}: found {} bytes after the last tensor", path_.string(), bytes.size());
  }
  if (bytes.size() > sizes_[tensor_] - filled_) {
    fail("{}: tensor {}: found {} bytes, expected {}", path_.string(), names_[tensor_],
         filled_ + bytes.size(), sizes_[tensor_]);
  }
  file_->write(bytes);
  filled_ += bytes.size();
  if (filled_ == sizes_[tensor_]) {
    pad();
    ++tensor_;
    filled_ = 0;
    skip_empty();
  }
}

void GgufWriter::finish() {
  if (tensor_ != sizes_.size()) {
    fail("{}: tensor {}: found {} bytes, expected {}", path_.string(), names_[tensor_], filled_,
         sizes_[tensor_]);
  }
  file_->finish();
}

void GgufWriter::pad() {
  const std::vector<std::byte> zeros(align_up(bytes_written(), alignment_) - bytes_written());
  file_->write(zeros);
}

}  // namespace outboard::formats
