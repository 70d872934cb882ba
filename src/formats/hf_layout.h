// How matrices of a Hugging Face folder lie otherwise than GGUF's: pieces of bytes put in another
// order. Internal to formats; the adder of tensors (hf_tensors.cpp) checks shapes before.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace outboard::formats {

using Bytes = std::vector<std::byte>;

// [outer, 2 * rows, row_bytes]: the rows of even numbers and those of odd ones, [outer, rows,
// row_bytes] each.
std::pair<Bytes, Bytes> alternate_rows(std::span<const std::byte> data, size_t row_bytes);

// [outer, rows, columns] of plain elements as [outer, columns, rows].
Bytes transpose_each(std::span<const std::byte> data, size_t outer, size_t rows, size_t columns);

// [outer, first + second, row_bytes] as [outer, first, row_bytes] and [outer, second, row_bytes].
std::pair<Bytes, Bytes> split_rows(std::span<const std::byte> data, size_t outer,
                                   size_t first_bytes);

// MXFP4 as transformers stores it (integrations/mxfp4.py): 16 bytes a block of 32 codes, in byte i
// those of 2 i (low) and 2 i + 1, and an exponent a block elsewhere. As GGUF's blocks.
Bytes mxfp4_blocks(std::span<const std::byte> codes, std::span<const std::byte> exponents);

}  // namespace outboard::formats
