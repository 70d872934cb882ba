// See MatvecArgs.
#include "devices/amd/kernels/matvec_core.h"

namespace outboard::devices::amd::kernels {
namespace {

template <int rows>
DEVICE void matvec_all(Tile<rows>& tile) {
  matvec<rows>(tile, 0, 0, [] { return 0; });
}

}  // namespace

KERNEL EIGHT_WAVES void matvec_1(MatvecArgs) {
  static SHARED Tile<1> tile;
  matvec_all<1>(tile);
}
KERNEL EIGHT_WAVES void matvec_2(MatvecArgs) {
  static SHARED Tile<2> tile;
  matvec_all<2>(tile);
}
KERNEL EIGHT_WAVES void matvec_4(MatvecArgs) {
  static SHARED Tile<4> tile;
  matvec_all<4>(tile);
}
KERNEL EIGHT_WAVES void matvec_8(MatvecArgs) {
  static SHARED Tile<8> tile;
  matvec_all<8>(tile);
}

}  // namespace outboard::devices::amd::kernels
