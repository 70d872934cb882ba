// See MatvecArgs.
#include "devices/gpu/kernels/matvec_core.h"

namespace outboard::devices::gpu::kernels {
namespace {

constexpr auto kFromTheFirst = [](int) { return 0; };

template <int rows>
DEVICE void matvec_all(Tile<rows>& tile) {
  matvec<rows>(tile, 0, 0, kFromTheFirst);
}

}  // namespace

KERNEL EIGHT_WAVES void matvec_1(MatvecArgs) {
  fetch_arguments<MatvecArgs>();
  static LDS Tile<1> tile;
  matvec_all(tile);
}
KERNEL EIGHT_WAVES void matvec_1_plain(MatvecArgs) {
  fetch_arguments<MatvecArgs>();
  static LDS Tile<1> tile;
  matvec_plain(tile, 0, 0, kFromTheFirst);
}
KERNEL SIXTEEN_WAVES void matvec_1_narrow(MatvecArgs) {
  fetch_arguments<MatvecArgs>();
  static LDS Tile<1, kNarrowUnits> tile;
  matvec_plain(tile, 0, 0, kFromTheFirst);
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
