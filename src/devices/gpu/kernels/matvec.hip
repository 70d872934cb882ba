// See MatvecArgs.
#include "devices/gpu/kernels/matvec_core.h"

namespace outboard::devices::gpu::kernels {
namespace {

template <bool plain = false, int rows>
DEVICE void matvec_all(Tile<rows>& tile) {
  matvec<rows, plain>(tile, 0, 0, [](int) { return 0; });
}

}  // namespace

KERNEL EIGHT_WAVES void matvec_1(MatvecArgs) {
  static LDS Tile<1> tile;
  matvec_all(tile);
}
KERNEL EIGHT_WAVES void matvec_1_plain(MatvecArgs) {
  static LDS Tile<1> tile;
  matvec_all<true>(tile);
}
KERNEL EIGHT_WAVES void matvec_2(MatvecArgs) {
  static LDS Tile<2> tile;
  matvec_all(tile);
}
KERNEL EIGHT_WAVES void matvec_4(MatvecArgs) {
  static LDS Tile<4> tile;
  matvec_all(tile);
}
KERNEL EIGHT_WAVES void matvec_8(MatvecArgs) {
  static LDS Tile<8> tile;
  matvec_all(tile);
}

}  // namespace outboard::devices::gpu::kernels
