// Writes a Program op by op, checking shapes on the way.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "formats/model_file.h"
#include "program/program.h"

namespace outboard::program {

// Each method appends one op and returns its output. Shapes are checked at once: an Error opens
// with the op's name. Weights are looked up in the model by name.
class Builder {
 public:
  // The model must outlive the builder.
  Builder(const formats::Model& model, std::string architecture);

  // Names the values that follow, for people: scope("layer 3").
  void scope(std::string name) { scope_ = std::move(name); }

  bool has(std::string_view name) const { return model_.find(name) != nullptr; }
  WeightId weight(std::string_view name);           // throws Error when the model lacks it
  WeightId optional_weight(std::string_view name);  // kNone when the model lacks it
  const std::vector<int64_t>& weight_shape(WeightId id) const {
    return program_.weights.at(static_cast<size_t>(id)).shape;
  }
  SlotStateId slot_state(int64_t size);
  StateId kv_state(int kv_heads, int key_dim, int value_dim, bool source = false);
  // One head, whose values are the first value_dim elements of its keys.
  StateId latent_state(int key_dim, int value_dim);

  // Columns of a value's rows.
  int64_t width(ValueId id) const {
    return program_.values.at(static_cast<size_t>(id)).shape.back().size;
  }

  ValueId tokens() const { return Program::kTokens; }
  ValueId positions() const { return Program::kPositions; }
  ValueId op(std::string_view name, OpKind kind);  // kNone for an op without output

  // Everything until here was the encoder.
  void end_encoder() { program_.encoder_ops = program_.ops.size(); }

  // What follows is a drafter, which finish() then wants the logits of.
  void begin_drafter() { drafter_begin_ = program_.ops.size(); }

  // Linear with the model's "NAME.weight" and, where it has one, "NAME.bias".
  ValueId linear(std::string_view value_name, ValueId x, std::string_view tensor);

  // Verifies and hands over the Program.
  Program finish(ValueId logits, int64_t context_length, ValueId draft_logits = kNone);

 private:
  const formats::Model& model_;
  std::string scope_;
  std::optional<size_t> drafter_begin_;
  Program program_;
};

}  // namespace outboard::program
