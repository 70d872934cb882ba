#include "formats/transpose.h"

#include <algorithm>
#include <cstring>

namespace outboard::formats {

std::shared_ptr<std::vector<std::byte>> transpose(std::span<const std::byte> data, size_t rows,
                                                  size_t columns) {
  const size_t size = data.size() / (rows * columns);
  auto bytes = std::make_shared<std::vector<std::byte>>(data.size());
  constexpr size_t kTile = 32;  // a tile's rows stay in the cache
  for (size_t top = 0; top < rows; top += kTile) {
    for (size_t column = 0; column < columns; ++column) {
      for (size_t row = top; row < std::min(rows, top + kTile); ++row) {
        std::memcpy(bytes->data() + (column * rows + row) * size,
                    data.data() + (row * columns + column) * size, size);
      }
    }
  }
  return bytes;
}

}  // namespace outboard::formats
