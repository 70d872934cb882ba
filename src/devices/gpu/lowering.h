// From a Program to launches: which ops one kernel does together, where values lie, what depends on
// what.
//
// Ops are lowered in order, but norms, activations, gates, additions and ropes wait until something
// needs them (which goes along with what: the tables in fusion.cpp): a matrix product takes its
// input's norm (and a residual addition before it) along, an attention its ropes and head norms. A
// layer of Llama becomes five launches when decoding: norm + q, k, v; attention with rope and KV
// write; output + residual; norm + gate, up
// + activation; down + residual. A mixture of experts makes three of the last two: norm + router
// + the choice; gate, up + activation; down + weighted sum + residual. Whatever is not taken along
// by another kernel gets one of its own, so every Program runs, if not as fast.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "devices/amd/stream.h"
#include "devices/device.h"
#include "devices/gpu/kernels/arguments.h"
#include "program/program.h"

namespace outboard::devices::gpu {

// What a stream is recorded for.
struct StreamShape {
  int tokens = 1;       // T
  int rows = 1;         // R, of logits; 0: none are wanted
  bool decode = false;  // every run has one token
  bool encode = false;  // of sources: the Program's encoder runs
  bool draft = false;   // the Program's drafter runs

  friend bool operator==(const StreamShape&, const StreamShape&) = default;
};

// A matrix product of at most this many rows uses the kernel `matvec`, one of more rows `matmul`.
constexpr int kMatvecRows = 8;
// Of so many rows and more `matmul_few`, if their columns do not fit into LDS: matvec would bring
// them again and again.
constexpr int kLeastFewRows = 4;

// Where weights lie on the card.
class WeightAddresses {
 public:
  virtual ~WeightAddresses() = default;
  virtual kernels::Matrix matrix(program::WeightId id) const = 0;
  virtual kernels::Ptr<const float> vector(program::WeightId id) const = 0;  // kNone: null
  virtual kernels::Ptr<const float> turns(const program::Rope& rope) const = 0;
};

// Memory that outlives a stream.
struct StreamMemory {
  kernels::BeginArgs begin;    // tokens and rows are filled in
  kernels::SampleArgs sample;  // step is filled in
  struct Pages {
    uint64_t memory = 0;  // [page][state]
    uint64_t bytes = 0;   // of one
  };
  std::array<Pages, 2> pages;  // by PageKind
  struct State {
    PageKind kind = PageKind::kFull;
    uint64_t keys = 0, values = 0;  // offsets into a page, bytes
  };
  std::vector<State> states;
  // A table that stays with the host (program::Embed::by_host): rows of a step's tokens, as they
  // lie in a file, in system memory, and where a stream takes them apart.
  struct HostTable {
    program::WeightId id;
    uint64_t blocks;       // [max_tokens] rows
    kernels::Matrix rows;  // [max_tokens, columns]
    uint64_t bytes;        // of its planes
    Range planes() const { return {rows.codes.address, bytes}; }
  };
  std::vector<HostTable> host_tables;
  const Pages& pages_of(const State& state) const { return pages[static_cast<size_t>(state.kind)]; }
  uint64_t slots = 0;                 // [slot][slot state], float32
  uint64_t slot_bytes = 0;            // a multiple of 16
  std::vector<uint64_t> slot_states;  // offsets into a slot, bytes
  uint64_t kept = 0;                  // [max_tokens] rows of the Program's width, where it drafts
  uint64_t counters = 0;              // counter_bytes(), zeros
  int context = 0;                    // positions of the longest sequence
  int compute_units = 0;  // that the card has: work is cut into parts that keep them busy
  uint64_t arena = 0;     // values that live within a step
};

// Bytes of what launches of steps of few tokens count their workgroups with: a number for each
// token and KV head.
uint64_t counter_bytes(const program::Program& program);

// Bytes of the arena that lower() needs for a shape.
uint64_t arena_bytes(const program::Program& program, const StreamShape& shape,
                     const WeightAddresses& weights, const StreamMemory& memory);

// Throws Error naming what the card has no kernel for.
Recorder lower(const program::Program& program, const StreamShape& shape,
               const WeightAddresses& weights, const StreamMemory& memory);

}  // namespace outboard::devices::gpu
