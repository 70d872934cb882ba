// Scalar ALU. Meaning of each operation: AMD's RDNA3 ISA guide, sections 16.1 to 16.4.
#include <bit>
#include <cstring>
#include <iterator>
#include <string_view>
#include <type_traits>
#include <unordered_map>

#include "simulator/compute/handlers.h"

namespace outboard::simulator::compute {
namespace {

template <typename T>
constexpr int kBits = sizeof(T) * 8;

template <typename T>
T read(const Wave& wave, const Operand& operand) {
  if constexpr (sizeof(T) == 8) {
    return static_cast<T>(wave.read_scalar64(operand));
  } else {
    return static_cast<T>(wave.read_scalar(operand));
  }
}

template <typename T>
void write(Wave& wave, const Operand& operand, T value) {
  wave.write_sgpr(operand.code, static_cast<uint32_t>(value));
  if constexpr (sizeof(T) == 8) {
    // Null has no second half; M0 pairs do not exist.
    if (operand.code != code::kNull) {
      wave.write_sgpr(static_cast<uint16_t>(operand.code + 1),
                      static_cast<uint32_t>(static_cast<uint64_t>(value) >> 32));
    }
  }
}

// --- The same from the op itself, for operands that are registers or constants ---

// Places of operands in Op: the number of an SGPR, or that of a dword of the op that holds a
// constant.
constexpr uint16_t kConstantPlace = 0x8000, kPlaceNumber = 0xff;
// Takes what is written to null, one or two dwords; nothing reads it.
constexpr uint16_t kNowhere = 142;
static_assert(sizeof(Op::body) == 8 && sizeof(Op::body_y) == 8);

template <typename T>
T read_place(const Wave& wave, const Op& op, size_t index) {
  const uint16_t place = op.source[index];
  const auto* constants = reinterpret_cast<const uint32_t*>(&op.body);
  const uint32_t* from =
      ((place & kConstantPlace) != 0 ? constants : wave.sgpr.data()) + (place & kPlaceNumber);
  if constexpr (sizeof(T) == 8) {
    return static_cast<T>(from[0] | static_cast<uint64_t>(from[1]) << 32);
  } else {
    return static_cast<T>(from[0]);
  }
}

template <typename T>
void write_place(Wave& wave, const Op& op, T value) {
  uint32_t* to = wave.sgpr.data() + op.destination[0];
  to[0] = static_cast<uint32_t>(value);
  if constexpr (sizeof(T) == 8) to[1] = static_cast<uint32_t>(static_cast<uint64_t>(value) >> 32);
}

// Fills in places; false: some operand is special.
bool find_places(Op& op, const Instruction& i) {
  const void** constants[] = {&op.body, &op.body_y};
  for (size_t s = 0; s < i.sources; ++s) {
    const Operand& operand = i.source[s];
    if (s >= std::size(constants) || operand.dwords == 0 || operand.dwords > 2) return false;
    if (operand.constant) {
      op.source[s] = static_cast<uint16_t>(kConstantPlace | 2 * s);
      std::memcpy(static_cast<void*>(constants[s]), &operand.value, sizeof(operand.value));
    } else {
      // Pairs of null and M0 have no second half; beyond lie codes that are no registers.
      const uint16_t end = operand.dwords == 2 ? code::kNull : code::kZero;
      if (operand.code >= end && operand.code != code::kExecLo) return false;
      op.source[s] = operand.code;
    }
  }
  if (i.destinations == 0) return true;
  const uint16_t to = i.destination[0].code;
  op.destination[0] = to == code::kNull ? kNowhere : to;
  // Of wave32 the upper half of EXEC stays zero: see trim_exec.
  return i.destinations == 1 && to != code::kExecLo && to != code::kExecHi;
}

// Wave32 has no upper half of EXEC, whatever 64-bit operations write.
void trim_exec(Wave& wave) {
  if (!wave.wave64) wave.sgpr[code::kExecHi] = 0;
}

// --- One and two sources. F(wave, a, b) returns the result and may set wave.scc. ---

template <typename D, typename A, auto F>
void unary(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const A a = read<A>(wave, i.source[0]);
  write<D>(wave, i.destination[0], static_cast<D>(F(wave, a)));
  trim_exec(wave);
}

template <typename D, typename A, typename B, auto F>
void binary(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const A a = read<A>(wave, i.source[0]);
  const B b = read<B>(wave, i.source[1]);
  write<D>(wave, i.destination[0], static_cast<D>(F(wave, a, b)));
  trim_exec(wave);
}

template <typename A, typename B, auto F>
void compare(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  wave.scc = F(read<A>(wave, i.source[0]), read<B>(wave, i.source[1]));
}

template <typename D, typename A, auto F>
void unary_direct(Wave& wave, const Op& op) {
  write_place<D>(wave, op, static_cast<D>(F(wave, read_place<A>(wave, op, 0))));
}
template <typename D, typename A, typename B, auto F>
void binary_direct(Wave& wave, const Op& op) {
  const A a = read_place<A>(wave, op, 0);
  const B b = read_place<B>(wave, op, 1);
  write_place<D>(wave, op, static_cast<D>(F(wave, a, b)));
}
template <typename A, typename B, auto F>
void compare_direct(Wave& wave, const Op& op) {
  wave.scc = F(read_place<A>(wave, op, 0), read_place<B>(wave, op, 1));
}

// An operation's handler, and the one for operands that find_places() knows.
struct Entry {
  Handler run;
  Handler direct = nullptr;
};
template <typename D, typename A, auto F>
constexpr Entry kUnary{unary<D, A, F>, unary_direct<D, A, F>};
template <typename D, typename A, typename B, auto F>
constexpr Entry kBinary{binary<D, A, B, F>, binary_direct<D, A, B, F>};
template <typename A, typename B, auto F>
constexpr Entry kCompare{compare<A, B, F>, compare_direct<A, B, F>};

// With a 16-bit constant (SOPK): the first operand is the destination field.
template <typename A, typename K, auto F>
void compare_constant(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const uint16_t code = i.destinations != 0 ? i.destination[0].code : i.source[0].code;
  wave.scc = F(static_cast<A>(wave.sgpr[code]), static_cast<A>(static_cast<K>(i.simm16)));
}

template <typename T>
T nonzero(Wave& wave, T value) {
  wave.scc = value != 0;
  return value;
}

// --- Bit counting ---

template <typename T>
int32_t count_trailing(Wave&, T a) {
  return a == 0 ? -1 : std::countr_zero(a);
}
template <typename T>
int32_t count_leading(Wave&, T a) {
  return a == 0 ? -1 : std::countl_zero(a);
}
template <typename T>
int32_t count_sign(Wave&, T a) {  // leading bits equal to the sign; -1: all are
  const T folded = static_cast<T>(a >> (kBits<T> - 1)) != 0 ? static_cast<T>(~a) : a;
  return folded == 0 ? -1 : std::countl_zero(folded);
}
template <typename T>
T reverse(Wave&, T a) {
  T out = 0;
  for (int i = 0; i < kBits<T>; ++i) out = static_cast<T>(out << 1 | ((a >> i) & 1));
  return out;
}
template <typename T>
uint32_t count_zeros(Wave& w, T a) {
  return nonzero(w, static_cast<uint32_t>(std::popcount(static_cast<T>(~a))));
}
template <typename T>
uint32_t count_ones(Wave& w, T a) {
  return nonzero(w, static_cast<uint32_t>(std::popcount(a)));
}
template <typename T>
T quad_mask(Wave& w, T a) {
  T out = 0;
  for (int i = 0; i < kBits<T> / 4; ++i) out |= static_cast<T>(((a >> (i * 4)) & 0xf) != 0) << i;
  return nonzero(w, out);
}
template <typename T>
T whole_quad(Wave& w, T a) {
  T out = 0;
  for (int i = 0; i < kBits<T>; i += 4) {
    if (((a >> i) & 0xf) != 0) out |= static_cast<T>(0xf) << i;
  }
  return nonzero(w, out);
}
uint64_t replicate(Wave&, uint32_t a) {
  uint64_t out = 0;
  for (int i = 0; i < 32; ++i) out |= static_cast<uint64_t>((a >> i) & 1) * 3 << (2 * i);
  return out;
}
uint32_t absolute(Wave& w, uint32_t a) {
  return nonzero(w, static_cast<int32_t>(a) < 0 ? 0U - a : a);
}
template <typename T>
T same(Wave&, T a) {
  return a;
}
template <typename T>
T invert(Wave& w, T a) {
  return nonzero(w, static_cast<T>(~a));
}
int32_t extend8(Wave&, uint32_t a) { return static_cast<int8_t>(a); }
int32_t extend16(Wave&, uint32_t a) { return static_cast<int16_t>(a); }

// --- Arithmetic ---

uint32_t add_u(Wave& w, uint32_t a, uint32_t b) {
  const uint64_t sum = static_cast<uint64_t>(a) + b;
  w.scc = sum >> 32 != 0;
  return static_cast<uint32_t>(sum);
}
uint32_t sub_u(Wave& w, uint32_t a, uint32_t b) {
  w.scc = b > a;
  return a - b;
}
uint32_t add_i(Wave& w, uint32_t a, uint32_t b) {
  const uint32_t sum = a + b;
  w.scc = (~(a ^ b) & (a ^ sum)) >> 31 != 0;
  return sum;
}
uint32_t sub_i(Wave& w, uint32_t a, uint32_t b) {
  const uint32_t difference = a - b;
  w.scc = ((a ^ b) & (a ^ difference)) >> 31 != 0;
  return difference;
}
uint32_t add_carry(Wave& w, uint32_t a, uint32_t b) {
  const uint64_t sum = static_cast<uint64_t>(a) + b + (w.scc ? 1 : 0);
  w.scc = sum >> 32 != 0;
  return static_cast<uint32_t>(sum);
}
uint32_t sub_borrow(Wave& w, uint32_t a, uint32_t b) {
  const uint64_t take = static_cast<uint64_t>(b) + (w.scc ? 1 : 0);
  w.scc = take > a;
  return static_cast<uint32_t>(a - take);
}
uint32_t absolute_difference(Wave& w, uint32_t a, uint32_t b) {
  const uint32_t d = a - b;
  return nonzero(w, static_cast<int32_t>(d) < 0 ? 0U - d : d);
}
template <typename T>
T shift_left(Wave& w, T a, uint32_t b) {
  return nonzero(w, static_cast<T>(a << (b % kBits<T>)));
}
// Arithmetic when T is signed.
template <typename T>
T shift_right(Wave& w, T a, uint32_t b) {
  return nonzero(w, static_cast<T>(a >> (b % kBits<T>)));
}
template <int N>
uint32_t shift_add(Wave& w, uint32_t a, uint32_t b) {
  const uint64_t sum = (static_cast<uint64_t>(a) << N) + b;
  w.scc = sum >> 32 != 0;
  return static_cast<uint32_t>(sum);
}
template <typename T>
T minimum(Wave& w, T a, T b) {
  w.scc = a < b;
  return w.scc ? a : b;
}
template <typename T>
T maximum(Wave& w, T a, T b) {
  w.scc = a >= b;
  return w.scc ? a : b;
}
uint32_t multiply(Wave&, uint32_t a, uint32_t b) { return a * b; }
uint32_t multiply_high_u(Wave&, uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(static_cast<uint64_t>(a) * b >> 32);
}
uint32_t multiply_high_i(Wave&, int32_t a, int32_t b) {
  return static_cast<uint32_t>(static_cast<uint64_t>(static_cast<int64_t>(a) * b) >> 32);
}

// --- Logic ---

template <typename T>
struct Logic {
  static T both(T a, T b) { return a & b; }
  static T either(T a, T b) { return a | b; }
  static T differ(T a, T b) { return a ^ b; }
  static T not_both(T a, T b) { return static_cast<T>(~(a & b)); }
  static T neither(T a, T b) { return static_cast<T>(~(a | b)); }
  static T alike(T a, T b) { return static_cast<T>(~(a ^ b)); }
  static T and_not0(T a, T b) { return static_cast<T>(~a & b); }
  static T or_not0(T a, T b) { return static_cast<T>(~a | b); }
  static T and_not1(T a, T b) { return static_cast<T>(a & ~b); }
  static T or_not1(T a, T b) { return static_cast<T>(a | ~b); }
};
template <typename T, T (*F)(T, T)>
T logic(Wave& w, T a, T b) {
  return nonzero(w, F(a, b));
}

// S0 op EXEC becomes EXEC; the destination gets the old EXEC, or the new one (wrexec).
template <typename T, T (*F)(T, T), bool kOld>
void update_exec(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const T a = read<T>(wave, i.source[0]);
  const T before = static_cast<T>(wave.exec64());
  const T after = F(a, before);
  uint64_t exec = after;
  if constexpr (sizeof(T) == 4) {
    if (wave.wave64) exec |= wave.exec64() >> 32 << 32;
  }
  wave.set_exec(exec);
  write<T>(wave, i.destination[0], kOld ? before : after);
  wave.scc = after != 0;
}

// --- Bit fields ---

template <typename T, typename Signed>
T extract(Wave& w, T a, uint32_t b) {
  const int offset = static_cast<int>(b % kBits<T>);
  const int width = static_cast<int>(b >> 16 & 0x7f);
  if (width == 0) return nonzero(w, T{0});
  if constexpr (std::is_same_v<Signed, std::true_type>) {
    using S = std::make_signed_t<T>;
    const S shifted = static_cast<S>(static_cast<S>(a) >> offset);
    if (width >= kBits<T>) return nonzero(w, static_cast<T>(shifted));
    const int up = kBits<T> - width;
    return nonzero(w, static_cast<T>(static_cast<S>(static_cast<T>(shifted) << up) >> up));
  } else {
    const T shifted = static_cast<T>(a >> offset);
    if (width >= kBits<T>) return nonzero(w, shifted);
    return nonzero(w, static_cast<T>(shifted & ((T{1} << width) - 1)));
  }
}
template <typename T>
T field_mask(Wave&, uint32_t a, uint32_t b) {
  return static_cast<T>(((T{1} << (a % kBits<T>)) - 1) << (b % kBits<T>));
}
template <typename T, bool kSet>
void set_bit(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const T bit = T{1} << (wave.read_scalar(i.source[0]) % kBits<T>);
  const T old = read<T>(wave, i.destination[0]);
  write<T>(wave, i.destination[0], kSet ? old | bit : old & ~bit);
  trim_exec(wave);
}
template <typename T>
T select(Wave& w, T a, T b) {
  return w.scc ? a : b;
}
template <bool kHighA, bool kHighB>
uint32_t pack(Wave&, uint32_t a, uint32_t b) {
  return (kHighA ? a >> 16 : a & 0xffff) | (kHighB ? b & 0xffff0000 : b << 16);
}

// --- Moves ---

template <typename T>
void move_if(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  if (wave.scc) write<T>(wave, i.destination[0], read<T>(wave, i.source[0]));
  trim_exec(wave);
}
// Register numbers that M0 moves: outside the SGPRs nothing is read or written.
template <typename T>
uint16_t moved(const Operand& operand, uint32_t by) {
  const uint64_t number = static_cast<uint64_t>(operand.code) + by;
  constexpr uint64_t kSgprs = code::kVccHi + 1;
  return number + sizeof(T) / 4 <= kSgprs ? static_cast<uint16_t>(number) : code::kNull;
}
template <typename T>
void move_relative_source(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  Operand from = i.source[0];
  from.code = moved<T>(from, wave.sgpr[code::kM0]);
  write<T>(wave, i.destination[0], read<T>(wave, from));
}
template <typename T>
void move_relative_destination(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  Operand to = i.destination[0];
  to.code = moved<T>(to, wave.sgpr[code::kM0]);
  write<T>(wave, to, read<T>(wave, i.source[0]));
}
void move_relative_both(Wave& wave, const Op& op) {
  const Instruction& i = *op.instruction;
  const uint32_t m0 = wave.sgpr[code::kM0];
  Operand from = i.source[0];
  Operand to = i.destination[0];
  from.code = moved<uint32_t>(from, m0 & 0x3ff);
  to.code = moved<uint32_t>(to, m0 >> 16 & 0x3ff);
  write<uint32_t>(wave, to, wave.read_scalar(from));
}

// --- SOPK ---

uint32_t constant(const Op& op) {
  return static_cast<uint32_t>(static_cast<int16_t>(op.instruction->simm16));
}
void move_constant(Wave& wave, const Op& op) {
  write<uint32_t>(wave, op.instruction->destination[0], constant(op));
}
void move_constant_if(Wave& wave, const Op& op) {
  if (wave.scc) move_constant(wave, op);
}
void add_constant(Wave& wave, const Op& op) {
  const Operand& d = op.instruction->destination[0];
  write<uint32_t>(wave, d, add_i(wave, wave.sgpr[d.code], constant(op)));
}
void multiply_constant(Wave& wave, const Op& op) {
  const Operand& d = op.instruction->destination[0];
  write<uint32_t>(wave, d, wave.sgpr[d.code] * constant(op));
}

template <typename T>
struct Compare {
  static bool equal(T a, T b) { return a == b; }
  static bool differ(T a, T b) { return a != b; }
  static bool greater(T a, T b) { return a > b; }
  static bool at_least(T a, T b) { return a >= b; }
  static bool less(T a, T b) { return a < b; }
  static bool at_most(T a, T b) { return a <= b; }
};
template <typename T, bool kWanted>
bool bit_is(T a, uint32_t b) {
  return (((a >> (b % kBits<T>)) & 1) != 0) == kWanted;
}

using U = uint32_t;
using I = int32_t;
using U64 = uint64_t;
using I64 = int64_t;

template <typename T, T (*F)(T, T)>
constexpr Entry kLogic = kBinary<T, T, T, logic<T, F>>;

const std::unordered_map<std::string_view, Entry>& table() {
  static const std::unordered_map<std::string_view, Entry> handlers = {
      {"s_mov_b32", kUnary<U, U, same<U>>},
      {"s_mov_b64", kUnary<U64, U64, same<U64>>},
      {"s_cmov_b32", {move_if<U>}},
      {"s_cmov_b64", {move_if<U64>}},
      {"s_brev_b32", kUnary<U, U, reverse<U>>},
      {"s_brev_b64", kUnary<U64, U64, reverse<U64>>},
      {"s_ctz_i32_b32", kUnary<U, U, count_trailing<U>>},
      {"s_ctz_i32_b64", kUnary<U, U64, count_trailing<U64>>},
      {"s_clz_i32_u32", kUnary<U, U, count_leading<U>>},
      {"s_clz_i32_u64", kUnary<U, U64, count_leading<U64>>},
      {"s_cls_i32", kUnary<U, U, count_sign<U>>},
      {"s_cls_i32_i64", kUnary<U, U64, count_sign<U64>>},
      {"s_sext_i32_i8", kUnary<U, U, extend8>},
      {"s_sext_i32_i16", kUnary<U, U, extend16>},
      {"s_bitset0_b32", {set_bit<U, false>}},
      {"s_bitset0_b64", {set_bit<U64, false>}},
      {"s_bitset1_b32", {set_bit<U, true>}},
      {"s_bitset1_b64", {set_bit<U64, true>}},
      {"s_bitreplicate_b64_b32", kUnary<U64, U, replicate>},
      {"s_abs_i32", kUnary<U, U, absolute>},
      {"s_bcnt0_i32_b32", kUnary<U, U, count_zeros<U>>},
      {"s_bcnt0_i32_b64", kUnary<U, U64, count_zeros<U64>>},
      {"s_bcnt1_i32_b32", kUnary<U, U, count_ones<U>>},
      {"s_bcnt1_i32_b64", kUnary<U, U64, count_ones<U64>>},
      {"s_quadmask_b32", kUnary<U, U, quad_mask<U>>},
      {"s_quadmask_b64", kUnary<U64, U64, quad_mask<U64>>},
      {"s_wqm_b32", kUnary<U, U, whole_quad<U>>},
      {"s_wqm_b64", kUnary<U64, U64, whole_quad<U64>>},
      {"s_not_b32", kUnary<U, U, invert<U>>},
      {"s_not_b64", kUnary<U64, U64, invert<U64>>},
      {"s_and_saveexec_b32", {update_exec<U, Logic<U>::both, true>}},
      {"s_and_saveexec_b64", {update_exec<U64, Logic<U64>::both, true>}},
      {"s_or_saveexec_b32", {update_exec<U, Logic<U>::either, true>}},
      {"s_or_saveexec_b64", {update_exec<U64, Logic<U64>::either, true>}},
      {"s_xor_saveexec_b32", {update_exec<U, Logic<U>::differ, true>}},
      {"s_xor_saveexec_b64", {update_exec<U64, Logic<U64>::differ, true>}},
      {"s_nand_saveexec_b32", {update_exec<U, Logic<U>::not_both, true>}},
      {"s_nand_saveexec_b64", {update_exec<U64, Logic<U64>::not_both, true>}},
      {"s_nor_saveexec_b32", {update_exec<U, Logic<U>::neither, true>}},
      {"s_nor_saveexec_b64", {update_exec<U64, Logic<U64>::neither, true>}},
      {"s_xnor_saveexec_b32", {update_exec<U, Logic<U>::alike, true>}},
      {"s_xnor_saveexec_b64", {update_exec<U64, Logic<U64>::alike, true>}},
      {"s_and_not0_saveexec_b32", {update_exec<U, Logic<U>::and_not0, true>}},
      {"s_and_not0_saveexec_b64", {update_exec<U64, Logic<U64>::and_not0, true>}},
      {"s_or_not0_saveexec_b32", {update_exec<U, Logic<U>::or_not0, true>}},
      {"s_or_not0_saveexec_b64", {update_exec<U64, Logic<U64>::or_not0, true>}},
      {"s_and_not1_saveexec_b32", {update_exec<U, Logic<U>::and_not1, true>}},
      {"s_and_not1_saveexec_b64", {update_exec<U64, Logic<U64>::and_not1, true>}},
      {"s_or_not1_saveexec_b32", {update_exec<U, Logic<U>::or_not1, true>}},
      {"s_or_not1_saveexec_b64", {update_exec<U64, Logic<U64>::or_not1, true>}},
      {"s_and_not0_wrexec_b32", {update_exec<U, Logic<U>::and_not0, false>}},
      {"s_and_not0_wrexec_b64", {update_exec<U64, Logic<U64>::and_not0, false>}},
      {"s_and_not1_wrexec_b32", {update_exec<U, Logic<U>::and_not1, false>}},
      {"s_and_not1_wrexec_b64", {update_exec<U64, Logic<U64>::and_not1, false>}},
      {"s_movrels_b32", {move_relative_source<U>}},
      {"s_movrels_b64", {move_relative_source<U64>}},
      {"s_movreld_b32", {move_relative_destination<U>}},
      {"s_movreld_b64", {move_relative_destination<U64>}},
      {"s_movrelsd_2_b32", {move_relative_both}},

      {"s_add_u32", kBinary<U, U, U, add_u>},
      {"s_sub_u32", kBinary<U, U, U, sub_u>},
      {"s_add_i32", kBinary<U, U, U, add_i>},
      {"s_sub_i32", kBinary<U, U, U, sub_i>},
      {"s_addc_u32", kBinary<U, U, U, add_carry>},
      {"s_subb_u32", kBinary<U, U, U, sub_borrow>},
      {"s_absdiff_i32", kBinary<U, U, U, absolute_difference>},
      {"s_lshl_b32", kBinary<U, U, U, shift_left<U>>},
      {"s_lshl_b64", kBinary<U64, U64, U, shift_left<U64>>},
      {"s_lshr_b32", kBinary<U, U, U, shift_right<U>>},
      {"s_lshr_b64", kBinary<U64, U64, U, shift_right<U64>>},
      {"s_ashr_i32", kBinary<I, I, U, shift_right<I>>},
      {"s_ashr_i64", kBinary<I64, I64, U, shift_right<I64>>},
      {"s_lshl1_add_u32", kBinary<U, U, U, shift_add<1>>},
      {"s_lshl2_add_u32", kBinary<U, U, U, shift_add<2>>},
      {"s_lshl3_add_u32", kBinary<U, U, U, shift_add<3>>},
      {"s_lshl4_add_u32", kBinary<U, U, U, shift_add<4>>},
      {"s_min_i32", kBinary<I, I, I, minimum<I>>},
      {"s_min_u32", kBinary<U, U, U, minimum<U>>},
      {"s_max_i32", kBinary<I, I, I, maximum<I>>},
      {"s_max_u32", kBinary<U, U, U, maximum<U>>},
      {"s_and_b32", kLogic<U, Logic<U>::both>},
      {"s_and_b64", kLogic<U64, Logic<U64>::both>},
      {"s_or_b32", kLogic<U, Logic<U>::either>},
      {"s_or_b64", kLogic<U64, Logic<U64>::either>},
      {"s_xor_b32", kLogic<U, Logic<U>::differ>},
      {"s_xor_b64", kLogic<U64, Logic<U64>::differ>},
      {"s_nand_b32", kLogic<U, Logic<U>::not_both>},
      {"s_nand_b64", kLogic<U64, Logic<U64>::not_both>},
      {"s_nor_b32", kLogic<U, Logic<U>::neither>},
      {"s_nor_b64", kLogic<U64, Logic<U64>::neither>},
      {"s_xnor_b32", kLogic<U, Logic<U>::alike>},
      {"s_xnor_b64", kLogic<U64, Logic<U64>::alike>},
      {"s_and_not1_b32", kLogic<U, Logic<U>::and_not1>},
      {"s_and_not1_b64", kLogic<U64, Logic<U64>::and_not1>},
      {"s_or_not1_b32", kLogic<U, Logic<U>::or_not1>},
      {"s_or_not1_b64", kLogic<U64, Logic<U64>::or_not1>},
      {"s_bfe_u32", kBinary<U, U, U, extract<U, std::false_type>>},
      {"s_bfe_i32", kBinary<U, U, U, extract<U, std::true_type>>},
      {"s_bfe_u64", kBinary<U64, U64, U, extract<U64, std::false_type>>},
      {"s_bfe_i64", kBinary<U64, U64, U, extract<U64, std::true_type>>},
      {"s_bfm_b32", kBinary<U, U, U, field_mask<U>>},
      {"s_bfm_b64", kBinary<U64, U, U, field_mask<U64>>},
      {"s_mul_i32", kBinary<U, U, U, multiply>},
      {"s_mul_hi_u32", kBinary<U, U, U, multiply_high_u>},
      {"s_mul_hi_i32", kBinary<U, I, I, multiply_high_i>},
      {"s_cselect_b32", kBinary<U, U, U, select<U>>},
      {"s_cselect_b64", kBinary<U64, U64, U64, select<U64>>},
      {"s_pack_ll_b32_b16", kBinary<U, U, U, pack<false, false>>},
      {"s_pack_lh_b32_b16", kBinary<U, U, U, pack<false, true>>},
      {"s_pack_hh_b32_b16", kBinary<U, U, U, pack<true, true>>},
      {"s_pack_hl_b32_b16", kBinary<U, U, U, pack<true, false>>},

      {"s_cmp_eq_i32", kCompare<I, I, Compare<I>::equal>},
      {"s_cmp_lg_i32", kCompare<I, I, Compare<I>::differ>},
      {"s_cmp_gt_i32", kCompare<I, I, Compare<I>::greater>},
      {"s_cmp_ge_i32", kCompare<I, I, Compare<I>::at_least>},
      {"s_cmp_lt_i32", kCompare<I, I, Compare<I>::less>},
      {"s_cmp_le_i32", kCompare<I, I, Compare<I>::at_most>},
      {"s_cmp_eq_u32", kCompare<U, U, Compare<U>::equal>},
      {"s_cmp_lg_u32", kCompare<U, U, Compare<U>::differ>},
      {"s_cmp_gt_u32", kCompare<U, U, Compare<U>::greater>},
      {"s_cmp_ge_u32", kCompare<U, U, Compare<U>::at_least>},
      {"s_cmp_lt_u32", kCompare<U, U, Compare<U>::less>},
      {"s_cmp_le_u32", kCompare<U, U, Compare<U>::at_most>},
      {"s_cmp_eq_u64", kCompare<U64, U64, Compare<U64>::equal>},
      {"s_cmp_lg_u64", kCompare<U64, U64, Compare<U64>::differ>},
      {"s_bitcmp0_b32", kCompare<U, U, bit_is<U, false>>},
      {"s_bitcmp1_b32", kCompare<U, U, bit_is<U, true>>},
      {"s_bitcmp0_b64", kCompare<U64, U, bit_is<U64, false>>},
      {"s_bitcmp1_b64", kCompare<U64, U, bit_is<U64, true>>},

      {"s_movk_i32", {move_constant}},
      {"s_cmovk_i32", {move_constant_if}},
      {"s_addk_i32", {add_constant}},
      {"s_mulk_i32", {multiply_constant}},
      {"s_cmpk_eq_i32", {compare_constant<I, int16_t, Compare<I>::equal>}},
      {"s_cmpk_lg_i32", {compare_constant<I, int16_t, Compare<I>::differ>}},
      {"s_cmpk_gt_i32", {compare_constant<I, int16_t, Compare<I>::greater>}},
      {"s_cmpk_ge_i32", {compare_constant<I, int16_t, Compare<I>::at_least>}},
      {"s_cmpk_lt_i32", {compare_constant<I, int16_t, Compare<I>::less>}},
      {"s_cmpk_le_i32", {compare_constant<I, int16_t, Compare<I>::at_most>}},
      {"s_cmpk_eq_u32", {compare_constant<U, uint16_t, Compare<U>::equal>}},
      {"s_cmpk_lg_u32", {compare_constant<U, uint16_t, Compare<U>::differ>}},
      {"s_cmpk_gt_u32", {compare_constant<U, uint16_t, Compare<U>::greater>}},
      {"s_cmpk_ge_u32", {compare_constant<U, uint16_t, Compare<U>::at_least>}},
      {"s_cmpk_lt_u32", {compare_constant<U, uint16_t, Compare<U>::less>}},
      {"s_cmpk_le_u32", {compare_constant<U, uint16_t, Compare<U>::at_most>}},
  };
  return handlers;
}

}  // namespace

bool prepare_scalar(Op& op, const Instruction& instruction) {
  const auto found = table().find(mnemonic(instruction.op));
  if (found == table().end()) return false;
  const Entry& entry = found->second;
  op.run = entry.direct != nullptr && find_places(op, instruction) ? entry.direct : entry.run;
  op.type = Class::kSalu;
  op.flow = Flow::kOn;
  return true;
}

}  // namespace outboard::simulator::compute
