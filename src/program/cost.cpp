#include "program/cost.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace outboard::program {
namespace {

int64_t elements(const Weight& weight) {
  return std::accumulate(weight.shape.begin(), weight.shape.end(), int64_t{1}, std::multiplies<>());
}

size_t bytes(const Weight& weight) { return formats::storage_bytes(weight.type, elements(weight)); }

}  // namespace

int64_t parameters(const Program& program) {
  int64_t sum = 0;
  for (const Weight& weight : program.weights) sum += elements(weight);
  return sum;
}

size_t weight_bytes_per_token(const Program& program) {
  size_t sum = 0;
  for (size_t i = program.encoder_ops; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    const auto* experts = std::get_if<Experts>(&op.kind);
    const bool embed = std::holds_alternative<Embed>(op.kind);
    for (const WeightId id : weights_of(op)) {
      const Weight& weight = program.weights[static_cast<size_t>(id)];
      size_t read = bytes(weight);
      if (embed) read /= static_cast<size_t>(weight.shape[0]);
      if (experts != nullptr && id != experts->router)
        read = read / static_cast<size_t>(weight.shape[0]) * static_cast<size_t>(experts->used);
      sum += read;
    }
  }
  return sum;
}

size_t kv_bytes(const Program& program, int64_t context) {
  return program.kv_bytes_per_token() * static_cast<size_t>(context);
}

size_t kv_bytes_read(const Program& program, int64_t context) {
  size_t sum = 0;
  for (size_t i = program.encoder_ops; i < program.ops.size(); ++i)
    if (const auto* a = std::get_if<Attention>(&program.ops[i].kind)) {
      const KvState& s = program.states[static_cast<size_t>(a->state)];
      const int64_t seen = a->window > 0 ? std::min<int64_t>(context, a->window) : context;
      sum += static_cast<size_t>(seen) * static_cast<size_t>(s.kv_heads) *
             static_cast<size_t>(s.key_dim + s.value_dim) * 2;
    }
  return sum;
}

}  // namespace outboard::program
