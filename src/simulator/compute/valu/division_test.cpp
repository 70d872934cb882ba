// Divisions as LLVM expands them (AMDGPU, LowerFDIV32 and LowerFDIV64): by v_div_scale, v_rcp,
// Newton steps, v_div_fmas and v_div_fixup. The result must be the host's quotient, bit for bit.
#include <gtest/gtest.h>

#include <cmath>

#include "simulator/compute/valu/fixture.h"

namespace outboard::simulator::compute {
namespace {

using namespace test;

// A register of the program, with its sign turned if asked.
struct Reg {
  int number;
  bool negate = false;
};
Reg operator-(Reg r) { return {r.number, true}; }

// 32-bit or 64-bit registers v[2 n], instructions by name.
class Program {
 public:
  Program(Machine& machine, Type type)
      : m_(machine), type_(type), dwords_(type == Type::kF64 ? 2 : 1) {}

  Reg run(Opcode op, std::initializer_list<Reg> sources, uint16_t mask = code::kNull) {
    Instruction i = vector_instruction(op);
    const Reg out{next_};
    next_ += 2;
    i.destination[0] = vgpr(out.number, type_, dwords_);
    if (i.destinations == 2) i.destination[1] = sgpr(mask, Type::kMask);
    size_t n = 0;
    for (const Reg& r : sources) {
      i.source[n] = r.number < 0 ? constant(one(), type_, dwords_) : vgpr(r.number, type_, dwords_);
      i.source[n++].negate = r.negate;
    }
    EXPECT_TRUE(m_.run(i));
    return out;
  }
  static constexpr Reg kOne{-1};

 private:
  uint64_t one() const { return type_ == Type::kF64 ? bits(1.0) : bits(1.0F); }
  Machine& m_;
  Type type_;
  uint8_t dwords_;
  int next_ = 100;
};

// Numerator in v0, denominator in v2. Returns where the quotient is.
Reg divide32(Machine& m) {
  Program p(m, Type::kF32);
  const Reg n{0}, d{2};
  const Reg ds = p.run(Opcode::kVDivScaleF32, {d, d, n});
  const Reg ns = p.run(Opcode::kVDivScaleF32, {n, d, n}, code::kVccLo);
  const Reg rcp = p.run(Opcode::kVRcpF32, {ds});
  const Reg e0 = p.run(Opcode::kVFmaF32, {-ds, rcp, Program::kOne});
  const Reg r1 = p.run(Opcode::kVFmaF32, {e0, rcp, rcp});
  const Reg q = p.run(Opcode::kVMulF32, {ns, r1});
  const Reg e1 = p.run(Opcode::kVFmaF32, {-ds, q, ns});
  const Reg q1 = p.run(Opcode::kVFmaF32, {e1, r1, q});
  const Reg e2 = p.run(Opcode::kVFmaF32, {-ds, q1, ns});
  const Reg f = p.run(Opcode::kVDivFmasF32, {e2, r1, q1});
  return p.run(Opcode::kVDivFixupF32, {f, d, n});
}
Reg divide64(Machine& m) {
  Program p(m, Type::kF64);
  const Reg n{0}, d{2};
  const Reg ds = p.run(Opcode::kVDivScaleF64, {d, d, n});
  const Reg rcp = p.run(Opcode::kVRcpF64, {ds});
  const Reg e0 = p.run(Opcode::kVFmaF64, {-ds, rcp, Program::kOne});
  const Reg r1 = p.run(Opcode::kVFmaF64, {rcp, e0, rcp});
  const Reg e1 = p.run(Opcode::kVFmaF64, {-ds, r1, Program::kOne});
  const Reg ns = p.run(Opcode::kVDivScaleF64, {n, d, n}, code::kVccLo);
  const Reg r2 = p.run(Opcode::kVFmaF64, {r1, e1, r1});
  const Reg q = p.run(Opcode::kVMulF64, {ns, r2});
  const Reg e2 = p.run(Opcode::kVFmaF64, {-ds, q, ns});
  const Reg f = p.run(Opcode::kVDivFmasF64, {e2, r2, q});
  return p.run(Opcode::kVDivFixupF64, {f, d, n});
}

void check32(const std::vector<std::pair<uint32_t, uint32_t>>& pairs) {
  for (size_t first = 0; first < pairs.size(); first += kLanes) {
    Machine m;
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const auto& [n, d] = pairs[(first + lane) % pairs.size()];
      m.word(0, lane) = n;
      m.word(2, lane) = d;
    }
    const Reg q = divide32(m);
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const float n = as_float(m.word(0, lane)), d = as_float(m.word(2, lane));
      const float expected = n / d, got = as_float(m.word(q.number, lane));
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(got)) << n << " / " << d;
      } else {
        ASSERT_EQ(bits(got), bits(expected)) << std::hexfloat << n << " / " << d << " is " << got;
      }
    }
  }
}

TEST(ValuDivision, Float32IsRoundedCorrectly) {
  std::mt19937 random(1);
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  for (int i = 0; i < 100000; ++i) pairs.emplace_back(edge_word(random), edge_word(random));
  for (int i = 0; i < 100000; ++i) {
    pairs.emplace_back(static_cast<uint32_t>(random()), static_cast<uint32_t>(random()));
  }
  // Quotients around the smallest normal number and around the smallest denormal.
  for (int i = 0; i < 200000; ++i) {
    const uint32_t n = 1 + static_cast<uint32_t>(random()) % 250;
    const uint32_t limit = random() % 2 == 0 ? 126 : 149;
    const uint32_t d = n + limit - 2 + static_cast<uint32_t>(random()) % 5;
    if (d > 254) continue;
    pairs.emplace_back(n << 23 | (static_cast<uint32_t>(random()) & 0x7fffff),
                       d << 23 | (static_cast<uint32_t>(random()) & 0x7fffff));
  }
  check32(pairs);
}

TEST(ValuDivision, Float64IsRoundedCorrectly) {
  std::mt19937_64 random(2);
  constexpr uint64_t kFraction = 0x000fffffffffffff;
  constexpr uint64_t kEdges[] = {0,
                                 1,
                                 kFraction,
                                 kFraction + 1,
                                 0x3ff0000000000000,
                                 0x3fefffffffffffff,
                                 0x4000000000000000,
                                 0x7fefffffffffffff,
                                 0x7ff0000000000000,
                                 0x7ff8000000000000,
                                 0x7fe0000000000000,
                                 0x7fd0000000000000,
                                 0x0010000000000001,
                                 0x4330000000000001,
                                 0x0000000000000003};
  std::vector<std::pair<uint64_t, uint64_t>> pairs;
  for (const uint64_t n : kEdges) {
    for (const uint64_t d : kEdges) pairs.emplace_back(n, d | uint64_t{1} << 63);
  }
  for (int i = 0; i < 60000; ++i) pairs.emplace_back(random(), random());
  for (int i = 0; i < 120000; ++i) {
    const uint64_t n = 1 + random() % 1000;
    const uint64_t limit = random() % 2 == 0 ? 1022 : 1074;
    const uint64_t d = n + limit - 2 + random() % 5;
    if (d > 2046) continue;
    pairs.emplace_back(n << 52 | (random() & kFraction), d << 52 | (random() & kFraction));
  }
  for (size_t first = 0; first < pairs.size(); first += kLanes) {
    Machine m;
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const auto& [n, d] = pairs[(first + lane) % pairs.size()];
      m.set_pair(0, lane, n);
      m.set_pair(2, lane, d);
    }
    const Reg q = divide64(m);
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const double n = as_double(m.pair(0, lane)), d = as_double(m.pair(2, lane));
      const double expected = n / d, got = as_double(m.pair(q.number, lane));
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(got)) << n << " / " << d;
      } else {
        ASSERT_EQ(bits(got), bits(expected)) << std::hexfloat << n << " / " << d << " is " << got;
      }
    }
  }
}

}  // namespace
}  // namespace outboard::simulator::compute
