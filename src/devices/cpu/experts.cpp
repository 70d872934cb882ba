// Mixture of experts: tokens are sorted by expert, so that each expert's matrices are read once a
// step for all of its tokens.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "devices/cpu/executable.h"
#include "formats/quantize.h"
#include "support/error.h"

namespace outboard::devices::cpu {
namespace {

// One expert's matrix inside a stacked tensor [experts, rows, columns].
Matrix slice(const formats::Tensor& tensor, int64_t expert) {
  const int64_t rows = tensor.shape[1];
  const size_t bytes = formats::storage_bytes(tensor.type, rows * tensor.columns());
  return {tensor.type, rows, tensor.columns(),
          tensor.data.data() + static_cast<size_t>(expert) * bytes};
}

// Everything one Experts op needs in a step, allocated when it is compiled. A "slot" is one (token,
// chosen expert) pair; slots are ordered by expert.
struct ExpertsState {
  const formats::Tensor* gate;
  const formats::Tensor* up;
  const formats::Tensor* down;
  int64_t width;
  int64_t hidden;
  int experts;
  int used;
  Packing in_packing;
  Packing down_packing;
  size_t in_row;                // bytes of a packed input row
  size_t down_row;              // bytes of a packed hidden row
  std::byte* token_packed;      // [T] rows
  std::byte* slot_packed;       // [T * used] rows
  std::byte* down_packed;       // [T * used] rows
  float* gate_out;              // [T * used, hidden]
  float* up_out;                // [T * used, hidden]
  float* down_out;              // [T * used, width]
  std::vector<int> chosen;      // [T * used] experts
  std::vector<float> weights;   // [T * used]
  std::vector<int> slot_of;     // [T * used] -> slot
  std::vector<int> token_of;    // slot -> token
  std::vector<int> first_slot;  // [experts + 1]
  std::atomic<int> next_up{0};
  std::atomic<int> next_down{0};
};

void route(ExpertsState& s, const float* logits, int token, bool normalise) {
  const float top = *std::max_element(logits, logits + s.experts);
  float sum = 0;
  for (int e = 0; e < s.experts; ++e) sum += std::exp(logits[e] - top);
  int* chosen = s.chosen.data() + static_cast<ptrdiff_t>(token) * s.used;
  float* weights = s.weights.data() + static_cast<ptrdiff_t>(token) * s.used;
  float kept = 0;
  for (int i = 0; i < s.used; ++i) {
    int best = -1;
    for (int e = 0; e < s.experts; ++e)
      if (std::find(chosen, chosen + i, e) == chosen + i && (best < 0 || logits[e] > logits[best]))
        best = e;
    chosen[i] = best;
    weights[i] = std::exp(logits[best] - top) / sum;
    kept += weights[i];
  }
  if (normalise)
    for (int i = 0; i < s.used; ++i) weights[i] /= kept;
}

void sort_by_expert(ExpertsState& s, int tokens) {
  std::fill(s.first_slot.begin(), s.first_slot.end(), 0);
  const int pairs = tokens * s.used;
  for (int i = 0; i < pairs; ++i)
    ++s.first_slot[static_cast<size_t>(s.chosen[static_cast<size_t>(i)]) + 1];
  std::partial_sum(s.first_slot.begin(), s.first_slot.end(), s.first_slot.begin());
  for (int i = 0; i < pairs; ++i) {
    // first_slot[e] walks to the end of e's slots, which is where e + 1 starts: restored below.
    const int slot = s.first_slot[static_cast<size_t>(s.chosen[static_cast<size_t>(i)])]++;
    s.slot_of[static_cast<size_t>(i)] = slot;
    s.token_of[static_cast<size_t>(slot)] = i / s.used;
  }
  for (int e = s.experts; e > 0; --e)
    s.first_slot[static_cast<size_t>(e)] = s.first_slot[static_cast<size_t>(e) - 1];
  s.first_slot[0] = 0;
  s.next_up.store(0, std::memory_order_relaxed);
  s.next_down.store(0, std::memory_order_relaxed);
}

}  // namespace

CpuExecutable::Phase CpuExecutable::experts_phase(const program::Experts& op,
                                                  program::ValueId out) {
  const auto tensor = [&](program::WeightId id) {
    return &model_->get(program_.weights[static_cast<size_t>(id)].name);
  };
  auto s = std::make_shared<ExpertsState>();
  s->gate = tensor(op.gate);
  s->up = tensor(op.up);
  s->down = tensor(op.down);
  for (const formats::Tensor* t : {s->gate, s->up, s->down})
    if (!has_linear(t->type))
      fail("tensor {}: the CPU has no matrix product for type {}", t->name,
           formats::type_info(t->type).name);
  s->experts = static_cast<int>(s->gate->shape[0]);
  s->hidden = s->gate->shape[1];
  s->width = s->gate->shape[2];
  s->used = op.used;
  s->in_packing = packing_for(s->gate->type);
  if (packing_for(s->up->type) != s->in_packing)
    fail("tensors {} and {}: one is in blocks, the other is not", s->gate->name, s->up->name);
  s->down_packing = packing_for(s->down->type);
  s->in_row = kernels_.packed_row_bytes(s->in_packing, s->width);
  s->down_row = kernels_.packed_row_bytes(s->down_packing, s->hidden);
  const auto tokens = static_cast<size_t>(options_.max_tokens);
  const size_t slots = tokens * static_cast<size_t>(op.used);
  const auto buffer = [&](size_t bytes) { return expert_buffers_.emplace_back(bytes).data(); };
  s->token_packed = buffer(tokens * s->in_row);
  s->slot_packed = buffer(slots * s->in_row);
  s->down_packed = buffer(slots * s->down_row);
  s->gate_out =
      reinterpret_cast<float*>(buffer(slots * static_cast<size_t>(s->hidden) * sizeof(float)));
  s->up_out =
      reinterpret_cast<float*>(buffer(slots * static_cast<size_t>(s->hidden) * sizeof(float)));
  s->down_out =
      reinterpret_cast<float*>(buffer(slots * static_cast<size_t>(s->width) * sizeof(float)));
  s->chosen.resize(slots);
  s->weights.resize(slots);
  s->slot_of.resize(slots);
  s->token_of.resize(slots);
  s->first_slot.resize(static_cast<size_t>(s->experts) + 1);
  const float* router = floats(op.router);
  const Unary function = op.function == program::Function::kSilu ? Unary::kSilu : Unary::kGeluTanh;

  return [this, op, out, s, router, function](int thread, std::atomic<int>&) {
    const int threads = team_.size();
    const auto share = [&](int64_t n) {
      return std::pair(static_cast<int>(n * thread / threads),
                       static_cast<int>(n * (thread + 1) / threads));
    };
    // Route, and pack the tokens.
    const auto [first_token, last_token] = share(state_.tokens);
    thread_local std::vector<float> scores;  // grows once
    scores.resize(static_cast<size_t>(s->experts));
    for (int t = first_token; t < last_token; ++t) {
      const float* x = value(op.x, t);
      for (int e = 0; e < s->experts; ++e)
        scores[static_cast<size_t>(e)] =
            std::inner_product(x, x + s->width, router + e * s->width, 0.0F);
      route(*s, scores.data(), t, op.normalise);
      kernels_.pack(s->in_packing, x, stride(op.x), 1, s->width,
                    s->token_packed + static_cast<size_t>(t) * s->in_row);
    }
    team_.barrier();
    if (thread == 0) sort_by_expert(*s, state_.tokens);
    team_.barrier();
    const int filled = state_.tokens * s->used;
    const auto [first_slot, last_slot] = share(filled);
    for (int i = first_slot; i < last_slot; ++i)
      std::memcpy(
          s->slot_packed + static_cast<size_t>(i) * s->in_row,
          s->token_packed + static_cast<size_t>(s->token_of[static_cast<size_t>(i)]) * s->in_row,
          s->in_row);
    team_.barrier();
    // gate and up of every expert that has tokens.
    std::byte* scratch = scratch_.data() + static_cast<size_t>(thread) * scratch_bytes_;
    constexpr int64_t kPieceRows = 8 * kRowTile;
    const auto multiply = [&](const formats::Tensor& stack, int64_t piece, int expert,
                              const std::byte* packed, size_t packed_row, float* y) {
      const Matrix w = slice(stack, expert);
      const int begin = s->first_slot[static_cast<size_t>(expert)];
      const int count = s->first_slot[static_cast<size_t>(expert) + 1] - begin;
      if (count == 0) return;
      kernels_.linear(w, packed + static_cast<size_t>(begin) * packed_row, count,
                      y + begin * w.rows, w.rows, piece * kPieceRows,
                      std::min((piece + 1) * kPieceRows, w.rows), nullptr, false, scratch);
    };
    const int64_t up_pieces = (s->hidden + kPieceRows - 1) / kPieceRows;
    for (int64_t item; (item = s->next_up.fetch_add(1)) < s->experts * up_pieces;) {
      const int expert = static_cast<int>(item / up_pieces);
      multiply(*s->gate, item % up_pieces, expert, s->slot_packed, s->in_row, s->gate_out);
      multiply(*s->up, item % up_pieces, expert, s->slot_packed, s->in_row, s->up_out);
    }
    team_.barrier();
    for (int i = first_slot; i < last_slot; ++i) {
      float* gated = s->gate_out + i * s->hidden;
      kernels_.gate(function, gated, s->up_out + i * s->hidden, s->hidden, gated);
      kernels_.pack(s->down_packing, gated, s->hidden, 1, s->hidden,
                    s->down_packed + static_cast<size_t>(i) * s->down_row);
    }
    team_.barrier();
    const int64_t down_pieces = (s->width + kPieceRows - 1) / kPieceRows;
    for (int64_t item; (item = s->next_down.fetch_add(1)) < s->experts * down_pieces;)
      multiply(*s->down, item % down_pieces, static_cast<int>(item / down_pieces), s->down_packed,
               s->down_row, s->down_out);
    team_.barrier();
    for (int t = first_token; t < last_token; ++t) {
      float* y = value(out, t);
      std::fill_n(y, s->width, 0.0F);
      for (int i = 0; i < s->used; ++i) {
        const auto pair =
            static_cast<size_t>(t) * static_cast<size_t>(s->used) + static_cast<size_t>(i);
        const float* part = s->down_out + s->slot_of[pair] * s->width;
        for (int64_t c = 0; c < s->width; ++c) y[c] += s->weights[pair] * part[c];
      }
    }
  };
}

}  // namespace outboard::devices::cpu
