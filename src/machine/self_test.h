// Does this card compute right? Run after every cold boot: garbled answers are a known complaint
// about this very hardware, and a wrong card must not answer.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "devices/amd/amd_device.h"

namespace outboard::machine {

namespace amd = devices::amd;

// Each throws Error saying what was expected and what came back.
// A pattern of 20 MiB, there and back: more than the upload window, so that copies are queued
// behind one another.
void test_memory(amd::AmdDevice& device);
// A product with a Q4_K matrix and one with many rows (WMMA), against the host.
void test_products(amd::AmdDevice& device);
// Logits and tokens of a tiny model made on the spot, against the CPU.
void test_decode(amd::AmdDevice& device);

// All of them, in that order. Errors name the part.
void self_test(amd::AmdDevice& device);

}  // namespace outboard::machine
