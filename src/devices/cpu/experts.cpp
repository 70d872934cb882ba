// Mixture of experts: tokens are sorted by expert, so that each expert's matrices are read once a
// step for all of its tokens.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>
#include <utility>

#include "devices/cpu/executable.h"
#include "formats/quantize.h"
#include "support/error.h"

namespace outboard::devices::cpu {
namespace {

// A matrix for each expert: `rows` rows from `first_row` on of its share of a stacked tensor
// [experts, all rows, columns], and what is added to each row's product, or null.
struct Stack {
  const formats::Tensor* tensor;
  int64_t rows;
  int64_t first_row;
  const float* bias;  // of the tensor's rows

  Matrix matrix(int64_t expert) const {
    const size_t row_bytes = formats::storage_bytes(tensor->type, tensor->columns());
    return {tensor->type, rows, tensor->columns(),
            tensor->data.data() + static_cast<size_t>(row(expert)) * row_bytes};
  }
  const float* bias_of(int64_t expert) const {
    return bias != nullptr ? bias + row(expert) : nullptr;
  }

 private:
  int64_t row(int64_t expert) const { return expert * tensor->shape[1] + first_row; }
};

// Everything one Experts op needs in a step, allocated when it is compiled. A "slot" is one (token,
// chosen expert) pair; slots are ordered by expert.
struct ExpertsState {
  Stack gate;
  Stack up;
  Stack down;
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
  std::vector<float> in_scale;  // [T * used]: what a slot's row was multiplied with; empty: 1
  std::atomic<int> next_up{0};
  std::atomic<int> next_down{0};
};

// Router scores to what each expert would weigh.
void gate_scores(program::Gating gating, std::span<float> scores) {
  if (gating == program::Gating::kSigmoid) {
    for (float& score : scores) score = 1.0F / (1.0F + std::exp(-score));
  } else if (gating == program::Gating::kSoftmax) {
    const float top = *std::ranges::max_element(scores);
    float sum = 0;
    for (float& score : scores) sum += score = std::exp(score - top);
    for (float& score : scores) score /= sum;
  }
}

// Takes the experts of all groups but the best out of the choice: a group is as good as its best
// two experts together.
void keep_groups(const program::Experts& op, std::span<float> choice) {
  const size_t size = choice.size() / static_cast<size_t>(op.group_count);
  std::vector<std::pair<float, size_t>> groups;
  for (size_t first = 0; first < choice.size(); first += size) {
    float best = -INFINITY, second = -INFINITY;
    for (const float score : choice.subspan(first, size)) {
      second = std::max(second, std::min(best, score));
      best = std::max(best, score);
    }
    groups.emplace_back(best + second, first);
  }
  std::ranges::sort(groups, [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  for (size_t i = static_cast<size_t>(op.group_used); i < groups.size(); ++i)
    std::ranges::fill(choice.subspan(groups[i].second, size), -INFINITY);
}

// scores: the router's, [experts]; choice: room for as many.
void route(ExpertsState& s, const program::Experts& op, const float* selection_bias,
           std::span<float> scores, std::span<float> choice, int token) {
  gate_scores(op.gating, scores);
  std::ranges::copy(scores, choice.begin());
  if (selection_bias != nullptr)
    for (size_t e = 0; e < choice.size(); ++e) choice[e] += selection_bias[e];
  if (op.group_used < op.group_count) keep_groups(op, choice);
  int* chosen = s.chosen.data() + static_cast<ptrdiff_t>(token) * s.used;
  const std::span<float> weights(s.weights.data() + static_cast<ptrdiff_t>(token) * s.used,
                                 static_cast<size_t>(s.used));
  for (size_t i = 0; i < weights.size(); ++i) {
    int best = -1;
    for (int e = 0; e < s.experts; ++e)
      if (std::find(chosen, chosen + i, e) == chosen + i &&
          (best < 0 || choice[static_cast<size_t>(e)] > choice[static_cast<size_t>(best)]))
        best = e;
    chosen[i] = best;
    weights[i] = scores[static_cast<size_t>(best)];
  }
  if (op.gating == program::Gating::kSoftmaxOfChosen)
    gate_scores(program::Gating::kSoftmax, weights);
  // As small as half floats get, so that weights of nothing do not become infinite (llama.cpp).
  constexpr float kLeastSum = 6.103515625e-5F;
  const float sum = std::accumulate(weights.begin(), weights.end(), 0.0F);
  const float factor = op.normalise ? op.scale / std::max(sum, kLeastSum) : op.scale;
  for (float& weight : weights) weight *= factor;
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
  const formats::Tensor& gate = *tensor(op.gate);
  const formats::Tensor& up = op.up == program::kNone ? gate : *tensor(op.up);
  const formats::Tensor& down = *tensor(op.down);
  for (const formats::Tensor* t : {&gate, &up, &down})
    if (!has_linear(t->type))
      fail("tensor {}: the CPU has no matrix product for type {}", t->name,
           formats::type_info(t->type).name);
  s->experts = static_cast<int>(gate.shape[0]);
  const bool fused = op.gated && op.up == program::kNone;
  s->hidden = fused ? gate.shape[1] / 2 : gate.shape[1];
  s->width = gate.shape[2];
  s->used = op.used;
  s->gate = {&gate, s->hidden, 0, floats(op.gate_bias)};
  s->up = {&up, s->hidden, 0, floats(op.up_bias)};
  if (fused) s->up = {&gate, s->hidden, s->hidden, s->gate.bias};
  s->down = {&down, s->width, 0, floats(op.down_bias)};
  s->in_packing = packing_for(gate.type);
  if (packing_for(up.type) != s->in_packing)
    fail("tensors {} and {}: one is in blocks, the other is not", gate.name, up.name);
  s->down_packing = packing_for(down.type);
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
  if (op.weights_first) s->in_scale.resize(slots);
  struct Vectors {
    const float *router, *router_bias, *selection_bias, *down_scale;
  };
  const Vectors v{floats(op.router), floats(op.router_bias), floats(op.selection_bias),
                  floats(op.down_scale)};
  const program::ValueId routed = op.routed == program::kNone ? op.x : op.routed;

  return [this, op, out, s, v, routed, function = unary_of(op.function)](int thread,
                                                                         std::atomic<int>&) {
    const int threads = team_.size();
    const auto share = [&](int64_t n) {
      return std::pair(static_cast<int>(n * thread / threads),
                       static_cast<int>(n * (thread + 1) / threads));
    };
    // Route, and pack the tokens.
    const auto [first_token, last_token] = share(state_.tokens);
    thread_local std::vector<float> scores, choice;  // grow once
    scores.resize(static_cast<size_t>(s->experts));
    choice.resize(scores.size());
    const int64_t routed_width = width(routed);
    for (int t = first_token; t < last_token; ++t) {
      const float* x = value(routed, t);
      for (int e = 0; e < s->experts; ++e)
        scores[static_cast<size_t>(e)] =
            std::inner_product(x, x + routed_width, v.router + e * routed_width,
                               v.router_bias != nullptr ? v.router_bias[e] : 0.0F);
      route(*s, op, v.selection_bias, scores, choice, t);
      if (!op.weights_first)
        kernels_.pack(s->in_packing, value(op.x, t), stride(op.x), 1, s->width,
                      s->token_packed + static_cast<size_t>(t) * s->in_row);
    }
    team_.barrier();
    if (thread == 0) sort_by_expert(*s, state_.tokens);
    team_.barrier();
    const int filled = state_.tokens * s->used;
    const auto [first_slot, last_slot] = share(filled);
    if (op.weights_first) {
      thread_local std::vector<float> row;
      row.resize(static_cast<size_t>(s->width));
      for (int pair = first_slot; pair < last_slot; ++pair) {
        const auto slot = static_cast<size_t>(s->slot_of[static_cast<size_t>(pair)]);
        float& weight = s->weights[static_cast<size_t>(pair)];
        kernels_.scale(value(op.x, pair / s->used), weight, s->width, row.data());
        kernels_.pack(s->in_packing, row.data(), s->width, 1, s->width,
                      s->slot_packed + slot * s->in_row);
        s->in_scale[slot] = weight;
        weight = 1;
      }
    } else {
      for (int i = first_slot; i < last_slot; ++i)
        std::memcpy(
            s->slot_packed + static_cast<size_t>(i) * s->in_row,
            s->token_packed + static_cast<size_t>(s->token_of[static_cast<size_t>(i)]) * s->in_row,
            s->in_row);
    }
    team_.barrier();
    // gate and up of every expert that has tokens.
    std::byte* scratch = scratch_.data() + static_cast<size_t>(thread) * scratch_bytes_;
    constexpr int64_t kPieceRows = 8 * kRowTile;
    const auto multiply = [&](const Stack& stack, int64_t piece, int expert,
                              const std::byte* packed, size_t packed_row, float* y) {
      const Matrix w = stack.matrix(expert);
      const int begin = s->first_slot[static_cast<size_t>(expert)];
      const int count = s->first_slot[static_cast<size_t>(expert) + 1] - begin;
      if (count == 0) return;
      kernels_.linear(w, packed + static_cast<size_t>(begin) * packed_row, count,
                      y + begin * w.rows, w.rows, piece * kPieceRows,
                      std::min((piece + 1) * kPieceRows, w.rows), stack.bias_of(expert), false,
                      scratch);
    };
    const int64_t up_pieces = (s->hidden + kPieceRows - 1) / kPieceRows;
    for (int64_t item; (item = s->next_up.fetch_add(1)) < s->experts * up_pieces;) {
      const int expert = static_cast<int>(item / up_pieces);
      multiply(s->gate, item % up_pieces, expert, s->slot_packed, s->in_row, s->gate_out);
      if (op.gated) multiply(s->up, item % up_pieces, expert, s->slot_packed, s->in_row, s->up_out);
    }
    team_.barrier();
    for (int i = first_slot; i < last_slot; ++i) {
      float* gated = s->gate_out + i * s->hidden;
      if (op.gated)
        kernels_.gate(function, gated, s->up_out + i * s->hidden, s->hidden, gated);
      else
        kernels_.unary(function, gated, s->hidden, gated);
      kernels_.pack(s->down_packing, gated, s->hidden, 1, s->hidden,
                    s->down_packed + static_cast<size_t>(i) * s->down_row);
    }
    team_.barrier();
    if (options_.look_at_input && thread == 0) {
      std::vector<float> row(static_cast<size_t>(s->width));
      for (int expert = 0; expert < s->experts; ++expert) {
        const int end = s->first_slot[static_cast<size_t>(expert) + 1];
        for (int slot = s->first_slot[static_cast<size_t>(expert)]; slot < end; ++slot) {
          const float* x = value(op.x, s->token_of[static_cast<size_t>(slot)]);
          const float scale = op.weights_first ? s->in_scale[static_cast<size_t>(slot)] : 1;
          std::transform(x, x + s->width, row.begin(),
                         [&](float element) { return scale * element; });
          options_.look_at_input(op.gate, expert, row);
          if (op.up != program::kNone) options_.look_at_input(op.up, expert, row);
          options_.look_at_input(op.down, expert,
                                 {s->gate_out + slot * s->hidden, static_cast<size_t>(s->hidden)});
        }
      }
    }
    const int64_t down_pieces = (s->width + kPieceRows - 1) / kPieceRows;
    for (int64_t item; (item = s->next_down.fetch_add(1)) < s->experts * down_pieces;)
      multiply(s->down, item % down_pieces, static_cast<int>(item / down_pieces), s->down_packed,
               s->down_row, s->down_out);
    team_.barrier();
    for (int t = first_token; t < last_token; ++t) {
      float* y = value(out, t);
      std::fill_n(y, s->width, 0.0F);
      for (int i = 0; i < s->used; ++i) {
        const auto pair =
            static_cast<size_t>(t) * static_cast<size_t>(s->used) + static_cast<size_t>(i);
        const float* part = s->down_out + s->slot_of[pair] * s->width;
        float weight = s->weights[pair];
        if (v.down_scale != nullptr) weight *= v.down_scale[s->chosen[pair]];
        for (int64_t c = 0; c < s->width; ++c) y[c] += weight * part[c];
      }
    }
  };
}

}  // namespace outboard::devices::cpu
