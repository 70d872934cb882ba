// A whole model written to a GGUF file in another mix of types.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "formats/importance.h"
#include "formats/model_file.h"

namespace outboard::formats {

// The mixes of llama.cpp's quantize tool; values are general.file_type's numbers. _S, _M and _L
// give some tensors more bits than others, each more of them than the one before.
enum class Mix : uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q8_0 = 7,
  Q5_0 = 8,
  Q5_1 = 9,
  Q2_K = 10,
  Q3_K_S = 11,
  Q3_K_M = 12,
  Q3_K_L = 13,
  Q4_K_S = 14,
  Q4_K_M = 15,
  Q5_K_S = 16,
  Q5_K_M = 17,
  Q6_K = 18,
  Q2_K_S = 21,
  IQ4_NL = 25,
  IQ4_XS = 30,
  BF16 = 32,
  TQ1_0 = 36,
  TQ2_0 = 37,
  MXFP4_MOE = 38,
};

struct MixInfo {
  Mix mix;
  std::string_view name;         // "Q4_K_M"
  TensorType type;               // of most tensors
  std::string_view description;  // one line for people
};

std::span<const MixInfo> mixes();
// By name, any case; Q3_K, Q4_K and Q5_K mean their _M mix, MXFP4 means MXFP4_MOE. nullopt when
// unknown.
std::optional<Mix> mix_by_name(std::string_view name);

// The type of each of model.tensors() in this mix, as llama.cpp's quantize tool chooses it with
// importances (importance.h) or without: norms, one-dimensional and routing tensors stay as they
// are, the output (or the token embedding that doubles as output) gets Q6_K or Q8_0, a tensor whose
// columns are no whole blocks of 256 falls back to a format with blocks of 32 or to F16. Source:
// llama-quant.cpp of llama.cpp.
std::vector<TensorType> choose_types(const Model& model, Mix mix, bool has_importances = false);

struct QuantizeOptions {
  int threads = 0;                                // 0: one per core
  const ImportanceMatrix* importances = nullptr;  // null: all columns count alike
  // Bytes of the source's tensors done so far and in all; called on the caller's thread.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

// The tensors that are in blocks already and would be converted to others: what was rounded once is
// rounded again.
std::vector<const Tensor*> rounded_twice(const Model& model, Mix mix, bool has_importances);

// Writes the model to `out`; gives back the file's bytes. Metadata is kept, but for split.*, with
// general.file_type and general.quantization_version set. Rows that a Hugging Face folder keeps in
// its own order (outboard.rope.neox) get GGUF's order. Throws Error for NaN, infinity or a value
// too large for F16, for a tensor that must be converted and has no decoder, importances of
// another model, or that lack a tensor of Q2_K_S, which is useless without, and when the file
// can't be written; no file is left then.
uint64_t quantize_model(const Model& model, const std::filesystem::path& out, Mix mix,
                        const QuantizeOptions& options = {});

}  // namespace outboard::formats
