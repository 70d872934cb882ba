// What the files of valu/ share: the bodies' type, the traits of operations.def, and the tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "simulator/compute/isa.h"
#include "simulator/compute/wave.h"

namespace outboard::simulator::compute::valu {

// Computes 32 lanes: d = f(a, b, c). Pointers are to 32 words (a 64-bit operand: 32 low words, then
// 32 high ones; four dwords: alike), aligned to 64 bytes; d may be one of the sources. `extra`: a
// lane mask for operations that read one, else bits that follow below. Returns the lane mask of
// operations that make one, of all 32 lanes whether active or not.
using Body = uint32_t (*)(uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c,
                          uint32_t extra);

enum Trait : uint16_t {
  kMaskIn = 1,          // the last source is a lane mask
  kVccIn = 2,           // VCC is read as a lane mask
  kMaskOut = 4,         // makes a lane mask; a comparison makes nothing else
  kTranscendental = 8,  // counts as one; the host rounds to nearest
  kDot = 16,            // counts as one
  kWmma = 32,
  kNearest = 64,          // the host rounds to nearest whatever the mode
  kKeepsDenormals = 128,  // MODE.denorm does not matter
  kMix = 256,             // v_fma_mix
  kCompare = 512,
  kSignalingPasses = 1024,  // v_div_scale: operands are not quieted
};

// What a body may need to know besides its sources, in its last argument: a lane mask for those
// that read one, else these bits.
constexpr uint32_t kIeee = 1;       // MODE.IEEE: signaling NaNs are quieted
constexpr uint32_t kUpperBank = 2;  // lanes 32 to 63 of a wave64
// Of v_fma_mix, from bit kSelectShift + 8 n on: how source n is read.
constexpr int kSelectShift = 8;
constexpr uint32_t kMixHalf = 1, kMixUpper = 2, kMixAbsolute = 4, kMixNegate = 8;

constexpr int kVariants = 8, kClamped = 4;

struct Entry {
  Opcode op;
  uint8_t variant;
  Body body;
  Handler direct;  // see handlers.h
};
// Addresses, loads and stores of all 32 lanes at once. Registers as bodies see them. Lane i's bytes
// lie at base + a[i]; a[i] below 2^31.
struct LaneMemory {
  using Load = void (*)(uint32_t* to, const std::byte* base, const uint32_t* a);
  using Store = void (*)(std::byte* base, const uint32_t* a, const uint32_t* from, uint32_t mask);
  // 64-bit addresses: out[i] = high[i]:low[i] + offset, and base + low[i].
  void (*join)(uint64_t* out, const uint32_t* low, const uint32_t* high, uint64_t offset);
  void (*add)(uint64_t* out, const uint32_t* low, uint64_t base);
  void (*bounds)(const uint64_t* a, uint64_t* low, uint64_t* high);  // least and greatest
  void (*offsets)(uint32_t* out, const uint64_t* a, uint64_t low);   // out[i] = a[i] - low
  void (*offset_bounds)(const uint32_t* a, uint32_t* low, uint32_t* high);
  // Lanes outside the mask, which is not 0, get what a lane of it has.
  void (*stand_in)(uint32_t* out, const uint32_t* a, uint32_t mask);
  bool (*same)(const uint32_t* a, uint32_t mask);        // in all lanes of the mask
  uint32_t (*above)(const uint32_t* a, uint32_t limit);  // bit i: a[i] > limit
  // Bit n: some lane's bytes touch line n of 2^shift bytes, where line 0 begins at offset `low`
  // (modulo 2^32). Only for lanes within 64 lines.
  uint64_t (*lines)(const uint32_t* a, uint32_t low, uint32_t bytes, int shift);
  // ds_bpermute: lane i gets what lane (from[i] + offset) / 4 % 32 has, zero when that is not
  // active; lanes that are not active keep theirs.
  void (*permute)(uint32_t* out, const uint32_t* in, const uint32_t* from, uint32_t offset,
                  uint32_t active);
  Load load_u8, load_i8, load_u16, load_i16;
  Load load[4];  // of 1 to 4 dwords
  Store store[4];
};

// Of one set of instructions.
struct Table {
  const char* name;  // as in OUTBOARD_CPU
  std::span<const Entry> entries;
  Handler mixed, half, dual, dual_direct, swizzled;
  // d[i] = value[i] where the mask has a bit.
  void (*blend)(uint32_t* d, const uint32_t* value, uint32_t mask);
  // Op::modify applied to one operand.
  void (*modify)(uint32_t* out, const uint32_t* in, uint32_t how);
  void (*fill)(uint32_t* out, uint32_t value);
  // value[i] = its low half in one half of destination[i].
  void (*merge_half)(uint32_t* value, const uint32_t* destination, bool high);
  const LaneMemory* memory;
};

// Handles everything: wave64, other modes, DPP, clamp, omod.
void run_general(Wave& wave, const Op& op);
void run_general_dual(Wave& wave, const Op& op);
// A scalar source that is not just one SGPR.
uint64_t scalar_source(const Wave& wave, const Op& op, int index);

const Table& scalar_table();
#if defined(__x86_64__)
const Table& avx2_table();
const Table& avx512_table();
#elif defined(__aarch64__)
const Table& neon_table();
#endif

}  // namespace outboard::simulator::compute::valu
