// Speed of the simulated compute units: wave32 instructions a second on kernels like those that
// decode a model.
//   simulator_bench [KERNEL] [SECONDS] [THREADS] [STRICT] [CACHES]
// STRICT and CACHES are on or off; what is left out is tried both ways.
// For each kernel: one and two threads, strict checks off and on, the cache model off and on.
// Results are compared with the host's before anything is timed.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "formats/quantize.h"
#include "hardware/amd/code_object.h"
#include "simulator/compute/host_memory.h"
#include "simulator/compute/valu/valu.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::simulator::compute {
namespace {

constexpr uint32_t kRows = 512, kRowsOfWorkgroup = 8, kThreads = 256;
constexpr uint32_t kBlocks = 128, kBlockSize = 32;  // a row of 4096 weights

struct Problem {
  std::string kernel;
  std::vector<uint32_t> weights;
  std::vector<std::byte> scales;
  std::vector<std::byte> x;
  std::vector<float> expected;
  double tolerance;  // relative to the largest result
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <typename T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  std::vector<std::byte> out(values.size() * sizeof(T));
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

Problem four_bit_problem(std::string kernel, bool interleaved) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 1);
  Problem p{std::move(kernel), {}, {}, {}, {}, 2e-3};
  const size_t columns = size_t{kBlocks} * kBlockSize;
  p.weights.resize(size_t{kRows} * columns / 8);
  for (uint32_t& word : p.weights) word = static_cast<uint32_t>(random());
  std::vector<uint16_t> scales(size_t{kRows} * kBlocks), x(columns);
  for (uint16_t& s : scales) s = formats::float_to_half(0.02F * std::abs(normal(random)));
  for (uint16_t& v : x) v = formats::float_to_half(normal(random));
  for (size_t row = 0; row < kRows; ++row) {
    double sum = 0;
    for (size_t column = 0; column < columns; ++column) {
      const size_t word = column / 8, k = column % 8;
      // matvec_f16 takes nibbles k and k + 4 of a word for a pair.
      const size_t nibble = interleaved ? k / 2 + 4 * (k % 2) : k;
      const int weight =
          static_cast<int>(p.weights[row * columns / 8 + word] >> (4 * nibble) & 15) - 8;
      sum +=
          weight *
          static_cast<double>(formats::half_to_float(scales[row * kBlocks + column / kBlockSize])) *
          formats::half_to_float(x[column]);
    }
    p.expected.push_back(static_cast<float>(sum));
  }
  p.scales = bytes_of(scales);
  p.x = bytes_of(x);
  return p;
}

Problem eight_bit_problem() {
  std::mt19937 random(2);
  Problem p{"matvec_dot4", {}, {}, {}, {}, 1e-5};
  const size_t columns = size_t{kBlocks} * kBlockSize;
  p.weights.resize(size_t{kRows} * columns / 4);
  for (uint32_t& word : p.weights) word = static_cast<uint32_t>(random());
  std::vector<int8_t> x(columns);
  for (int8_t& v : x) v = static_cast<int8_t>(random());
  std::vector<float> scales(size_t{kRows} * kBlocks);
  for (float& s : scales) s = static_cast<float>(random() % 1000) * 1e-5F;
  for (size_t row = 0; row < kRows; ++row) {
    double sum = 0;
    for (size_t column = 0; column < columns; ++column) {
      const uint32_t word = p.weights[(row * columns + column) / 4];
      const auto weight = static_cast<int8_t>(word >> (8 * (column % 4)));
      sum += static_cast<double>(weight * x[column]) *
             static_cast<double>(scales[row * kBlocks + column / kBlockSize]);
    }
    p.expected.push_back(static_cast<float>(sum));
  }
  p.scales = bytes_of(scales);
  p.x = bytes_of(x);
  return p;
}

struct Arguments {
  const void* weights;
  const void* scales;
  const void* x;
  float* y;
  uint32_t blocks;
};

// A launch that can be repeated.
struct Run {
  HostMemory memory;
  std::vector<float> y = std::vector<float>(kRows);
  Arguments arguments{};
  Dispatch dispatch;
};

void set_up(Run& run, const CodeObject& object, const Problem& p) {
  run.memory.allow_everything();
  run.memory.add_code(object.image.data(), object.image.size());
  run.arguments = {p.weights.data(), p.scales.data(), p.x.data(), run.y.data(), kBlocks};
  Launch launch;
  launch.image_address = reinterpret_cast<uint64_t>(object.image.data());
  launch.workgroups = {kRows / kRowsOfWorkgroup, 1, 1};
  launch.workgroup_size = {kThreads, 1, 1};
  launch.kernarg_address = reinterpret_cast<uint64_t>(&run.arguments);
  run.dispatch = make_dispatch(object.kernel(p.kernel), launch);
}

void check(const Run& run, const Problem& p) {
  float largest = 0;
  for (const float v : p.expected) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < kRows; ++i) {
    if (!(std::abs(run.y[i] - p.expected[i]) <= p.tolerance * largest)) {
      fail("{}: row {} is {}, the host says {}", p.kernel, i, run.y[i], p.expected[i]);
    }
  }
}

void report(const CodeObject& object, const Problem& p, Options options, double seconds) {
  Run run;
  set_up(run, object, p);
  ComputeUnits units(run.memory, options);
  const Result first = units.run(run.dispatch);
  if (first.stop != Stop::kDone) fail("{}: {}", p.kernel, first.message);
  if (units.violation_count() != 0) fail("{}: {}", p.kernel, units.violations()[0].text());
  check(run, p);
  double best = 1e9;
  const double begin = now();
  const uint64_t instructions = units.counters().instructions();
  do {
    const double start = now();
    units.run(run.dispatch);
    best = std::min(best, now() - start);
  } while (now() - begin < seconds);
  std::printf("%-12s %u thread%s  strict %-3s caches %-3s  %7.1f M instructions/s  (%llu)\n",
              p.kernel.c_str(), options.threads, options.threads == 1 ? " " : "s",
              options.strict ? "on" : "off", options.cache_model ? "on" : "off",
              static_cast<double>(instructions) / best / 1e6,
              static_cast<unsigned long long>(instructions));
  std::fflush(stdout);
}

int run_all(int count, char** values) {
  const std::string only = count > 1 ? values[1] : "";
  const double seconds = count > 2 ? std::atof(values[2]) : 1;
  const MappedFile file(OUTBOARD_BENCH_KERNELS);
  const CodeObject object = CodeObject::parse(file.bytes(), OUTBOARD_BENCH_KERNELS);
  std::printf("vector ALU: %s\n", valu_instruction_set());
  const auto wants = [&](int index, const std::string& value) {
    return count <= index || values[index] == value;
  };
  for (const Problem& p : {four_bit_problem("matvec_f16", true),
                           four_bit_problem("matvec_mix", false), eight_bit_problem()}) {
    if (!only.empty() && only != "all" && only != p.kernel) continue;
    for (const bool strict : {false, true}) {
      for (const bool caches : {false, true}) {
        for (const unsigned threads : {1U, 2U}) {
          if (!wants(3, std::to_string(threads)) || !wants(4, strict ? "on" : "off") ||
              !wants(5, caches ? "on" : "off")) {
            continue;
          }
          report(object, p, {.threads = threads, .strict = strict, .cache_model = caches}, seconds);
        }
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace outboard::simulator::compute

int main(int count, char** values) {
  try {
    return outboard::simulator::compute::run_all(count, values);
  } catch (const outboard::Error& e) {
    std::fprintf(stderr, "simulator_bench: %s\n", e.what());
    return 1;
  }
}
