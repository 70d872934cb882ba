// Pieces of decode() that its files share.
#pragma once

#include <span>

#include "hardware/amd/rdna3/instruction.h"
#include "hardware/amd/rdna3/isa_tables.h"

namespace outboard::hardware::amd::rdna3 {

// The row of an opcode number; null when there is none.
const isa::Row* find_row(Format format, uint32_t number);
const isa::DualRow* find_dual_row(uint32_t number);

// Starts `out` as an instruction of this row: false when there is no row or a bit is set that must
// be zero. `bits` are the first two dwords.
bool begin(const isa::Row* row, Format format, uint64_t bits, Instruction& out);

// Reads the literal that follows when a source asks for one, or when `always`. False when it is
// missing.
bool finish_literal(std::span<const uint32_t> words, bool always, Instruction& out);

bool decode_vector_short(std::span<const uint32_t> words, uint64_t bits, Instruction& out);
bool decode_vop3(std::span<const uint32_t> words, uint64_t bits, Instruction& out);
bool decode_vop3p(std::span<const uint32_t> words, uint64_t bits, Instruction& out);
bool decode_vinterp(uint64_t bits, Instruction& out);
bool decode_vopd(std::span<const uint32_t> words, uint64_t bits, Instruction& out);
bool decode_ldsdir(uint64_t bits, Instruction& out);

bool decode_ds(uint64_t bits, Instruction& out);
bool decode_flat(uint64_t bits, Instruction& out);
bool decode_buffer(uint64_t bits, Instruction& out);
bool decode_image(std::span<const uint32_t> words, uint64_t bits, Instruction& out);
bool decode_export(uint64_t bits, Instruction& out);

}  // namespace outboard::hardware::amd::rdna3
