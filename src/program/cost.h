// What running a Program costs, counted from its ops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "program/program.h"

namespace outboard::program {

// Elements of all weights.
int64_t parameters(const Program& program);

// Bytes of weights that a token of one of so many sequences reads that decode together: its share
// of whole matrices, one row of embedding tables, its share of the experts that any of them chooses
// (as many as when each expert is as likely as the others).
size_t weight_bytes_per_token(const Program& program, int sequences = 1);

// The tables that a device with memory of its own leaves to the host (Embed::by_host), each once,
// and their bytes.
std::vector<WeightId> host_tables(const Program& program);
size_t host_table_bytes(const Program& program);

// Bytes of states that a token at position `context` reads: keys and values (layers with a sliding
// window read no more than that), and slot states whole.
size_t state_bytes_read(const Program& program, int64_t context);

}  // namespace outboard::program
