// Vector memory: what the ways of forming an address have in common.
#pragma once

#include <array>
#include <cstdint>

#include "simulator/compute/memory_ops.h"
#include "simulator/compute/wave.h"

namespace outboard::simulator::compute {

// Addresses of 32 lanes; those outside `mask` mean nothing.
struct LaneAddresses {
  alignas(64) std::array<uint64_t, 32> at;
  uint32_t mask = 0;
};

// Plain loads and stores, all lanes of `mask` at once: lane i's bytes lie at host + offset[i].
// Every lane has an offset, below 2^31, that may be read. What can_move() refuses goes lane by
// lane.
bool can_move(const MemoryOp& memory);
void move_lanes(Wave& wave, const MemoryOp& memory, int bank, std::byte* host,
                const uint32_t* offset, uint32_t mask, int data, int result);

// The usual case: lane i's bytes lie at base + offset[i], nobody watches, and one range of memory
// covers them all. False when it isn't that, with nothing done. Lanes outside `mask`, which is not
// 0, have any offset.
bool access_at_once(Wave& wave, const MemoryOp& memory, int bank, uint64_t base,
                    const uint32_t* offset, uint32_t mask, int data, int result);

// Lanes of `mask` load zero.
void load_zero(Wave& wave, const MemoryOp& memory, int bank, uint32_t mask, int result);

// Carries out `memory` for one bank of lanes. Lanes in `zero` load zero and store nothing (a buffer
// resource refused their address). data, result: first VGPR; result -1: nothing comes back.
void access_global(Wave& wave, const Op& op, const MemoryOp& memory, int bank,
                   const LaneAddresses& addresses, uint32_t zero, int data, int result);

// Scratch: byte offsets within each lane's own memory (LaneAddresses::at holds them).
void access_scratch(Wave& wave, const Op& op, const MemoryOp& memory, int bank,
                    const LaneAddresses& offsets, int data, int result);

// LDS at byte addresses; also the part of FLAT that falls into the LDS aperture.
void access_lds(Wave& wave, const Op& op, const MemoryOp& memory, int bank,
                const LaneAddresses& addresses, int data, int compare, int result);

// MUBUF and MTBUF (buffer.cpp).
bool prepare_buffer(Op& op, const Instruction& instruction);

// Puts what a lane loaded (up to 16 bytes) into its registers, and takes what it stores.
void put_loaded(Wave& wave, const MemoryOp& memory, int bank, int lane, int first,
                const std::array<uint32_t, 4>& data);
std::array<uint32_t, 4> take_stored(const Wave& wave, const MemoryOp& memory, int bank, int lane,
                                    int first);

}  // namespace outboard::simulator::compute
