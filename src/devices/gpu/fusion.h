// Rows of the tables of fusions (fusion.cpp): which op goes along with a launch that is being put
// together, and when. For lowering*.cpp alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <variant>

#include "program/program.h"

namespace outboard::devices::gpu {

class Lowerer;

// The number of an op's struct among the alternatives of OpKind.
template <typename Op, typename... Ops>
constexpr size_t index_among(const std::variant<Ops...>* /*kinds*/) {
  size_t i = 0;
  static_cast<void>(((std::is_same_v<Op, Ops> ? true : (++i, false)) || ...));
  return i;
}
template <typename Op>
constexpr size_t kKind = index_among<Op>(static_cast<const program::OpKind*>(nullptr));

// What a launch does beside its own work. Each at most once.
enum class Part : uint32_t {
  kNorm = 1,             // of the row that it reads
  kRows = 2,             // reads the selected rows only
  kSum = 4,              // reads the sum of two rows
  kSource = 8,           // computes the row that it reads
  kRope = 16,            // of a query or key
  kHeadNorm = 32,        // of a query or key, before its rope
  kStore = 64,           // changes what it stores
  kPositionScale = 128,  // of a query
  kNormAfter = 256,      // of a query or key, after its rope
  kStateNorm = 512,      // of what a head's state gave
};
constexpr uint32_t bit(Part part) { return static_cast<uint32_t>(part); }

// An op becomes a part of a launch. Target: the launch while it is put together; it says how far
// the op was reached, and which parts it has.
template <typename Target>
struct Fusion {
  size_t op;  // kKind
  Part part;
  uint32_t behind;  // the parts that may lie between the launch and this op
  bool (Lowerer::*when)(const Target& target) const;  // null: always
  void (Lowerer::*take)(Target& target);              // the op becomes part of it
};

// An op with launches of its own, made where it stands in the Program.
struct Standing {
  size_t op;  // kKind
  void (Lowerer::*lower)(const program::OpKind& kind, program::ValueId out);
  bool takes_norm;  // its launches make the norm of their input themselves
};

}  // namespace outboard::devices::gpu
