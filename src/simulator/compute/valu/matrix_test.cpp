// Dot products and matrices against plain sums.
#include <gtest/gtest.h>

#include "formats/quantize.h"
#include "simulator/compute/valu/fixture.h"

namespace outboard::simulator::compute {
namespace {

using namespace test;

constexpr int kA = 16, kB = 32, kC = 48;
constexpr uint32_t kSize = 16;

int32_t element(uint32_t word, int index, int width, bool is_signed) {
  const uint32_t x = word >> (index * width) & ((1U << width) - 1);
  const bool negative = is_signed && (x >> (width - 1) & 1) != 0;
  return negative ? static_cast<int32_t>(x) - (1 << width) : static_cast<int32_t>(x);
}

TEST(ValuDot, IntegersOfEverySign) {
  std::mt19937 random(1);
  for (const auto& [op, width] : {std::pair{Opcode::kVDot4I32Iu8, 8}, {Opcode::kVDot8I32Iu4, 4}}) {
    for (uint8_t signs = 0; signs < 4; ++signs) {
      for (const bool clamp : {false, true}) {
        Machine m;
        for (uint32_t lane = 0; lane < kLanes; ++lane) {
          m.word(kA, lane) = edge_word(random);
          m.word(kB, lane) = edge_word(random);
          m.word(kC, lane) = lane % 3 == 0 ? 0x7fffff00U + lane : static_cast<uint32_t>(random());
        }
        Instruction i = vector_instruction(op);
        i.neg_lo = signs;
        i.clamp = clamp;
        ASSERT_TRUE(m.run(i));
        for (uint32_t lane = 0; lane < kLanes; ++lane) {
          int64_t sum = static_cast<int32_t>(m.word(kC, lane));
          for (int k = 0; k < 32 / width; ++k) {
            sum += int64_t{element(m.word(kA, lane), k, width, (signs & 1) != 0)} *
                   element(m.word(kB, lane), k, width, (signs & 2) != 0);
          }
          if (clamp) sum = std::clamp<int64_t>(sum, INT32_MIN, INT32_MAX);
          EXPECT_EQ(m.word(0, lane), static_cast<uint32_t>(sum)) << mnemonic(op) << int{signs};
        }
      }
    }
  }
}

TEST(ValuDot, UnsignedSumsClampToTheirOwnRange) {
  Machine m;
  m.fill(kA, 0xffffffff);
  m.fill(kB, 0x01010101);
  m.fill(kC, 0xffffff00);
  Instruction i = vector_instruction(Opcode::kVDot4U32U8);
  ASSERT_TRUE(m.run(i));
  EXPECT_EQ(m.word(0, 0), 0xffffff00U + 4 * 255);
  i.clamp = true;
  ASSERT_TRUE(m.run(i));
  EXPECT_EQ(m.word(0, 0), 0xffffffffU);
}

// The low product first, each sum rounded to float32.
TEST(ValuDot, FloatsAddInOrder) {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(-2, 2);
  for (const bool bfloat : {false, true}) {
    Machine m;
    const auto encode = [&](float x) -> uint32_t {
      return bfloat ? bits(x) >> 16 : formats::float_to_half(x);
    };
    const auto decode_half = [&](uint32_t h) {
      return bfloat ? as_float(h << 16) : formats::half_to_float(static_cast<uint16_t>(h));
    };
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      m.word(kA, lane) = encode(uniform(random)) | encode(uniform(random)) << 16;
      m.word(kB, lane) = encode(uniform(random)) | encode(uniform(random)) << 16;
      m.word(kC, lane) = bits(uniform(random));
    }
    ASSERT_TRUE(m.run(vector_instruction(bfloat ? Opcode::kVDot2F32Bf16 : Opcode::kVDot2F32F16)));
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const uint32_t a = m.word(kA, lane), b = m.word(kB, lane);
      volatile float sum = as_float(m.word(kC, lane));
      sum = sum + decode_half(a & 0xffff) * decode_half(b & 0xffff);
      sum = sum + decode_half(a >> 16) * decode_half(b >> 16);
      EXPECT_EQ(m.word(0, lane), bits(sum));
    }
  }
}

// Matrices of small whole numbers, so that every order of summation gives the same.
struct Matrices {
  int a[kSize][kSize], b[kSize][kSize], c[kSize][kSize];
  int product(uint32_t row, uint32_t column) const {
    int sum = c[row][column];
    for (uint32_t k = 0; k < kSize; ++k) sum += a[row][k] * b[k][column];
    return sum;
  }
};
Matrices random_matrices(std::mt19937& random, int low, int high) {
  Matrices m;
  std::uniform_int_distribution<int> uniform(low, high);
  for (auto* matrix : {&m.a, &m.b, &m.c}) {
    for (auto& row : *matrix) {
      for (int& x : row) x = uniform(random);
    }
  }
  return m;
}

// A's row (B's column) `i` in lane i of every 16, elements of `width` bits from low to high.
void place_factor(Machine& m, int first, int width, const auto& value) {
  const int per_register = 32 / width;
  for (uint32_t lane = 0; lane < 2 * kLanes; ++lane) {
    for (int r = 0; r < static_cast<int>(kSize) / per_register; ++r) {
      uint32_t word = 0;
      for (int k = 0; k < per_register; ++k) {
        const uint32_t mask = width == 32 ? ~0U : (1U << width) - 1;
        word |= (value(lane % kSize, static_cast<uint32_t>(r * per_register + k)) & mask)
                << (k * width);
      }
      m.word(first + r, lane) = word;
    }
  }
}
// Where element (row, column) of C and D is (guide, 7.9): two rows a register, or four in wave64.
uint32_t& place_of(Machine& m, int first, uint32_t row, uint32_t column) {
  const uint32_t rows = m.wave.wave64 ? 4 : 2;
  return m.word(first + static_cast<int>(row / rows), row % rows * kSize + column);
}

TEST(ValuMatrix, FloatLayouts) {
  std::mt19937 random(3);
  for (const Opcode op : {Opcode::kVWmmaF32_16x16x16F16, Opcode::kVWmmaF32_16x16x16Bf16,
                          Opcode::kVWmmaF16_16x16x16F16, Opcode::kVWmmaBf16_16x16x16Bf16}) {
    const bool bfloat =
        op == Opcode::kVWmmaF32_16x16x16Bf16 || op == Opcode::kVWmmaBf16_16x16x16Bf16;
    const bool halves =
        op == Opcode::kVWmmaF16_16x16x16F16 || op == Opcode::kVWmmaBf16_16x16x16Bf16;
    const auto encode = [&](int x) -> uint32_t {
      return bfloat ? bits(static_cast<float>(x)) >> 16
                    : formats::float_to_half(static_cast<float>(x));
    };
    for (const bool wave64 : {false, true}) {
      for (const bool high : {false, true}) {
        if (high && !halves) continue;
        // bfloat16 holds whole numbers up to 256.
        const Matrices x = random_matrices(random, -3, 3);
        Machine m(wave64);
        m.wave.set_exec(0x1);  // does not matter
        place_factor(m, kA, 16, [&](uint32_t i, uint32_t k) { return encode(x.a[i][k]); });
        place_factor(m, kB, 16, [&](uint32_t j, uint32_t k) { return encode(x.b[k][j]); });
        for (int r = 0; r < 8; ++r) m.fill(r, 0x99999999);
        for (uint32_t row = 0; row < kSize; ++row) {
          for (uint32_t column = 0; column < kSize; ++column) {
            const int c = x.c[row][column];
            uint32_t& word = place_of(m, kC, row, column);
            word = !halves ? bits(static_cast<float>(c))
                   : high  ? encode(c) << 16 | 0x7777
                           : encode(c) | 0x77770000;
          }
        }
        Instruction i = vector_instruction(op);
        i.op_sel = high ? 4 : 0;
        ASSERT_TRUE(m.run(i));
        for (uint32_t row = 0; row < kSize; ++row) {
          for (uint32_t column = 0; column < kSize; ++column) {
            const int d = x.product(row, column);
            const uint32_t expected = !halves ? bits(static_cast<float>(d))
                                      : high  ? encode(d) << 16 | 0x9999
                                              : encode(d) | 0x99990000;
            ASSERT_EQ(place_of(m, 0, row, column), expected)
                << mnemonic(op) << " wave64 " << wave64 << " row " << row << " column " << column;
          }
        }
      }
    }
  }
}

TEST(ValuMatrix, IntegersOfEverySign) {
  std::mt19937 random(4);
  for (const int width : {8, 4}) {
    for (uint8_t signs = 0; signs < 4; ++signs) {
      const bool a_signed = (signs & 1) != 0, b_signed = (signs & 2) != 0;
      const int span = 1 << width;
      Matrices x = random_matrices(random, 0, span - 1);
      for (uint32_t i = 0; i < kSize; ++i) {
        for (uint32_t k = 0; k < kSize; ++k) {
          if (a_signed) x.a[i][k] -= span / 2;
          if (b_signed) x.b[i][k] -= span / 2;
        }
      }
      x.c[2][3] = INT32_MAX - 5;
      for (const bool clamp : {false, true}) {
        Machine m;
        place_factor(m, kA, width,
                     [&](uint32_t i, uint32_t k) { return static_cast<uint32_t>(x.a[i][k]); });
        place_factor(m, kB, width,
                     [&](uint32_t j, uint32_t k) { return static_cast<uint32_t>(x.b[k][j]); });
        for (uint32_t row = 0; row < kSize; ++row) {
          for (uint32_t column = 0; column < kSize; ++column) {
            place_of(m, kC, row, column) = static_cast<uint32_t>(x.c[row][column]);
          }
        }
        Instruction i = vector_instruction(width == 8 ? Opcode::kVWmmaI32_16x16x16Iu8
                                                      : Opcode::kVWmmaI32_16x16x16Iu4);
        i.neg_lo = signs;
        i.clamp = clamp;
        ASSERT_TRUE(m.run(i));
        for (uint32_t row = 0; row < kSize; ++row) {
          for (uint32_t column = 0; column < kSize; ++column) {
            int64_t sum = x.c[row][column];
            for (uint32_t k = 0; k < kSize; ++k) sum += int64_t{x.a[row][k]} * x.b[k][column];
            if (clamp) sum = std::clamp<int64_t>(sum, INT32_MIN, INT32_MAX);
            ASSERT_EQ(place_of(m, 0, row, column), static_cast<uint32_t>(sum))
                << width << " signs " << int{signs} << " row " << row << " column " << column;
          }
        }
      }
    }
  }
}

TEST(ValuMatrix, SignsOfFloatFactorsAndAnInlineC) {
  Machine m;
  place_factor(m, kA, 16, [](uint32_t, uint32_t k) { return k % 2 == 0 ? 0x3c00U : 0x4000U; });
  place_factor(m, kB, 16, [](uint32_t, uint32_t) { return 0x3c00U; });
  Instruction i = vector_instruction(Opcode::kVWmmaF32_16x16x16F16);
  i.source[2] = constant(bits(1.0F), Type::kWmma, 8);
  ASSERT_TRUE(m.run(i));
  EXPECT_EQ(as_float(place_of(m, 0, 5, 7)), 1 + 8 * 1 + 8 * 2);
  i.source[0].negate = true;  // even k
  ASSERT_TRUE(m.run(i));
  EXPECT_EQ(as_float(place_of(m, 0, 5, 7)), 1 - 8 * 1 + 8 * 2);
  i.source[0].negate_high = true;  // odd k too
  i.source[2].negate = true;
  ASSERT_TRUE(m.run(i));
  EXPECT_EQ(as_float(place_of(m, 0, 5, 7)), -1 - 8 * 1 - 8 * 2);
}

}  // namespace
}  // namespace outboard::simulator::compute
