// What is publicly known of the times of an RX 7900 XTX (Navi 31). Where a figure was measured its
// source stands beside it; where none was found the three cases span what seems possible.
#pragma once

#include <array>
#include <cstddef>

namespace outboard::simulator::compute {

// The three cases of everything that is modelled: all figures as good as they may be, as they
// likely are, as bad as they may be.
enum Case : size_t { kBest, kLikely, kWorst };
inline constexpr size_t kCases = 3;
using OfCases = std::array<double, kCases>;

// Hz; AMD's game clock, that of every figure here.
inline constexpr double kClock = 2.3e9;

struct Timing {
  // Seconds from a request to its answer, with nobody else there.
  // Infinity Cache: 199 ns for vectors and 161 for scalars while the fabric saves power, 150 and
  // 128 while it doesn't (Chips and Cheese, "Latency Testing is Hard (RDNA 3 Power Saving)", 2023).
  OfCases vector_infinity{150e-9, 175e-9, 199e-9};
  OfCases scalar_infinity{128e-9, 145e-9, 161e-9};
  // VRAM: no figure in text was found (the same authors show curves); an RX 7600's is 15% less
  // (Tom's Hardware, 2023).
  OfCases vector_vram{250e-9, 350e-9, 500e-9};
  OfCases scalar_vram{230e-9, 320e-9, 460e-9};
  // Caches of the shader's clock: assumed around the curves of "Microbenchmarking AMD's RDNA 3".
  OfCases vector_second{80e-9, 100e-9, 130e-9};
  OfCases scalar_second{50e-9, 70e-9, 90e-9};
  OfCases vector_first{35e-9, 45e-9, 55e-9};
  OfCases scalar_first{15e-9, 20e-9, 25e-9};
  OfCases lds{26e-9, 30e-9, 40e-9};
  // System memory over the link, of a tunnel.
  OfCases system{1e-6, 3e-6, 5e-6};
  // Clocks from an instruction to the next of the same wave, with the dependences of real code; one
  // that depends on its neighbour waits five (LLVM, SISchedule.td, gfx11).
  OfCases clocks_an_instruction{1, 1.5, 3};
  // Hz. AMD: game clock 2.3 GHz, boost 2.5. kBest of the card in use.
  OfCases clock_factor{2.5 / 2.3, 1, 1};

  // Bytes a second, as a fraction of what VRAM could at best. Copies on the device: 636 to 650 GB/s
  // of 960, 68%, with the drivers of 2023 (ROCm issue 2253). Whole decodes, gaps and all: 69%
  // (llama.cpp issue 20934, Vulkan), 73% (hipfire's benchmarks): so more while bytes flow.
  OfCases vram_fraction{0.92, 0.85, 0.75};
  // AMD's product page gives 3,500 GB/s as "effective", what hits and VRAM come to.
  OfCases infinity_bytes_per_second{3.5e12, 2.5e12, 2.0e12};
  // GL2: not published; bytes a clock. At most what the fan-out links behind it carry (5.3 TB/s,
  // AMD's slides), at least what an RDNA 2 chip of 16 slices of 64 bytes has.
  OfCases second_level_bytes_per_clock{2304, 1536, 1024};
  double lds_bytes_per_clock = 128;         // a compute unit; RDNA 3 guide
  double first_level_bytes_per_clock = 64;  // into a compute unit (RDNA whitepaper)

  // Seconds from the end of a launch to the first instruction of the next that waits for it. In
  // bursts 3.2 us a launch by HIP, 4.0 by AQL packets (hipfire's notes, 7900 XTX), an empty kernel
  // included. Of PM4 in an indirect buffer no figure was found.
  OfCases gap{1.5e-6, 2.5e-6, 4e-6};
  // The same where nothing is waited for.
  OfCases next{0.3e-6, 0.6e-6, 1.2e-6};
};
inline constexpr Timing kTiming;

}  // namespace outboard::simulator::compute
