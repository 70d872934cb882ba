#include "program/builder.h"

#include <algorithm>
#include <utility>

#include "support/error.h"

namespace outboard::program {

Builder::Builder(const formats::Model& model, std::string architecture) : model_(model) {
  program_.architecture = std::move(architecture);
  program_.name = model.metadata.get_string("general.name", model.path.filename().string());
  program_.values = {{"tokens", ElementType::kInt, {{Dim::kTokens, 0}}},
                     {"positions", ElementType::kInt, {{Dim::kTokens, 0}}}};
}

WeightId Builder::weight(std::string_view name) {
  const WeightId id = optional_weight(name);
  if (id == kNone)
    fail("tensor {}: not in the file, but architecture {} needs it", name, program_.architecture);
  return id;
}

WeightId Builder::optional_weight(std::string_view name) {
  for (size_t i = 0; i < program_.weights.size(); ++i)
    if (program_.weights[i].name == name) return static_cast<WeightId>(i);
  const formats::Tensor* tensor = model_.find(name);
  if (tensor == nullptr) return kNone;
  if (tensor->elements() == 0)
    fail("tensor {}: it has no elements, but architecture {} needs it", name,
         program_.architecture);
  program_.weights.push_back({tensor->name, tensor->type, tensor->shape});
  return static_cast<WeightId>(program_.weights.size() - 1);
}

StateId Builder::kv_state(int kv_heads, int key_dim, int value_dim, bool source) {
  program_.states.push_back({kv_heads, key_dim, value_dim, source});
  return static_cast<StateId>(program_.states.size() - 1);
}

StateId Builder::latent_state(int key_dim, int value_dim) {
  program_.states.push_back({1, key_dim, value_dim, false, true});
  return static_cast<StateId>(program_.states.size() - 1);
}

SlotStateId Builder::slot_state(int64_t size) {
  program_.slot_states.push_back({size});
  return static_cast<SlotStateId>(program_.slot_states.size() - 1);
}

ValueId Builder::op(std::string_view name, OpKind kind) {
  Value value;
  value.name = scope_.empty() ? std::string(name) : fmt::format("{} {}", scope_, name);
  try {
    value.shape = infer_shape(program_, kind);
  } catch (Error& e) {
    e.add_context(value.name);
    throw;
  }
  if (value.shape.empty()) {
    program_.ops.push_back({kind, kNone});
    return kNone;
  }
  program_.values.push_back(std::move(value));
  const auto out = static_cast<ValueId>(program_.values.size() - 1);
  program_.ops.push_back({kind, out});
  return out;
}

ValueId Builder::linear(std::string_view value_name, ValueId x, std::string_view tensor) {
  return op(value_name, Linear{x, weight(fmt::format("{}.weight", tensor)),
                               optional_weight(fmt::format("{}.bias", tensor))});
}

Program Builder::finish(ValueId logits, int64_t context_length, ValueId draft_logits) {
  program_.logits = logits;
  program_.draft_logits = draft_logits;
  if (drafter_begin_) program_.drafter_ops = program_.ops.size() - *drafter_begin_;
  program_.context_length = context_length;
  const auto& shape = program_.values.at(static_cast<size_t>(logits)).shape;
  program_.vocabulary = shape.back().size;
  program_.tokens = program_.vocabulary;
  if (const auto* tokens = model_.metadata.find("tokenizer.ggml.tokens"))
    if (const auto* list = std::get_if<formats::MetadataArray>(tokens);
        list != nullptr && list->size() > 0)
      program_.tokens = std::min(program_.vocabulary, static_cast<int64_t>(list->size()));
  // The first op is an embedding; its width is the width of the residual stream.
  program_.width =
      program_.values.at(static_cast<size_t>(program_.ops.front().out)).shape.back().size;
  find_windows(program_);
  verify(program_);
  return std::move(program_);
}

}  // namespace outboard::program
