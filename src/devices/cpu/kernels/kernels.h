// The CPU's kernels behind one table of functions a set of instructions, chosen at run time.
//
// Kernels are single-threaded and allocate nothing: the caller splits the work over its threads
// and owns all memory. Float data is float32, row-major. Pointers to floats and packed activations
// are 64-byte aligned at their start; weights are used as stored in the file and need no alignment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "formats/tensor_type.h"

namespace outboard::devices::cpu {

// A linear layer's weight as stored: rows = outputs, columns = inputs, blocks along the columns.
struct Matrix {
  formats::TensorType type = formats::TensorType::F32;
  int64_t rows = 0;
  int64_t columns = 0;
  const std::byte* data = nullptr;
  bool byte_inputs = false;  // block formats: the input is packed with 8 bits instead of 16
};

// How a weight type wants its input packed. Layers that share an input and a packing share the
// packed activations: q, k and v; gate and up.
enum class Packing : uint8_t {
  kFloat,  // float32 as it is: for F32, F16, BF16 weights
  // For block formats: integers with a float scale and a sum for each group of 32, of 16 bits ...
  kGrouped,
  kGroupedBytes,  // ... or of 8: half the work, and an error like that of 8-bit weights
};
Packing packing_for(formats::TensorType weight, bool byte_inputs = false);
bool has_linear(formats::TensorType weight);  // every type but the plain integers and F64

// Attention of a run of consecutive tokens of one sequence in one layer, for the query heads that
// share one KV head. Token t of the run sits at position first_position + t and sees the positions
// [max(0, p - window + 1), p] (all up to p when window is 0), whose keys and values are in the
// pages already. Online softmax: the score matrix is never stored.
struct AttentionRun {
  const float* q = nullptr;  // token t, head h of the group: q + t * q_stride + h * head_dim
  float* out = nullptr;      // same layout as q, with out_stride
  int64_t q_stride = 0;      // in floats
  int64_t out_stride = 0;    // in floats
  int tokens = 0;            // tokens in this run
  int group = 1;             // query heads that share this KV head
  int key_dim = 0;           // a multiple of 8
  int value_dim = 0;         // a multiple of 8
  int first_position = 0;    // position of the run's first token
  int window = 0;            // 0: no sliding window
  float scale = 1;           // scores are scale * q.k
  float softcap = 0;         // 0: none; else score = softcap * tanh(score / softcap)
  bool causal = true;        // false: every token sees all `context` positions
  bool chunked = false;      // the window begins at its multiples: p / window * window
  int context = 0;           // positions present; used when not causal
  // Of each head of the group a further score without a value, or null.
  const float* sinks = nullptr;
  // Pages of f16, or of float32: position p lies in page pages[p / page_tokens], at keys + page *
  // key_page_stride + (p % page_tokens) * key_dim, its value likewise, value_row elements from
  // position to position. (The pointers are already at this layer and KV head.)
  const void* keys = nullptr;
  const void* values = nullptr;
  bool float_kv = false;
  const int32_t* pages = nullptr;
  int64_t key_page_stride = 0;    // in elements
  int64_t value_page_stride = 0;  // in elements
  int64_t value_row = 0;
  int page_tokens = 0;
};

// Some columns of the state of one head, which go through the tokens of a run: see
// program::GatedDelta, whose equations these are with what is the same for all columns taken
// together.
struct DeltaToken {
  float decay;   // exp(a * softplus(alpha + dt))
  float recall;  // decay / length of k
  float write;   // sigmoid(beta) / length of k
  float read;    // 1 / (length of q * root(rows))
};
struct DeltaRun {
  float* state = nullptr;    // row r: state + r * state_stride
  int64_t state_stride = 0;  // floats
  int64_t rows = 0;          // of the state, a multiple of 4: elements of q and k
  int64_t columns = 0;
  int tokens = 0;
  const DeltaToken* each = nullptr;  // [tokens]
  // Token t: q + t * q_stride, and so on; v and out of these columns alone.
  const float* q = nullptr;
  const float* k = nullptr;
  const float* v = nullptr;
  float* out = nullptr;
  int64_t q_stride = 0, k_stride = 0, v_stride = 0, out_stride = 0;
};
// The same of program::SelectiveScan.
struct ScanToken {
  float decay;  // exp(d * a)
  float step;   // d
};
struct ScanRun {
  float* state = nullptr;
  int64_t state_stride = 0;
  int64_t rows = 0;  // a multiple of 4: elements of b and c
  int64_t columns = 0;
  int tokens = 0;
  const ScanToken* each = nullptr;
  float skip = 0;
  const float* x = nullptr;
  const float* b = nullptr;
  const float* c = nullptr;
  float* out = nullptr;
  int64_t x_stride = 0, b_stride = 0, c_stride = 0, out_stride = 0;
};

// As program::Function; kSwigluOai of gates alone.
enum class Unary : uint8_t {
  kSilu,
  kGeluTanh,
  kGeluErf,
  kRelu,
  kSigmoid,
  kSwigluOai,
  kIdentity,
  kReluSquared
};

struct Kernels {
  const char*
      name;  // "scalar", "avx2", "avxvnni", "avx512", "avx512vbmi", "neon", "dotprod", "i8mm"

  // --- linear ---
  // Bytes of one packed row of activations; rows are packed back to back, 64-byte aligned.
  size_t (*packed_row_bytes)(Packing, int64_t columns);
  // Packs `tokens` rows of x (x_stride floats apart) into out.
  void (*pack)(Packing, const float* x, int64_t x_stride, int tokens, int64_t columns,
               std::byte* out);
  // y[t * y_stride + r] (+)= sum_c w[r, c] * x[t, c] (+ bias[r]) for r in [row_begin, row_end), all
  // t. accumulate adds to what y holds (the residual). bias may be null. row_begin is a multiple of
  // kRowTile, and so is row_end unless it is w.rows. scratch: linear_scratch_bytes(), one a thread.
  void (*linear)(const Matrix& w, const std::byte* packed, int tokens, float* y, int64_t y_stride,
                 int64_t row_begin, int64_t row_end, const float* bias, bool accumulate,
                 std::byte* scratch);
  size_t (*linear_scratch_bytes)(int64_t max_columns);

  // --- attention ---
  void (*attention)(const AttentionRun& run, std::byte* scratch);
  size_t (*attention_scratch_bytes)(int group, int key_dim, int value_dim);

  // --- recurrences ---
  void (*gated_delta)(const DeltaRun& run);
  void (*selective_scan)(const ScanRun& run);

  // --- rows ---
  // out may equal x. weight and bias may be null (then 1 and 0).
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* out);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t n,
                     float* out);
  // Rotates one head in place. cos/sin: `half` values each. neox: pairs (i, i + half); else pairs
  // (2i, 2i + 1).
  void (*rope)(float* x, const float* cos, const float* sin, int half, bool neox);
  void (*unary)(Unary, const float* x, int64_t n, float* out);  // out = f(x)
  void (*gate)(Unary, const float* gate, const float* up, int64_t n,
               float* out);  // out = f(gate) * up, or as kSwigluOai says
  void (*add)(const float* a, const float* b, int64_t n, float* out);
  void (*scale)(const float* x, float factor, int64_t n, float* out);
  void (*softcap)(float* x, float cap, int64_t n);  // cap * tanh(x / cap), in place
  void (*to_half)(const float* x, int64_t n, uint16_t* out);
  // The largest of each kMaximaBlock of x (the last may be shorter), which may be NaN or not where
  // x has some; and the sum of exp(x - top).
  void (*block_maxima)(const float* x, int64_t n, float* out);
  float (*sum_exp)(const float* x, float top, int64_t n);
};

constexpr int64_t kMaximaBlock = 64;

constexpr int64_t kRowTile = 16;

// The best table for this processor; the environment variable OUTBOARD_CPU (a table's name) forces
// another, and throws Error if this processor lacks it.
const Kernels& best_kernels();
// Every table that this processor can run, for tests: all must agree.
std::vector<const Kernels*> available_kernels();

}  // namespace outboard::devices::cpu
