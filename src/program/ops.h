// What is known of each op beside its fields, for this room; everybody else asks program.h.
// All of it stands in ops.cpp, op after op: a new one is a struct in program.h, a line in OpKind
// and a block there; what it computes is the devices'.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "program/program.h"

namespace outboard::program {

// Where in a Program with an encoder or a drafter an op may stand. kDecoder: outside the encoder.
enum class Place : uint8_t { kAnywhere, kEncoder, kDecoder, kDrafter };
Place place_of(const OpKind& kind);

// The KV state that the op alone writes; kNone: it writes none, or one that may be written again.
StateId written_state(const OpKind& kind);

// The slot state that the op alone reads and writes; kNone: it has none.
SlotStateId slot_state_of(const OpKind& kind);

// Bytes of states that one token's op reads when its sequence has `context` positions.
size_t state_bytes_read(const Program& program, const OpKind& kind, int64_t context);

// " kv=0 heads=4", for the printer.
std::string attributes_of(const OpKind& kind);

}  // namespace outboard::program
