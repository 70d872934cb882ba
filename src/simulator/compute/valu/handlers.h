// Handlers of the usual cases, compiled with the bodies so that operands are moved in vectors of
// the machine's width (a load of 64 bytes must not meet stores of 16). Everything unusual goes to
// run_general (valu_general.cpp).
#pragma once

#include "simulator/compute/valu/lane_memory.h"
#include "simulator/compute/valu/lanes.h"
#include "simulator/compute/valu/operands.h"
#include "simulator/compute/valu/operations.h"

namespace outboard::simulator::compute::valu {
namespace {

// Elements without calling std::array's functions (see lanes.h).
template <typename T, size_t kCount>
OUTBOARD_VALU_INLINE T* raw(std::array<T, kCount>& a) {
  return reinterpret_cast<T*>(&a);
}
template <typename T, size_t kCount>
OUTBOARD_VALU_INLINE const T* raw(const std::array<T, kCount>& a) {
  return reinterpret_cast<const T*>(&a);
}

// Round to nearest, keep denormals, IEEE: what compilers ask for. With clamp out of the way
// DX10_CLAMP does not matter.
OUTBOARD_VALU_INLINE bool usual_mode(const Wave& wave) {
  static_assert(sizeof(Mode) == 4);
  return wave.mode.round == 0 && wave.mode.denorm == 0xf && wave.mode.ieee && !wave.wave64;
}
OUTBOARD_VALU_INLINE uint32_t* registers(Wave& wave) {
  return reinterpret_cast<uint32_t*>(raw(wave.bank)[0]);
}
OUTBOARD_VALU_INLINE uint32_t* at(uint32_t* bank, uint16_t vgpr) {
  return bank + static_cast<size_t>(vgpr) * kLanes;
}
// A VGPR or a constant.
OUTBOARD_VALU_INLINE const uint32_t* direct(const uint32_t* bank, uint16_t place) {
  const uint32_t* base = (place & kConstantPlace) != 0 ? raw(constants.word) : bank;
  return base + static_cast<size_t>(place & kPlaceNumber) * kLanes;
}

OUTBOARD_VALU_INLINE Body body_of(const void* p) {
  return reinterpret_cast<Body>(reinterpret_cast<uintptr_t>(p));
}

OUTBOARD_VALU_INLINE void fill(uint32_t* out, uint32_t value) {
  for (int i = 0; i < kLanes; i += kWidth) store(out + i, VecU{} + value);
}

constexpr auto kBothStay = [](VecU x) { return x; };
constexpr auto kHighTwice = [](VecU x) { return x >> 16 | (x & 0xffff0000); };
constexpr auto kLowTwice = [](VecU x) { return x << 16 | (x & 0xffff); };
constexpr auto kExchange = [](VecU x) { return x << 16 | x >> 16; };

// F moves the halves of words.
template <auto F>
OUTBOARD_VALU_INLINE void modify_words(uint32_t* out, const uint32_t* in, uint32_t keep,
                                       uint32_t flip) {
  for (int i = 0; i < kLanes; i += kWidth) store(out + i, (F(load_word(in + i)) & keep) ^ flip);
}

OUTBOARD_VALU_INLINE void modify(uint32_t* out, const uint32_t* in, uint32_t how) {
  uint32_t keep = ~0U, flip = 0;
  if ((how & kAbsoluteLow) != 0) keep &= ~0x8000U;
  if ((how & kAbsoluteHigh) != 0) keep &= ~0x80000000U;
  if ((how & kNegateLow) != 0) flip |= 0x8000;
  if ((how & kNegateHigh) != 0) flip |= 0x80000000;
  if ((how & kSecondDword) != 0) {
    for (int i = 0; i < kLanes; i += kWidth) store(out + i, load_word(in + i));
    out += kLanes;
    in += kLanes;
  }
  switch (how & (kLowFromHigh | kHighFromLow)) {
    case 0:
      return modify_words<kBothStay>(out, in, keep, flip);
    case kLowFromHigh:
      return modify_words<kHighTwice>(out, in, keep, flip);
    case kHighFromLow:
      return modify_words<kLowTwice>(out, in, keep, flip);
    default:
      return modify_words<kExchange>(out, in, keep, flip);
  }
}

// A VGPR, a constant or an SGPR.
OUTBOARD_VALU_INLINE const uint32_t* operand(const Wave& wave, const uint32_t* bank, uint16_t place,
                                             uint32_t* buffer) {
  if ((place & kSgprPlace) == 0) return direct(bank, place);
  fill(buffer, raw(wave.sgpr)[place & kPlaceNumber]);
  return buffer;
}
OUTBOARD_VALU_INLINE const uint32_t* fetch(const Wave& wave, const Op& op, int index,
                                           const uint32_t* bank, uint32_t* buffer) {
  const uint16_t place = raw(op.source)[index];
  if ((place & kOperandPlace) == 0) return operand(wave, bank, place, buffer);
  const uint64_t value = scalar_source(wave, op, index);
  fill(buffer, static_cast<uint32_t>(value));
  fill(buffer + kLanes, static_cast<uint32_t>(value >> 32));
  return buffer;
}
OUTBOARD_VALU_INLINE const uint32_t* fetch_modified(const Wave& wave, const Op& op, int index,
                                                    const uint32_t* bank, uint32_t* buffer) {
  const uint32_t* p = fetch(wave, op, index, bank, buffer);
  if (raw(op.modify)[index] == 0) return p;
  modify(buffer, p, raw(op.modify)[index]);
  return buffer;
}

// v_fma_mix reads its sources by itself: Op::modify holds float16.h's kMix bits.
OUTBOARD_VALU_INLINE uint32_t mix_selector(const Op& op) {
  const uint8_t* how = raw(op.modify);
  return static_cast<uint32_t>(how[0] | how[1] << 8 | how[2] << 16) << kSelectShift;
}

// The lane mask among the sources; wave32.
OUTBOARD_VALU_INLINE uint32_t mask_source(const Wave& wave, uint16_t place) {
  return raw(wave.sgpr)[place & kPlaceNumber];
}
OUTBOARD_VALU_INLINE void write_mask(Wave& wave, uint16_t code, uint32_t mask) {
  if (code != code::kNull) raw(wave.sgpr)[code] = mask;
}
OUTBOARD_VALU_INLINE uint32_t execution(const Wave& wave) { return raw(wave.sgpr)[code::kExecLo]; }

// Words of 16 bits into one half of the destination's.
OUTBOARD_VALU_INLINE void into_half(uint32_t* value, const uint32_t* destination, bool high) {
  for (int i = 0; i < kLanes; i += kWidth) {
    const VecU old = load_word(destination + i), x = load_word(value + i);
    store(value + i, high ? (old & 0xffff) | x << 16 : (old & 0xffff0000) | (x & 0xffff));
  }
}
OUTBOARD_VALU_INLINE void copy(uint32_t* d, const uint32_t* s) {
  for (int i = 0; i < kLanes; i += kWidth) store(d + i, load_word(s + i));
}

// Any operands and a partial EXEC.
void run_mixed(Wave& wave, const Op& op) {
  if (!usual_mode(wave)) [[unlikely]] {
    run_general(wave, op);
    return;
  }
  uint32_t* bank = registers(wave);
  const uint32_t active = execution(wave);
  const uint32_t traits = op.valu_traits;
  alignas(64) uint32_t buffer[3][2 * kLanes];
  uint32_t extra = kIeee;
  const uint32_t *a, *b, *c = nullptr;
  if ((traits & kMix) != 0) {
    a = fetch(wave, op, 0, bank, buffer[0]);
    b = fetch(wave, op, 1, bank, buffer[1]);
    c = fetch(wave, op, 2, bank, buffer[2]);
    extra |= mix_selector(op);
  } else {
    a = fetch_modified(wave, op, 0, bank, buffer[0]);
    b = fetch_modified(wave, op, 1, bank, buffer[1]);
    if ((traits & kMaskIn) != 0) {
      extra = mask_source(wave, raw(op.source)[2]);
    } else {
      c = fetch_modified(wave, op, 2, bank, buffer[2]);
      if ((traits & kVccIn) != 0) extra = raw(wave.sgpr)[code::kVccLo];
    }
  }
  const Body body = body_of(op.body);
  if ((traits & kCompare) != 0) {
    write_mask(wave, raw(op.destination)[1], body(nullptr, a, b, c, extra) & active);
    return;
  }
  uint32_t* d = at(bank, raw(op.destination)[0]);
  const bool whole = (op.valu_flags & (kToLowHalf | kToHighHalf)) == 0;
  uint32_t mask;
  if (active == ~0U && whole) {
    mask = body(d, a, b, c, extra);
  } else {
    alignas(64) uint32_t result[kMaxDwords * kLanes];
    mask = body(result, a, b, c, extra);
    if (!whole) into_half(result, d, (op.valu_flags & kToHighHalf) != 0);
    const int dwords = op.valu_detail;
    for (int i = 0; i < dwords; ++i) {
      if (active == ~0U) {
        copy(d + kLanes * i, result + kLanes * i);
      } else {
        blend(d + kLanes * i, result + kLanes * i, active);
      }
    }
  }
  if ((traits & kMaskOut) != 0) write_mask(wave, raw(op.destination)[1], mask & active);
}

// As run_direct, but the result is a half of the destination's words.
void run_half(Wave& wave, const Op& op) {
  if (!usual_mode(wave) || execution(wave) != ~0U) [[unlikely]] {
    run_mixed(wave, op);
    return;
  }
  uint32_t* bank = registers(wave);
  const uint16_t* source = raw(op.source);
  uint32_t* d = at(bank, raw(op.destination)[0]);
  const bool mix = (op.valu_traits & kMix) != 0;
  alignas(64) uint32_t result[kLanes];
  body_of(op.body)(result, direct(bank, source[0]), direct(bank, source[1]),
                   direct(bank, source[2]), mix ? kIeee | mix_selector(op) : kIeee);
  into_half(result, d, (op.valu_flags & kToHighHalf) != 0);
  copy(d, result);
}

// Sources are VGPRs, constants and single SGPRs, the result is whole words, all lanes are active.
template <Body kBody, int kTraits>
void run_direct(Wave& wave, const Op& op) {
  if (!usual_mode(wave) || execution(wave) != ~0U) [[unlikely]] {
    run_mixed(wave, op);
    return;
  }
  uint32_t* bank = registers(wave);
  const uint16_t* source = raw(op.source);
  constexpr bool kThird = (kTraits & (kCompare | kMaskIn)) == 0;
  alignas(64) uint32_t buffer[3][kLanes];
  const uint32_t *a, *b, *c = nullptr;
  if ((op.valu_flags & kScalars) != 0) {
    a = operand(wave, bank, source[0], buffer[0]);
    b = operand(wave, bank, source[1], buffer[1]);
    if constexpr (kThird) c = operand(wave, bank, source[2], buffer[2]);
  } else {
    a = direct(bank, source[0]);
    b = direct(bank, source[1]);
    if constexpr (kThird) c = direct(bank, source[2]);
  }
  if constexpr ((kTraits & kCompare) != 0) {
    write_mask(wave, raw(op.destination)[1], kBody(nullptr, a, b, nullptr, kIeee));
  } else {
    uint32_t extra = kIeee;
    if constexpr ((kTraits & kMaskIn) != 0) {
      extra = mask_source(wave, source[2]);
    } else {
      if constexpr ((kTraits & kVccIn) != 0) extra = raw(wave.sgpr)[code::kVccLo];
      if constexpr ((kTraits & kMix) != 0) extra |= mix_selector(op);
    }
    const uint32_t mask = kBody(at(bank, raw(op.destination)[0]), a, b, c, extra);
    if constexpr ((kTraits & kMaskOut) != 0) write_mask(wave, raw(op.destination)[1], mask);
  }
}

// DPP with one dword of result and no masks, all lanes active.
void run_swizzled(Wave& wave, const Op& op) {
  if (!usual_mode(wave) || execution(wave) != ~0U) [[unlikely]] {
    run_general(wave, op);
    return;
  }
  const Swizzle& how = *static_cast<const Swizzle*>(op.body_y);
  uint32_t* bank = registers(wave);
  alignas(64) uint32_t first[kLanes], result[kLanes], buffer[2][2 * kLanes];
  permute(first, direct(bank, raw(op.source)[0]), raw(how.from), 0, ~0U);
  if (how.zero != 0) {
    fill(result, 0);
    blend(first, result, how.zero);
  }
  if (raw(op.modify)[0] != 0) modify(first, first, raw(op.modify)[0]);
  const uint32_t* b = fetch_modified(wave, op, 1, bank, buffer[0]);
  const uint32_t* c = fetch_modified(wave, op, 2, bank, buffer[1]);
  uint32_t* d = at(bank, raw(op.destination)[0]);
  if (how.disabled == 0) {
    body_of(op.body)(d, first, b, c, kIeee);
    return;
  }
  body_of(op.body)(result, first, b, c, kIeee);
  blend(d, result, ~how.disabled);
}

// Both halves of a VOPD read before either writes.
void run_dual(Wave& wave, const Op& op) {
  if (!usual_mode(wave)) [[unlikely]] {
    run_general_dual(wave, op);
    return;
  }
  uint32_t* bank = registers(wave);
  const uint32_t active = execution(wave);
  const uint16_t* source = raw(op.source);
  alignas(64) uint32_t buffer[6][2 * kLanes];
  const uint32_t* p[6];
  uint32_t extra[2] = {kIeee, kIeee};
  for (int half = 0; half < 2; ++half) {
    const int first = half * 3;
    p[first] = fetch(wave, op, first, bank, buffer[first]);
    p[first + 1] = fetch(wave, op, first + 1, bank, buffer[first + 1]);
    if ((op.valu_traits >> half & 1) != 0) {  // reads a mask
      extra[half] = mask_source(wave, source[first + 2]);
      p[first + 2] = nullptr;
    } else {
      p[first + 2] = fetch(wave, op, first + 2, bank, buffer[first + 2]);
    }
  }
  uint32_t* dx = at(bank, raw(op.destination)[0]);
  uint32_t* dy = at(bank, raw(op.destination)[1]);
  const Body body_x = body_of(op.body), body_y = body_of(op.body_y);
  if (active == ~0U && op.valu_detail == kXFirst) [[likely]] {
    body_x(dx, p[0], p[1], p[2], extra[0]);
    body_y(dy, p[3], p[4], p[5], extra[1]);
    return;
  }
  alignas(64) uint32_t x[kLanes], y[kLanes];
  body_x(x, p[0], p[1], p[2], extra[0]);
  body_y(y, p[3], p[4], p[5], extra[1]);
  if (active == ~0U) {
    copy(dx, x);
    copy(dy, y);
  } else {
    blend(dx, x, active);
    blend(dy, y, active);
  }
}

// As run_dual, but sources are VGPRs and constants, all lanes are active, and the X half may write
// before the Y half reads.
void run_dual_direct(Wave& wave, const Op& op) {
  if (!usual_mode(wave) || execution(wave) != ~0U) [[unlikely]] {
    run_dual(wave, op);
    return;
  }
  uint32_t* bank = registers(wave);
  const uint16_t* source = raw(op.source);
  body_of(op.body)(at(bank, raw(op.destination)[0]), direct(bank, source[0]),
                   direct(bank, source[1]), direct(bank, source[2]), kIeee);
  body_of(op.body_y)(at(bank, raw(op.destination)[1]), direct(bank, source[3]),
                     direct(bank, source[4]), direct(bank, source[5]), kIeee);
}

// For run_general, out of line.
void blend_lanes(uint32_t* d, const uint32_t* value, uint32_t mask) { blend(d, value, mask); }
void modify_lanes(uint32_t* out, const uint32_t* in, uint32_t how) { modify(out, in, how); }
void fill_lanes(uint32_t* out, uint32_t value) { fill(out, value); }
void merge_half(uint32_t* value, const uint32_t* destination, bool high) {
  into_half(value, destination, high);
}

}  // namespace
}  // namespace outboard::simulator::compute::valu
