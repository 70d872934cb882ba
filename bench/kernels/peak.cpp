#include "peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace outboard::devices::cpu {
namespace {

constexpr int kChains = 12;  // more than latency times multipliers, and they fit in 16 registers

#if defined(__x86_64__)
// Hides from the compiler what x holds: else equal products would be made once.
#define OUTBOARD_HIDE(x) asm volatile("" : "+x"(x))
#define OUTBOARD_PEAK(NAME, TARGET, VECTOR, STEP)                                             \
  __attribute__((target(TARGET))) void NAME(int64_t rounds) {                                 \
    VECTOR sums[kChains] = {};                                                                \
    VECTOR a = {}, b = {};                                                                    \
    OUTBOARD_HIDE(b);                                                                         \
    for (; rounds > 0; --rounds) _Pragma("GCC unroll 12") for (int i = 0; i < kChains; ++i) { \
        OUTBOARD_HIDE(a);                                                                     \
        VECTOR& sum = sums[i];                                                                \
        sum = STEP;                                                                           \
      }                                                                                       \
    for (VECTOR & sum : sums) OUTBOARD_HIDE(sum);                                             \
  }
OUTBOARD_PEAK(avx2_floats, "avx2,fma", __m256, _mm256_fmadd_ps(a, b, sum))
OUTBOARD_PEAK(avx2_words, "avx2", __m256i, _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)))
OUTBOARD_PEAK(avxvnni_bytes, "avx2,avxvnni", __m256i, _mm256_dpbusd_avx_epi32(sum, a, b))
OUTBOARD_PEAK(avx512_floats, "avx512f", __m512, _mm512_fmadd_ps(a, b, sum))
OUTBOARD_PEAK(avx512_bytes, "avx512f,avx512vnni", __m512i, _mm512_dpbusd_epi32(sum, a, b))
#endif

struct Product {
  std::string_view table;
  bool floats;
  void (*run)(int64_t rounds);
  int products;  // of one step of a chain; bytes count half, for it takes two of them for 16 bits
};

#if defined(__x86_64__)
constexpr Product kProducts[] = {
    {"avx2", true, avx2_floats, 8},      {"avx2", false, avx2_words, 16},
    {"avxvnni", true, avx2_floats, 8},   {"avxvnni", false, avxvnni_bytes, 16},
    {"avx512", true, avx512_floats, 16}, {"avx512", false, avx512_bytes, 32},
};
#endif

}  // namespace

double peak_rate(std::string_view table, Packing packing, ThreadTeam& team) {
#if defined(__x86_64__)
  for (const Product& product : kProducts) {
    if (product.table != table || product.floats != (packing == Packing::kFloat)) continue;
    constexpr int64_t kRounds = 200'000;
    double best = 0;
    for (int run = 0; run < 20; ++run) {
      const auto begin = std::chrono::steady_clock::now();
      team.run([&](int) { product.run(kRounds); });
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      best = std::max(best, static_cast<double>(kRounds) * kChains * product.products *
                                team.size() / seconds.count());
    }
    return best;
  }
#endif
  (void)table, (void)packing, (void)team;
  return 0;
}

}  // namespace outboard::devices::cpu
