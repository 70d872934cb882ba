// Speed of the CPU kernels with their bounds: memory for one token, arithmetic for many.
//   kernels_bench [THREADS] [TABLE] [TYPE]
// One token: GB/s of weights read (from memory: the weights are larger than the caches), beside the
// bandwidth measured in the same run. 512 tokens: thousand millions of multiply-adds a second, and
// what part that is of what the table's instructions for it can do on this machine.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "devices/cpu/kernels/kernels.h"
#include "formats/quantize.h"
#include "peak.h"
#include "support/thread_team.h"

namespace outboard::devices::cpu {
namespace {

using formats::TensorType;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Best of some runs that fill about half a second, in seconds.
template <typename Body>
double best_time(Body body) {
  double best = 1e9;
  const double start = now();
  int runs = 0;
  while (runs < 3 || now() - start < 0.5) {
    const double begin = now();
    body();
    best = std::min(best, now() - begin);
    ++runs;
  }
  return best;
}

class Buffer {
 public:
  explicit Buffer(size_t bytes) : bytes_(bytes + 64) {}
  std::byte* data() {
    return bytes_.data() + (64 - reinterpret_cast<uintptr_t>(bytes_.data()) % 64) % 64;
  }

 private:
  std::vector<std::byte> bytes_;
};

double bandwidth(ThreadTeam& team) {
  std::vector<uint64_t> memory((size_t{256} << 20) / 8, 1);
  std::vector<uint64_t> sums(static_cast<size_t>(team.size()));
  const size_t share = memory.size() / sums.size() / 8 * 8;
  const double seconds = best_time([&] {
    team.run([&](int thread) {
      const uint64_t* p = memory.data() + static_cast<size_t>(thread) * share;
      uint64_t a[8] = {};
      for (size_t i = 0; i < share; i += 8) {
        for (size_t k = 0; k < 8; ++k) a[k] ^= p[i + k];
      }
      sums[static_cast<size_t>(thread)] = a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
    });
  });
  volatile uint64_t keep = sums[0];
  (void)keep;
  return static_cast<double>(memory.size() * 8) / seconds / 1e9;
}

struct Peaks {
  double floats;
  double grouped;
};

struct Shape {
  int64_t rows;
  int64_t columns;
};

// Several matrices of a model's shapes, so many that they do not fit the caches.
void bench_linear(const Kernels& kernels, TensorType type, ThreadTeam& team, Shape shape,
                  int tokens, const Peaks& peaks) {
  const size_t one = formats::storage_bytes(type, shape.rows * shape.columns);
  const int copies = tokens > 16 ? 1 : static_cast<int>((size_t{160} << 20) / one) + 1;
  std::vector<std::byte> bytes(one * static_cast<size_t>(copies));
  uint32_t state = 1;
  for (std::byte& byte : bytes)
    byte = static_cast<std::byte>((state = state * 1664525 + 1013904223) >> 25);
  std::vector<float> x(static_cast<size_t>(tokens * shape.columns));
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (float& v : x) v = normal(random);
  const Packing packing = packing_for(type);
  Buffer packed(kernels.packed_row_bytes(packing, shape.columns) * static_cast<size_t>(tokens));
  std::vector<float> y(static_cast<size_t>(tokens * shape.rows));
  const size_t scratch_bytes = (kernels.linear_scratch_bytes(shape.columns) + 63) / 64 * 64;
  Buffer scratch(scratch_bytes * static_cast<size_t>(team.size()));
  const double seconds = best_time([&] {
    kernels.pack(packing, x.data(), shape.columns, tokens, shape.columns, packed.data());
    team.run([&](int thread) {
      for (int copy = 0; copy < copies; ++copy) {
        const Matrix w{type, shape.rows, shape.columns,
                       bytes.data() + one * static_cast<size_t>(copy)};
        const int64_t tiles = (shape.rows + kRowTile - 1) / kRowTile;
        const int64_t begin = tiles * thread / team.size() * kRowTile;
        const int64_t end = std::min(shape.rows, tiles * (thread + 1) / team.size() * kRowTile);
        kernels.linear(w, packed.data(), tokens, y.data(), shape.rows, begin, end, nullptr, false,
                       scratch.data() + scratch_bytes * static_cast<size_t>(thread));
      }
    });
  });
  const double gigabytes = static_cast<double>(bytes.size()) / seconds / 1e9;
  const double products =
      static_cast<double>(shape.rows * shape.columns) * copies * tokens / seconds / 1e9;
  std::printf("%-7s %-8s %6ld x %-5ld %4d tokens  %7.2f GB/s  %8.1f GMAC/s", kernels.name,
              std::string(formats::type_info(type).name).c_str(), static_cast<long>(shape.rows),
              static_cast<long>(shape.columns), tokens, gigabytes, products);
  const double peak = packing == Packing::kFloat ? peaks.floats : peaks.grouped;
  if (tokens > 16 && peak > 0) std::printf("  %3.0f%% of peak", products * 1e11 / peak);
  std::printf("\n");
  std::fflush(stdout);
}

void bench_attention(const Kernels& kernels, int tokens, int context) {
  constexpr int kDim = 64;
  constexpr int kGroupHeads = 3;
  std::vector<uint16_t> keys(static_cast<size_t>(context * kDim), 0x3000);
  std::vector<uint16_t> values(keys);
  std::vector<int32_t> pages(static_cast<size_t>(context / 64 + 1));
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<int32_t>(i);
  std::vector<float> q(static_cast<size_t>(tokens * kDim * kGroupHeads), 0.1F);
  std::vector<float> out(q);
  AttentionRun run;
  run.q = q.data();
  run.out = out.data();
  run.q_stride = run.out_stride = kDim * kGroupHeads;
  run.tokens = tokens;
  run.group = kGroupHeads;
  run.key_dim = run.value_dim = kDim;
  run.first_position = context - tokens;
  run.scale = 0.125F;
  run.keys = keys.data();
  run.values = values.data();
  run.pages = pages.data();
  run.key_page_stride = run.value_page_stride = 64 * kDim;
  run.page_tokens = 64;
  Buffer scratch(kernels.attention_scratch_bytes(kGroupHeads, kDim, kDim));
  const double seconds = best_time([&] { kernels.attention(run, scratch.data()); });
  std::printf("%-7s attention %4d tokens, context %5d: %9.1f us a KV head, 1 thread\n",
              kernels.name, tokens, context, seconds * 1e6);
}

void bench_rows(const Kernels& kernels) {
  std::vector<float> x(1536, 0.3F);
  std::vector<float> y(1536, 0.7F);
  constexpr int kRuns = 1000;
  const auto show = [&](const char* name, auto body) {
    const double seconds = best_time([&] {
      for (int i = 0; i < kRuns; ++i) body();
    });
    std::printf("%-7s %-12s 1536 floats: %8.1f ns\n", kernels.name, name, seconds / kRuns * 1e9);
  };
  std::vector<float> out(1536);
  Buffer packed(kernels.packed_row_bytes(Packing::kGrouped, 1536));
  show("rms_norm", [&] { kernels.rms_norm(x.data(), y.data(), 1e-5F, 1536, out.data()); });
  show("gate silu", [&] { kernels.gate(Unary::kSilu, x.data(), y.data(), 1536, out.data()); });
  show("gate gelu", [&] { kernels.gate(Unary::kGeluTanh, x.data(), y.data(), 1536, out.data()); });
  show("pack", [&] { kernels.pack(Packing::kGrouped, x.data(), 1536, 1, 1536, packed.data()); });
}

int run(int argc, char** argv) {
  ThreadTeam team(argc > 1 ? std::atoi(argv[1]) : 0);
  const std::string_view table = argc > 2 ? argv[2] : best_kernels().name;
  const std::string_view only = argc > 3 ? argv[3] : "";
  std::printf("%d threads, %.1f GB/s read from memory\n", team.size(), bandwidth(team));
  for (const Kernels* kernels : available_kernels()) {
    if (table != kernels->name) continue;
    const Peaks peaks{peak_rate(table, Packing::kFloat, team),
                      peak_rate(table, Packing::kGrouped, team)};
    if (peaks.floats > 0) {
      std::printf("%-7s peak: %.1f GMAC/s of floats, %.1f of weights by 16 bits\n", kernels->name,
                  peaks.floats / 1e9, peaks.grouped / 1e9);
    }
    for (const TensorType type :
         {TensorType::Q4_0,  TensorType::Q4_1,    TensorType::Q5_0,    TensorType::Q5_1,
          TensorType::Q8_0,  TensorType::Q2_K,    TensorType::Q3_K,    TensorType::Q4_K,
          TensorType::Q5_K,  TensorType::Q6_K,    TensorType::IQ4_NL,  TensorType::IQ4_XS,
          TensorType::MXFP4, TensorType::F16,     TensorType::BF16,    TensorType::F32,
          TensorType::IQ1_S, TensorType::IQ1_M,   TensorType::IQ2_XXS, TensorType::IQ2_XS,
          TensorType::IQ2_S, TensorType::IQ3_XXS, TensorType::IQ3_S,   TensorType::TQ1_0,
          TensorType::TQ2_0}) {
      const std::string_view name = formats::type_info(type).name;
      if (!only.empty() && only != name) continue;
      const bool wide = formats::type_info(type).block_elements == 256;
      for (const int tokens : {1, 4, 16, 512}) {
        if (!wide) bench_linear(*kernels, type, team, {1536, 576}, tokens, peaks);
        if (wide || tokens == 1 || tokens == 512) {
          bench_linear(*kernels, type, team, {576, 1536}, tokens, peaks);
        }
      }
    }
    if (only.empty() || only == "rows") {
      for (const int context : {512, 4096}) {
        bench_attention(*kernels, 1, context);
        bench_attention(*kernels, 512, context);
      }
      bench_rows(*kernels);
    }
  }
  return 0;
}

}  // namespace
}  // namespace outboard::devices::cpu

int main(int argc, char** argv) { return outboard::devices::cpu::run(argc, argv); }
