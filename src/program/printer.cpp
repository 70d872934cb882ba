#include <fmt/ranges.h>

#include "program/ops.h"
#include "program/program.h"

namespace outboard::program {
std::string to_string(const std::vector<Dim>& shape) {
  std::vector<std::string> dims;
  dims.reserve(shape.size());
  for (const Dim& dim : shape)
    dims.push_back(dim.kind == Dim::kTokens ? "T"
                   : dim.kind == Dim::kRows ? "R"
                                            : fmt::format("{}", dim.size));
  return fmt::format("[{}]", fmt::join(dims, ", "));
}

std::string to_string(const Program& program) {
  std::string text = fmt::format(
      "program {} \"{}\": width {}, vocabulary {}{}, context {}\n"
      "  T = tokens in this step, R = rows that want logits\n",
      program.architecture, program.name, program.width, program.vocabulary,
      program.tokens < program.vocabulary
          ? fmt::format(" ({} of them tokens, the others padding)", program.tokens)
          : "",
      program.context_length);
  for (size_t i = 0; i < program.states.size(); ++i) {
    const KvState& s = program.states[i];
    text += fmt::format("  kv {}: {} heads, keys {}, values {}{}{}{}\n", i, s.kv_heads, s.key_dim,
                        s.value_dim, s.values_in_keys ? " in keys" : "",
                        s.source ? ", of the source" : "",
                        s.window > 0 ? fmt::format(", window {}", s.window) : "");
  }
  for (size_t i = 0; i < program.slot_states.size(); ++i)
    text += fmt::format("  slot {}: {} values\n", i, program.slot_states[i].size);
  for (const ValueId id : {Program::kTokens, Program::kPositions})
    text += fmt::format("  %{} = {} : {}\n", id, program.values[static_cast<size_t>(id)].name,
                        to_string(program.values[static_cast<size_t>(id)].shape));
  for (size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    if (i == 0 && program.encoder_ops > 0) text += "  encoder:\n";
    if (i == program.encoder_ops && i > 0) text += "  decoder:\n";
    if (i == program.drafter_begin()) text += "  drafter:\n";
    const bool has_output = op.out != kNone;
    text += has_output ? fmt::format("  %{} = {}", op.out, name_of(op.kind))
                       : fmt::format("  {}", name_of(op.kind));
    const char* separator = " ";
    for (const ValueId id : inputs_of(op)) {
      text += fmt::format("{}%{}", separator, id);
      separator = ", ";
    }
    for (const WeightId id : weights_of(op)) {
      const Weight& w = program.weights[static_cast<size_t>(id)];
      text += fmt::format("{}{}[{}]:{}", separator, w.name, fmt::join(w.shape, ", "),
                          formats::type_info(w.type).name);
      separator = ", ";
    }
    text += attributes_of(op.kind);
    if (has_output) {
      const Value& out = program.values[static_cast<size_t>(op.out)];
      text += fmt::format(" : {}  # {}", to_string(out.shape), out.name);
    }
    text += '\n';
  }
  text += fmt::format("  {} %{}\n", program.ends_in_states ? "hidden states" : "logits",
                      program.logits);
  if (program.drafter_ops > 0) text += fmt::format("  draft logits %{}\n", program.draft_logits);
  return text;
}

}  // namespace outboard::program
