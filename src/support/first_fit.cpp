#include "support/first_fit.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace outboard {

uint64_t place_first_fit(std::span<Piece> pieces) {
  std::vector<size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, [&](size_t a, size_t b) {
    return pieces[a].bytes != pieces[b].bytes ? pieces[a].bytes > pieces[b].bytes : a < b;
  });
  uint64_t total = 0;
  std::vector<size_t> placed;  // by offset
  for (const size_t i : order) {
    Piece& piece = pieces[i];
    uint64_t offset = 0;
    for (const size_t j : placed) {
      const Piece& other = pieces[j];
      if (other.last < piece.first || piece.last < other.first) continue;
      if (offset + piece.bytes <= other.offset) break;
      offset = std::max(offset, other.offset + other.bytes);
    }
    piece.offset = offset;
    placed.insert(
        std::ranges::upper_bound(placed, offset, {}, [&](size_t j) { return pieces[j].offset; }),
        i);
    total = std::max(total, offset + piece.bytes);
  }
  return total;
}

}  // namespace outboard
