#include "formats/hf_layout.h"

#include <algorithm>

#include "formats/blocks.h"
#include "formats/transpose.h"

namespace outboard::formats {

std::pair<Bytes, Bytes> alternate_rows(std::span<const std::byte> data, size_t row_bytes) {
  std::pair<Bytes, Bytes> out;
  out.first.reserve(data.size() / 2);
  out.second.reserve(data.size() / 2);
  for (size_t at = 0; at < data.size(); at += row_bytes) {
    const auto row = data.subspan(at, row_bytes);
    Bytes& to = at / row_bytes % 2 == 0 ? out.first : out.second;
    to.insert(to.end(), row.begin(), row.end());
  }
  return out;
}

Bytes transpose_each(std::span<const std::byte> data, size_t outer, size_t rows, size_t columns) {
  Bytes out;
  out.reserve(data.size());
  const size_t each = data.size() / outer;
  for (size_t i = 0; i < outer; ++i) {
    const auto turned = transpose(data.subspan(i * each, each), rows, columns);
    out.insert(out.end(), turned->begin(), turned->end());
  }
  return out;
}

std::pair<Bytes, Bytes> split_rows(std::span<const std::byte> data, size_t outer,
                                   size_t first_bytes) {
  std::pair<Bytes, Bytes> out;
  const size_t each = data.size() / outer;
  for (size_t i = 0; i < outer; ++i) {
    const auto whole = data.subspan(i * each, each);
    out.first.insert(out.first.end(), whole.begin(),
                     whole.begin() + static_cast<ptrdiff_t>(first_bytes));
    out.second.insert(out.second.end(), whole.begin() + static_cast<ptrdiff_t>(first_bytes),
                      whole.end());
  }
  return out;
}

Bytes mxfp4_blocks(std::span<const std::byte> codes, std::span<const std::byte> exponents) {
  constexpr size_t kCodes = sizeof(BlockMxfp4::qs);
  Bytes out(exponents.size() * sizeof(BlockMxfp4));
  for (size_t block = 0; block < exponents.size(); ++block) {
    std::byte* to = out.data() + block * sizeof(BlockMxfp4);
    *to++ = exponents[block];
    const auto from = codes.subspan(block * kCodes, kCodes);
    const auto code = [&](size_t i) {
      const auto both = std::to_integer<unsigned>(from[i / 2]);
      return i % 2 == 0 ? both & 15U : both >> 4;
    };
    for (size_t i = 0; i < kCodes; ++i)
      to[i] = static_cast<std::byte>(code(i) | code(i + kCodes) << 4);
  }
  return out;
}

}  // namespace outboard::formats
