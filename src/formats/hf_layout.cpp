#include "formats/hf_layout.h"

#include <algorithm>

#include "formats/blocks.h"
#include "formats/transpose.h"

namespace outboard::formats {

void alternate_rows(std::span<const std::byte> data, size_t row_bytes, std::span<std::byte> even,
                    std::span<std::byte> odd) {
  for (size_t row = 0; row * row_bytes < data.size(); ++row) {
    const std::span<std::byte> to = row % 2 == 0 ? even : odd;
    std::ranges::copy(data.subspan(row * row_bytes, row_bytes),
                      to.subspan(row / 2 * row_bytes).begin());
  }
}

void split_each(std::span<const std::byte> data, size_t outer, std::span<std::byte> first,
                std::span<std::byte> second) {
  const size_t a = first.size() / outer, b = second.size() / outer;
  for (size_t i = 0; i < outer; ++i) {
    const auto whole = data.subspan(i * (a + b), a + b);
    std::ranges::copy(whole.first(a), first.subspan(i * a).begin());
    std::ranges::copy(whole.subspan(a), second.subspan(i * b).begin());
  }
}

void transpose_each(std::span<const std::byte> data, size_t outer, size_t rows, size_t columns,
                    std::span<std::byte> out) {
  const size_t each = data.size() / outer;
  for (size_t i = 0; i < outer; ++i)
    std::ranges::copy(*transpose(data.subspan(i * each, each), rows, columns),
                      out.subspan(i * each).begin());
}

void mxfp4_blocks(std::span<const std::byte> codes, std::span<const std::byte> exponents,
                  std::span<std::byte> out) {
  constexpr size_t kBytes = sizeof(BlockMxfp4::qs);
  for (size_t block = 0; block < exponents.size(); ++block) {
    const auto to = out.subspan(block * sizeof(BlockMxfp4), sizeof(BlockMxfp4));
    to[0] = exponents[block];
    const auto from = codes.subspan(block * kBytes, kBytes);
    const auto code = [&](size_t i) {
      const auto both = std::to_integer<unsigned>(from[i / 2]);
      return i % 2 == 0 ? both & 15U : both >> 4;
    };
    for (size_t i = 0; i < kBytes; ++i)
      to[1 + i] = static_cast<std::byte>(code(i) | code(i + kBytes) << 4);
  }
}

}  // namespace outboard::formats
