// Floating point of the vector ALU against plain scalar arithmetic.
#include <cfenv>
#include <cmath>
#include <functional>
#include <limits>

#include <gtest/gtest.h>

#include "simulator/compute/valu/fixture.h"

namespace outboard::simulator::compute {
namespace {

using namespace test;

constexpr uint32_t kDefaultNan = 0xffc00000;
constexpr int kHostRounding[4] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};

bool is_nan(uint32_t x) { return (x & 0x7fffffff) > 0x7f800000; }

// The host rounds like MODE.round in here.
class Rounding {
 public:
  explicit Rounding(int round) { std::fesetround(kHostRounding[round]); }
  ~Rounding() { std::fesetround(FE_TONEAREST); }
};

// Runs an instruction on `count` inputs of three words; f says what must come out.
void check(Opcode op, const Mode& mode, uint32_t seed,
           const std::function<uint32_t(uint32_t, uint32_t, uint32_t)>& f, uint32_t mask = ~0U) {
  const Instruction i = vector_instruction(op);
  std::mt19937 random(seed);
  for (int trial = 0; trial < 200; ++trial) {
    Machine m;
    m.wave.mode = mode;
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      for (size_t s = 0; s < 3; ++s) m.word(source_register(s), lane) = edge_word(random);
    }
    ASSERT_TRUE(m.run(i));
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const uint32_t a = m.word(source_register(0), lane), b = m.word(source_register(1), lane),
                     c = m.word(source_register(2), lane);
      ASSERT_EQ(m.word(kDestination, lane) & mask, f(a, b, c) & mask)
          << mnemonic(op) << std::hex << " of " << a << " " << b << " " << c << ", round "
          << int{mode.round};
    }
  }
}

// The first NaN operand, quieted; else what arithmetic gives, NaNs of its own as 0xffc00000.
uint32_t settled(float r, std::initializer_list<uint32_t> operands) {
  if (!std::isnan(r)) return bits(r);
  for (const uint32_t x : operands) {
    if (is_nan(x)) return x | 0x00400000;
  }
  return kDefaultNan;
}

TEST(ValuFloat32, ArithmeticInEveryRoundingMode) {
  for (uint8_t round = 0; round < 4; ++round) {
    const Mode mode{.round = round, .ieee = true};
    const auto rounded = [&](auto f) {
      return [=](uint32_t a, uint32_t b, uint32_t c) {
        const Rounding host(round);
        volatile float x = as_float(a), y = as_float(b), z = as_float(c);
        return f(x, y, z, a, b, c);
      };
    };
    check(Opcode::kVAddF32, mode, 1,
          rounded([](float x, float y, float, uint32_t a, uint32_t b, uint32_t) {
            volatile float r = x + y;
            return settled(r, {a, b});
          }));
    check(Opcode::kVSubF32, mode, 2,
          rounded([](float x, float y, float, uint32_t a, uint32_t b, uint32_t) {
            volatile float r = x - y;
            return settled(r, {a, b});
          }));
    check(Opcode::kVMulF32, mode, 3,
          rounded([](float x, float y, float, uint32_t a, uint32_t b, uint32_t) {
            volatile float r = x * y;
            return settled(r, {a, b});
          }));
    check(Opcode::kVFmaF32, mode, 4,
          rounded([](float x, float y, float z, uint32_t a, uint32_t b, uint32_t c) {
            volatile float r = std::fma(x, y, z);
            return settled(r, {a, b, c});
          }));
    check(Opcode::kVCvtF32I32, mode, 5, [&](uint32_t a, uint32_t, uint32_t) {
      const Rounding host(round);
      volatile int32_t x = static_cast<int32_t>(a);
      volatile float r = static_cast<float>(x);
      return bits(r);
    });
    check(Opcode::kVCvtF32U32, mode, 6, [&](uint32_t a, uint32_t, uint32_t) {
      const Rounding host(round);
      volatile uint32_t x = a;
      volatile float r = static_cast<float>(x);
      return bits(r);
    });
  }
}

TEST(ValuFloat32, SignalingNansStayWithoutIeee) {
  Machine m;
  m.wave.mode.ieee = false;
  m.fill(source_register(0), 0x3f800000);
  m.fill(source_register(1), 0x7f800123);
  for (const Opcode op : {Opcode::kVAddF32, Opcode::kVMulF32, Opcode::kVFmaF32}) {
    ASSERT_TRUE(m.run(vector_instruction(op)));
    EXPECT_EQ(m.word(kDestination, 3), 0x7f800123U) << mnemonic(op);
  }
}

// What MODE.denorm's two bits do: inputs flush without 1, outputs without 2.
TEST(ValuFloat32, DenormalsComeAndGoAsTheModeSays) {
  constexpr uint32_t kDenormal = 0x80000100, kSmall = 0x00c00000;  // 1.5 * 2^-126
  for (uint8_t denorm = 0; denorm < 4; ++denorm) {
    Machine m;
    m.wave.mode.denorm = static_cast<uint8_t>(denorm | 0xc);
    m.fill(source_register(0), kDenormal);
    m.fill(source_register(1), 0x4b800000);  // 2^24: the product is no denormal
    ASSERT_TRUE(m.run(vector_instruction(Opcode::kVMulF32)));
    EXPECT_EQ(m.word(kDestination, 0), (denorm & 1) != 0 ? 0x85000000U : 0x80000000U);
    m.fill(source_register(0), kSmall);
    m.fill(source_register(1), 0xbf000000);  // the product is one
    ASSERT_TRUE(m.run(vector_instruction(Opcode::kVMulF32)));
    EXPECT_EQ(m.word(kDestination, 0), (denorm & 2) != 0 ? 0x80600000U : 0x80000000U);
    // v_mov moves bits.
    m.fill(source_register(0), kDenormal);
    ASSERT_TRUE(m.run(vector_instruction(Opcode::kVMovB32)));
    EXPECT_EQ(m.word(kDestination, 0), kDenormal);
  }
}

TEST(ValuFloat32, MinimumAndMaximumOrderZerosAndSkipNans) {
  constexpr uint32_t kPlus = 0, kMinus = 0x80000000, kOne = 0x3f800000, kQuiet = 0x7fc00007,
                     kSignaling = 0x7f800007;
  struct Case {
    uint32_t a, b, low, high, low_not_ieee, high_not_ieee;
  };
  const Case cases[] = {
      {kPlus, kMinus, kMinus, kPlus, kMinus, kPlus},
      {kMinus, kPlus, kMinus, kPlus, kMinus, kPlus},
      {kQuiet, kOne, kOne, kOne, kOne, kOne},
      {kOne, kQuiet, kOne, kOne, kOne, kOne},
      {kSignaling, kOne, 0x7fc00007, 0x7fc00007, kOne, kOne},
      {kOne, kSignaling, 0x7fc00007, 0x7fc00007, kOne, kOne},
      {0xff800000, kOne, 0xff800000, kOne, 0xff800000, kOne},
      {0xc0000000, 0xbf800000, 0xc0000000, 0xbf800000, 0xc0000000, 0xbf800000},
      {0x80000001, 0x00000001, 0x80000001, 0x00000001, 0x80000001, 0x00000001},
  };
  for (const bool ieee : {true, false}) {
    for (const Case& c : cases) {
      Machine m;
      m.wave.mode.ieee = ieee;
      m.fill(source_register(0), c.a);
      m.fill(source_register(1), c.b);
      ASSERT_TRUE(m.run(vector_instruction(Opcode::kVMinF32)));
      EXPECT_EQ(m.word(0, 0), ieee ? c.low : c.low_not_ieee) << std::hex << c.a << " " << c.b;
      ASSERT_TRUE(m.run(vector_instruction(Opcode::kVMaxF32)));
      EXPECT_EQ(m.word(0, 0), ieee ? c.high : c.high_not_ieee) << std::hex << c.a << " " << c.b;
    }
  }
}

// --- float16, exactly: numbers are whole multiples of 2^-24, products of 2^-48. ---

__extension__ typedef __int128 Wide;

bool half_is_finite(uint32_t h) { return (h & 0x7c00) != 0x7c00; }
int64_t half_units(uint32_t h) {  // in 2^-24
  const auto fraction = static_cast<int64_t>(h & 0x3ff);
  const int exponent = static_cast<int>(h >> 10 & 31);
  const int64_t magnitude = exponent == 0 ? fraction : (fraction | 0x400) << (exponent - 1);
  return (h & 0x8000) != 0 ? -magnitude : magnitude;
}

// x * 2^-48 as float16. `negative` decides the sign of an exact zero.
uint32_t half_of(Wide x, int round, bool negative) {
  if (x == 0) return negative ? 0x8000 : 0;
  const uint32_t sign = x < 0 ? 0x8000 : 0;
  Wide magnitude = x < 0 ? -x : x;
  int shift = 24;  // at least to units of 2^-24
  while ((magnitude >> shift) >= 0x800) ++shift;
  Wide kept = magnitude >> shift;
  const Wide rest = magnitude - (kept << shift), half = Wide{1} << (shift - 1);
  const bool away = round == 1 ? sign == 0 : round == 2 ? sign != 0 : false;
  if (round == 0 ? rest > half || (rest == half && (kept & 1) != 0) : away && rest != 0) ++kept;
  // The exponent's field: 1 for units of 2^-24 and a kept leading bit; a carry moves on by itself.
  const auto field = static_cast<uint32_t>(shift - 24);
  const uint32_t h = static_cast<uint32_t>(kept) + (field << 10);
  if (h < 0x7c00) return sign | h;
  return sign | (round == 0 || away ? 0x7c00U : 0x7bffU);
}

// Sign of an exact zero sum.
bool zero_sum_is_negative(bool a, bool b, int round) { return a == b ? a : round == 2; }

TEST(ValuFloat16, ArithmeticIsExactInEveryRoundingMode) {
  for (int round = 0; round < 4; ++round) {
    const Mode mode{.round = static_cast<uint8_t>(round << 2), .ieee = true};
    const auto finite = [&](auto f) {
      return [=](uint32_t a, uint32_t b, uint32_t c) -> uint32_t {
        return f(a & 0xffff, b & 0xffff, c & 0xffff);
      };
    };
    std::mt19937 random(7);
    for (int trial = 0; trial < 3000; ++trial) {
      Machine m;
      m.wave.mode = mode;
      for (uint32_t lane = 0; lane < kLanes; ++lane) {
        for (size_t s = 0; s < 3; ++s) {
          uint32_t h;
          do {
            h = edge_word(random) & 0xffff;
          } while (!half_is_finite(h));
          m.word(source_register(s), lane) = h | 0xabcd0000;
        }
        m.word(kDestination, lane) = 0x12345678;
      }
      struct Case {
        Opcode op;
        std::function<uint32_t(uint32_t, uint32_t, uint32_t)> f;
      };
      const Case cases[] = {
          {Opcode::kVAddF16, finite([&](uint32_t a, uint32_t b, uint32_t) {
             return half_of((Wide{half_units(a)} + half_units(b)) << 24, round,
                            zero_sum_is_negative(a >> 15, b >> 15, round));
           })},
          {Opcode::kVMulF16, finite([&](uint32_t a, uint32_t b, uint32_t) {
             return half_of(Wide{half_units(a)} * half_units(b), round, ((a ^ b) & 0x8000) != 0);
           })},
          {Opcode::kVFmaF16, finite([&](uint32_t a, uint32_t b, uint32_t c) {
             return half_of(Wide{half_units(a)} * half_units(b) + (Wide{half_units(c)} << 24),
                            round, zero_sum_is_negative(((a ^ b) & 0x8000) != 0, c >> 15, round));
           })},
      };
      for (const Case& c : cases) {
        ASSERT_TRUE(m.run(vector_instruction(c.op)));
        for (uint32_t lane = 0; lane < kLanes; ++lane) {
          const uint32_t x = m.word(source_register(0), lane), y = m.word(source_register(1), lane),
                         z = m.word(source_register(2), lane);
          ASSERT_EQ(m.word(kDestination, lane), 0x12340000U | c.f(x, y, z))
              << mnemonic(c.op) << std::hex << " " << x << " " << y << " " << z << " round "
              << round;
        }
      }
    }
  }
}

TEST(ValuFloat16, ConversionToFloat32IsExact) {
  Machine m;
  const Instruction convert = vector_instruction(Opcode::kVCvtF32F16);
  for (uint32_t h = 0; h < 0x10000; h += kLanes) {
    for (uint32_t lane = 0; lane < kLanes; ++lane) m.word(source_register(0), lane) = h + lane;
    ASSERT_TRUE(m.run(convert));
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const uint32_t x = h + lane, got = m.word(kDestination, lane);
      if (half_is_finite(x)) {
        ASSERT_EQ(static_cast<double>(as_float(got)), static_cast<double>(half_units(x)) * 0x1p-24);
        ASSERT_EQ(got >> 31, x >> 15);
      } else {
        const uint32_t quiet = (x & 0x3ff) != 0 ? 0x00400000 : 0;
        ASSERT_EQ(got, (x & 0x8000) << 16 | 0x7f800000 | (x & 0x3ff) << 13 | quiet);
      }
    }
  }
}

TEST(ValuFloat16, ConversionFromFloat32RoundsAsTheModeSays) {
  const Instruction convert = vector_instruction(Opcode::kVCvtF16F32);
  const Instruction to_zero = vector_instruction(Opcode::kVCvtPkRtzF16F32);
  std::mt19937 random(11);
  const auto expected = [](uint32_t x, int round) -> uint32_t {
    const float v = as_float(x);
    if (std::isnan(v)) return (x >> 16 & 0x8000) | 0x7e00 | (x >> 13 & 0x3ff);
    if (std::isinf(v)) return (x >> 16 & 0x8000) | 0x7c00;
    // Far below half a unit: an amount that rounds alike.
    if (std::abs(v) < 0x1p-40F && v != 0) return half_of(v < 0 ? -1 : 1, round, v < 0);
    if (std::abs(v) > 0x1p20F) return half_of(Wide{v < 0 ? -1 : 1} << 90, round, v < 0);
    // What lies below 2^-48 changes nothing any more.
    return half_of(static_cast<Wide>(static_cast<double>(v) * 0x1p48), round, std::signbit(v));
  };
  for (int round = 0; round < 4; ++round) {
    for (int trial = 0; trial < 2000; ++trial) {
      Machine m;
      m.wave.mode.round = static_cast<uint8_t>(round << 2);
      for (uint32_t lane = 0; lane < kLanes; ++lane) {
        uint32_t x = edge_word(random);
        // Half of them near the boundaries of float16.
        if (random() % 2 == 0) {
          x = (static_cast<uint32_t>(random()) & 0x80000000) |
              (100 + static_cast<uint32_t>(random()) % 46) << 23 |
              (static_cast<uint32_t>(random()) & 0x7fe000) |
              (random() % 3 == 0 ? 0x1000 : static_cast<uint32_t>(random()) & 0x1fff);
        }
        m.word(source_register(0), lane) = x;
        m.word(source_register(1), lane) = x;
      }
      ASSERT_TRUE(m.run(convert));
      for (uint32_t lane = 0; lane < kLanes; ++lane) {
        const uint32_t x = m.word(source_register(0), lane);
        ASSERT_EQ(m.word(kDestination, lane) & 0xffff, expected(x, round))
            << std::hex << x << " round " << round;
      }
      ASSERT_TRUE(m.run(to_zero));
      for (uint32_t lane = 0; lane < kLanes; ++lane) {
        const uint32_t h = expected(m.word(source_register(0), lane), 3);
        ASSERT_EQ(m.word(kDestination, lane), h | h << 16);
      }
    }
  }
}

// v_fma_mix: each source float32 or a half of a word, result exact but for one rounding.
TEST(ValuFloat16, MixReadsHalvesAndRoundsOnce) {
  Instruction i = vector_instruction(Opcode::kVFmaMixF32);
  std::mt19937 random(5);
  for (int trial = 0; trial < 500; ++trial) {
    Machine m;
    std::array<double, 3> value{};
    for (size_t s = 0; s < 3; ++s) {
      const uint32_t word = (static_cast<uint32_t>(random()) & 0xbbffbbff) | 0x04000400;
      m.fill(source_register(s), word);
      Operand& o = i.source[s];
      const bool half = random() % 2 == 0;
      o.type = half ? Type::kF16 : Type::kF32;
      o.high = half && random() % 2 == 0;
      o.negate = random() % 2 == 0;
      o.absolute = random() % 2 == 0;
      const uint32_t h = o.high ? word >> 16 : word & 0xffff;
      value[s] =
          half ? static_cast<double>(half_units(h)) * 0x1p-24 : static_cast<double>(as_float(word));
      if (o.absolute) value[s] = std::abs(value[s]);
      if (o.negate) value[s] = -value[s];
    }
    ASSERT_TRUE(m.run(i));
    const float expected = std::fma(static_cast<float>(value[0]), static_cast<float>(value[1]),
                                    static_cast<float>(value[2]));
    EXPECT_EQ(m.word(kDestination, 9), bits(expected));
  }
}

// --- Elementary functions ---

int64_t ordered(float x) {
  const auto b = static_cast<int32_t>(bits(x));
  return b < 0 ? int64_t{std::numeric_limits<int32_t>::min()} - b : b;
}

// Greatest distance from the correctly rounded result, in units in the last place.
void expect_within_one_ulp(Opcode op, const std::function<long double(long double)>& f, float low,
                           float high) {
  const Instruction i = vector_instruction(op);
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(low, high);
  int64_t worst = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    Machine m;
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      m.word(source_register(0), lane) = bits(uniform(random));
    }
    ASSERT_TRUE(m.run(i));
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const float x = as_float(m.word(source_register(0), lane));
      const auto expected = static_cast<float>(f(x));
      if (std::abs(expected) < 0x1p-126F) continue;  // flushed
      const int64_t distance = std::abs(ordered(as_float(m.word(0, lane))) - ordered(expected));
      ASSERT_LE(distance, 1) << mnemonic(op) << "(" << x << ")";
      worst = std::max(worst, distance);
    }
  }
  ::testing::Test::RecordProperty(std::string(mnemonic(op)) + "_ulp", static_cast<int>(worst));
}

long double sine_of_turns(long double x) {
  // Exact reduction first; then an angle below pi / 4.
  x -= std::nearbyint(x);
  const long double quarter = std::nearbyint(4 * x);
  const long double angle = (x - quarter / 4) * 2 * 3.14159265358979323846264338327950288L;
  switch (static_cast<int>(quarter) & 3) {
    case 0:
      return std::sin(angle);
    case 1:
      return std::cos(angle);
    case 2:
      return -std::sin(angle);
    default:
      return -std::cos(angle);
  }
}

TEST(ValuTranscendental, WithinOneUlp) {
  const auto exp2 = [](long double x) { return std::exp2(x); };
  const auto log2 = [](long double x) { return std::log2(x); };
  const auto rcp = [](long double x) { return 1 / x; };
  const auto rsq = [](long double x) { return 1 / std::sqrt(x); };
  const auto root = [](long double x) { return std::sqrt(x); };
  expect_within_one_ulp(Opcode::kVExpF32, exp2, -130, 128);
  expect_within_one_ulp(Opcode::kVExpF32, exp2, -1e-3F, 1e-3F);
  expect_within_one_ulp(Opcode::kVLogF32, log2, 0.5F, 2);
  expect_within_one_ulp(Opcode::kVLogF32, log2, 0.999F, 1.001F);
  expect_within_one_ulp(Opcode::kVLogF32, log2, 1e-37F, 3e38F);
  expect_within_one_ulp(Opcode::kVRcpF32, rcp, -3, 3);
  expect_within_one_ulp(Opcode::kVRsqF32, rsq, 1e-20F, 1e10F);
  expect_within_one_ulp(Opcode::kVSqrtF32, root, 0, 1e30F);
  expect_within_one_ulp(Opcode::kVSinF32, sine_of_turns, -2, 2);
  expect_within_one_ulp(Opcode::kVSinF32, sine_of_turns, -256, 256);
  expect_within_one_ulp(Opcode::kVSinF32, sine_of_turns, 0.49F, 0.51F);
  const auto cosine = [](long double x) { return sine_of_turns(x + 0.25L); };
  expect_within_one_ulp(Opcode::kVCosF32, cosine, -2, 2);
  expect_within_one_ulp(Opcode::kVCosF32, cosine, 0.24F, 0.26F);
}

TEST(ValuTranscendental, SpecialValues) {
  constexpr uint32_t kInfinity = 0x7f800000, kMinus = 0x80000000;
  struct Case {
    Opcode op;
    uint32_t in, out;
  };
  const Case cases[] = {
      {Opcode::kVExpF32, 0, 0x3f800000},
      {Opcode::kVExpF32, kMinus | kInfinity, 0},
      {Opcode::kVExpF32, kInfinity, kInfinity},
      {Opcode::kVExpF32, 0x43000000, kInfinity},   // 2^128
      {Opcode::kVExpF32, 0xc2fe0000, 0},           // 2^-127: no denormals
      {Opcode::kVExpF32, 0xc2fc0000, 0x00800000},  // 2^-126
      {Opcode::kVLogF32, 0, kMinus | kInfinity},
      {Opcode::kVLogF32, kMinus, kMinus | kInfinity},
      {Opcode::kVLogF32, 0x00000001, kMinus | kInfinity},  // a denormal counts as zero
      {Opcode::kVLogF32, 0x3f800000, 0},
      {Opcode::kVLogF32, 0xbf800000, kDefaultNan},
      {Opcode::kVLogF32, kInfinity, kInfinity},
      {Opcode::kVRcpF32, kMinus, kMinus | kInfinity},
      {Opcode::kVRcpF32, kInfinity, 0},
      {Opcode::kVRsqF32, 0, kInfinity},
      {Opcode::kVRsqF32, kMinus, kMinus | kInfinity},
      {Opcode::kVRsqF32, kInfinity, 0},
      {Opcode::kVRsqF32, 0xbf800000, kDefaultNan},
      {Opcode::kVSqrtF32, kMinus, kMinus},
      {Opcode::kVSqrtF32, 0xbf800000, kDefaultNan},
      {Opcode::kVSinF32, kInfinity, kDefaultNan},
      {Opcode::kVSinF32, 0x3e800000, 0x3f800000},  // a quarter
      {Opcode::kVSinF32, 0x4b800001, 0},           // whole, above 2^24
      {Opcode::kVCosF32, 0x3e800000, 0},
      {Opcode::kVCosF32, 0x3f000000, 0xbf800000},
      {Opcode::kVSinF32, 0x7f800001, 0x7fc00001},
  };
  for (const Case& c : cases) {
    Machine m;
    m.fill(source_register(0), c.in);
    ASSERT_TRUE(m.run(vector_instruction(c.op)));
    EXPECT_EQ(m.word(0, 5), c.out) << mnemonic(c.op) << std::hex << " of " << c.in;
  }
}

TEST(ValuTranscendental, HalfPrecisionKeepsDenormals) {
  Machine m;
  m.fill(source_register(0), 0xcb00);  // -14
  ASSERT_TRUE(m.run(vector_instruction(Opcode::kVExpF16)));
  EXPECT_EQ(m.word(0, 0) & 0xffff, 0x0400U);
  m.fill(source_register(0), 0xcbc0);  // -15.5
  ASSERT_TRUE(m.run(vector_instruction(Opcode::kVExpF16)));
  EXPECT_EQ(m.word(0, 0) & 0xffff, 0x016aU);
  m.fill(source_register(0), 1);  // 2^-24
  ASSERT_TRUE(m.run(vector_instruction(Opcode::kVLogF16)));
  EXPECT_EQ(m.word(0, 0) & 0xffff, 0xce00U);
}

// 2 / pi in pieces of 53 bits adds up to it.
TEST(ValuTranscendental, TrigPreopGivesTheBitsOfTwoOverPi) {
  Machine m;
  const Instruction i = vector_instruction(Opcode::kVTrigPreopF64);
  for (uint32_t lane = 0; lane < kLanes; ++lane) {
    m.set_pair(source_register(0), lane, bits(1.0));
    m.word(source_register(1), lane) = lane;
  }
  ASSERT_TRUE(m.run(i));
  EXPECT_EQ(as_double(m.pair(0, 0)), 0x1.45f306dc9c882p-1);
  const long double sum =
      static_cast<long double>(as_double(m.pair(0, 0))) + as_double(m.pair(0, 1));
  EXPECT_NEAR(static_cast<double>(sum * 3.14159265358979323846264338327950288L - 2), 0, 1e-18);
  // Past the 1201 bits of the constant there is nothing.
  EXPECT_EQ(m.pair(0, 23), 0U);
}

}  // namespace
}  // namespace outboard::simulator::compute
