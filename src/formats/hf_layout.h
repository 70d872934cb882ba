// How matrices of a Hugging Face folder lie otherwise than GGUF's: bytes put in another order.
// Internal to formats; the adder of tensors (hf_tensors.cpp) checks shapes before.
#pragma once

#include <cstddef>
#include <span>

namespace outboard::formats {

// [2 * rows, row_bytes]: the rows of even numbers and those of odd ones, [rows, row_bytes] each.
void alternate_rows(std::span<const std::byte> data, size_t row_bytes, std::span<std::byte> even,
                    std::span<std::byte> odd);

// [outer, first + second bytes] as [outer, first bytes] and [outer, second bytes].
void split_each(std::span<const std::byte> data, size_t outer, std::span<std::byte> first,
                std::span<std::byte> second);

// [outer, rows, columns] of plain elements as [outer, columns, rows].
void transpose_each(std::span<const std::byte> data, size_t outer, size_t rows, size_t columns,
                    std::span<std::byte> out);

// MXFP4 as transformers stores it (integrations/mxfp4.py): 16 bytes a block of 32 codes, in byte i
// those of 2 i (low) and 2 i + 1, and an exponent a block elsewhere. As GGUF's blocks.
void mxfp4_blocks(std::span<const std::byte> codes, std::span<const std::byte> exponents,
                  std::span<std::byte> out);

}  // namespace outboard::formats
