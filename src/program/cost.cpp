#include "program/cost.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "program/ops.h"

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

size_t weight_bytes_per_token(const Program& program, int sequences) {
  double sum = 0;
  for (size_t i = program.encoder_ops; i < program.drafter_begin(); ++i) {
    const Op& op = program.ops[i];
    for (const WeightOf& use : weight_uses(op)) {
      const Weight& weight = program.weights[static_cast<size_t>(use.id)];
      const auto all = static_cast<double>(bytes(weight));
      const auto rows = static_cast<double>(weight.shape[0]);
      if (use.use == WeightUse::kRow || use.use == WeightUse::kHostRow) {
        sum += all / rows;
        continue;
      }
      double read = 1;
      if (use.use == WeightUse::kExperts)
        read -= std::pow(1 - static_cast<double>(use.used) / rows, sequences);
      sum += all * read / sequences;
    }
  }
  return static_cast<size_t>(std::llround(sum));
}

std::vector<WeightId> host_tables(const Program& program) {
  std::vector<WeightId> tables;
  for (const Op& op : program.ops)
    for (const WeightOf& use : weight_uses(op))
      if (use.use == WeightUse::kHostRow && std::ranges::find(tables, use.id) == tables.end())
        tables.push_back(use.id);
  return tables;
}

size_t host_table_bytes(const Program& program) {
  size_t sum = 0;
  for (const WeightId id : host_tables(program))
    sum += bytes(program.weights[static_cast<size_t>(id)]);
  return sum;
}

size_t state_bytes_read(const Program& program, int64_t context) {
  size_t sum = 0;
  for (size_t i = program.encoder_ops; i < program.drafter_begin(); ++i)
    sum += state_bytes_read(program, program.ops[i].kind, context);
  return sum;
}

}  // namespace outboard::program
