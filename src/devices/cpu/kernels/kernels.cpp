#include "devices/cpu/kernels/kernels.h"

#include <cstdlib>
#include <span>
#include <string_view>

#include "devices/cpu/kernels/tables.h"
#include "formats/quantize.h"
#include "support/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace outboard::devices::cpu {

using formats::TensorType;

Packing packing_for(TensorType weight, bool byte_inputs) {
  switch (weight) {
    case TensorType::Q4_0:
    case TensorType::Q4_1:
    case TensorType::Q5_0:
    case TensorType::Q5_1:
    case TensorType::Q8_0:
    case TensorType::Q4_K:
    case TensorType::Q5_K:
    case TensorType::Q6_K:
    case TensorType::Q2_K:
    case TensorType::Q3_K:
    case TensorType::Q8_K:
    case TensorType::IQ1_S:
    case TensorType::IQ1_M:
    case TensorType::IQ2_XXS:
    case TensorType::IQ2_XS:
    case TensorType::IQ2_S:
    case TensorType::IQ3_XXS:
    case TensorType::IQ3_S:
    case TensorType::IQ4_NL:
    case TensorType::IQ4_XS:
    case TensorType::TQ1_0:
    case TensorType::TQ2_0:
    case TensorType::MXFP4:
      return byte_inputs ? Packing::kGroupedBytes : Packing::kGrouped;
    default:
      return Packing::kFloat;
  }
}

bool has_linear(TensorType weight) {
  switch (weight) {
    case TensorType::I8:
    case TensorType::I16:
    case TensorType::I32:
    case TensorType::I64:
    case TensorType::F64:
    case TensorType::Q8_1:  // an activation format; files do not hold it
      return false;
    default:
      return true;
  }
}

BlockShape block_shape(TensorType type) {
  const formats::TypeInfo& info = formats::type_info(type);
  return {info.block_elements, info.block_bytes};
}

void decode(TensorType type, const std::byte* blocks, int64_t elements, float* out) {
  formats::dequantize(type, blocks, std::span<float>(out, static_cast<size_t>(elements)));
}

namespace {

#if defined(__x86_64__)
// The compilers' own test does not know this bit everywhere. That the system keeps the registers of
// AVX is what the test for AVX2 asks.
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & (1U << 4)) != 0;
}
#elif defined(__aarch64__) && defined(__linux__)
bool has_dotprod() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
bool has_i8mm() { return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }
#elif defined(__aarch64__) && defined(__APPLE__)
bool has(const char* feature) {
  int value = 0;
  size_t bytes = sizeof(value);
  return sysctlbyname(feature, &value, &bytes, nullptr, 0) == 0 && value != 0;
}
bool has_dotprod() { return has("hw.optional.arm.FEAT_DotProd"); }
bool has_i8mm() { return has("hw.optional.arm.FEAT_I8MM"); }
#elif defined(__aarch64__)
bool has_dotprod() { return false; }
bool has_i8mm() { return false; }
#endif

}  // namespace

std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> tables = {&scalar_kernels()};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c")) {
    tables.push_back(&avx2_kernels());
    if (has_avx_vnni()) tables.push_back(&avxvnni_kernels());
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni")) {
      tables.push_back(&avx512_kernels());
      if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("gfni"))
        tables.push_back(&avx512vbmi_kernels());
    }
  }
#elif defined(__aarch64__)
  tables.push_back(&neon_kernels());
  if (has_dotprod()) {
    tables.push_back(&dotprod_kernels());
    if (has_i8mm()) tables.push_back(&i8mm_kernels());
  }
#endif
  return tables;
}

namespace {

const Kernels& choose() {
  const std::vector<const Kernels*> tables = available_kernels();
  const char* forced = std::getenv("OUTBOARD_CPU");
  if (forced == nullptr || *forced == '\0') return *tables.back();
  std::string names;
  for (const Kernels* table : tables) {
    if (std::string_view(table->name) == forced) return *table;
    names += names.empty() ? "" : ", ";
    names += table->name;
  }
  throw Error(fmt::format("environment: OUTBOARD_CPU: this processor has no kernels named \"{}\", "
                          "expected one of: {}",
                          forced, names),
              "Unset OUTBOARD_CPU to use the best ones.");
}

}  // namespace

const Kernels& best_kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace outboard::devices::cpu
