// Writing GGUF files (version 3), tensor bytes streamed in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "formats/metadata.h"
#include "formats/tensor_type.h"
#include "support/output_file.h"

namespace outboard::formats {

// What the header says of a tensor; its bytes follow later.
struct TensorPlan {
  std::string name;
  TensorType type = TensorType::F32;
  std::vector<int64_t> shape;  // outermost first, at most 4 dimensions of at least 1
};

// Writes an OutputFile: a half file never stands under the final name. Every call throws Error
// naming the file when it can't be written (a full disk, say); the destructor removes what finish()
// did not complete. One thread at a time.
class GgufWriter {
 public:
  // Writes the header. Tensors are aligned to the metadata's general.alignment (32 without it).
  GgufWriter(const std::filesystem::path& path, const Metadata& metadata,
             const std::vector<TensorPlan>& tensors);

  // The next bytes of the tensors, one tensor after the other in the header's order; a call may
  // hold a part of a tensor, never bytes of two.
  void append(std::span<const std::byte> bytes);
  // After the last byte: makes the file durable and moves it to its name.
  void finish();

  uint64_t bytes_written() const { return file_->bytes_written(); }

 private:
  void pad();
  void skip_empty();  // tensors without bytes take nothing from append()

  std::filesystem::path path_;
  std::optional<OutputFile> file_;  // opened when the plan has been checked
  size_t alignment_ = 0;
  std::vector<std::string> names_;
  std::vector<size_t> sizes_;  // bytes of each tensor
  size_t tensor_ = 0;          // the one that append() is filling
  size_t filled_ = 0;          // its bytes so far
};

}  // namespace outboard::formats
