#include "devices/cpu/kernels/kernels.h"

#include <cstdlib>
#include <span>
#include <string_view>

#include "devices/cpu/kernels/tables.h"
#include "formats/quantize.h"
#include "support/error.h"

namespace outboard::cpu {

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
    case TensorType::IQ4_NL:
    case TensorType::IQ4_XS:
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

std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> tables = {&scalar_kernels()};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c")) {
    tables.push_back(&avx2_kernels());
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni")) {
      tables.push_back(&avx512_kernels());
    }
  }
#elif defined(__aarch64__)
  tables.push_back(&neon_kernels());
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

}  // namespace outboard::cpu
