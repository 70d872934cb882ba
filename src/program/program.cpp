#include "program/program.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <optional>

#include "program/ops.h"
#include "support/error.h"

namespace outboard::program {

size_t Program::kv_bytes_per_token() const {
  std::array<size_t, 2> halves{};  // a sequence's, a source's
  for (const KvState& s : states) halves[s.source ? 1 : 0] += static_cast<size_t>(s.elements());
  return *std::ranges::max_element(halves) * 2;
}

size_t Program::window_bytes_per_token() const {
  size_t elements = 0;
  for (const KvState& s : states)
    if (s.window > 0) elements += static_cast<size_t>(s.elements());
  return elements * 2;
}

int Program::kv_window() const {
  int window = 0;
  for (const KvState& s : states) window = std::max(window, s.window);
  return window;
}

size_t Program::slot_bytes() const {
  size_t bytes = 0;
  for (const SlotState& s : slot_states) bytes += static_cast<size_t>(s.size) * sizeof(float);
  return bytes;
}

std::string_view name_of(Function function) {
  switch (function) {
    case Function::kSilu:
      return "silu";
    case Function::kGeluTanh:
      return "gelu_tanh";
    case Function::kGeluErf:
      return "gelu_erf";
    case Function::kRelu:
      return "relu";
    case Function::kSigmoid:
      return "sigmoid";
    case Function::kSwigluOai:
      return "swiglu_oai";
    case Function::kIdentity:
      return "identity";
    case Function::kReluSquared:
      return "relu_squared";
  }
  return "?";
}

std::vector<double> rope_frequencies(const Rope& rope, std::span<const float> factors) {
  const double pairs = rope.rotary / 2.0;
  // The pair that turns `turns` times in the original context.
  const auto pair_of = [&](double turns) {
    return pairs *
           std::log(static_cast<double>(rope.original_context) / (turns * 2 * std::numbers::pi)) /
           std::log(static_cast<double>(rope.base));
  };
  double low = 0, high = 0;
  if (rope.extrapolation > 0) {
    low = std::max(0.0, std::floor(pair_of(rope.beta_fast)));
    high = std::min(static_cast<double>(rope.rotary - 1), std::ceil(pair_of(rope.beta_slow)));
  }
  std::vector<double> frequencies(static_cast<size_t>(rope.rotary / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double own = std::pow(static_cast<double>(rope.base), -static_cast<double>(i) / pairs) /
                       (factors.empty() ? 1.0 : static_cast<double>(factors[i]));
    double kept = 0;
    if (rope.extrapolation > 0) {
      const double ramp = (static_cast<double>(i) - low) / std::max(0.001, high - low);
      kept = (1 - std::clamp(ramp, 0.0, 1.0)) * rope.extrapolation;
    }
    frequencies[i] = own / rope.scale * (1 - kept) + own * kept;
  }
  return frequencies;
}

void find_windows(Program& program) {
  std::vector<bool> read_whole(program.states.size(), false);
  for (KvState& state : program.states) state.window = 0;
  for (size_t i = 0; i < program.ops.size(); ++i) {
    const auto* attention = std::get_if<Attention>(&program.ops[i].kind);
    if (attention == nullptr) continue;
    const auto id = static_cast<size_t>(attention->state);
    KvState& state = program.states[id];
    // A drafter goes over positions again that the other ops have left behind.
    if (attention->window == 0 || state.source || i >= program.drafter_begin())
      read_whole[id] = true;
    state.window = read_whole[id] ? 0 : std::max(state.window, attention->window);
  }
}

bool settle_context(Program& program, int64_t context) {
  bool is_long = false;
  for (Op& op : program.ops) {
    auto* rope = std::get_if<Rope>(&op.kind);
    if (rope == nullptr || rope->long_factors == kNone) continue;
    if (context > rope->original_context) {
      rope->factors = rope->long_factors;
      is_long = true;
    }
    rope->long_factors = kNone;
  }
  return is_long;
}

namespace {

void claim(std::vector<bool>& written, std::string_view op, std::string_view kind, StateId state) {
  if (written[static_cast<size_t>(state)])
    fail("[{}] {} state {} is written by two ops", op, kind, state);
  written[static_cast<size_t>(state)] = true;
}

}  // namespace

void verify(const Program& program) {
  std::vector<bool> defined(program.values.size(), false);
  std::vector<bool> visible(program.values.size(), false);  // defined, on this side of the encoder
  std::vector<bool> written(program.states.size(), false);
  std::vector<bool> slots_written(program.slot_states.size(), false);
  if (defined.size() < 2) fail("program {}: the tokens and positions are missing", program.name);
  for (const ValueId id : {Program::kTokens, Program::kPositions})
    defined[static_cast<size_t>(id)] = visible[static_cast<size_t>(id)] = true;
  if (program.encoder_ops + program.drafter_ops > program.ops.size())
    fail("program {}: {} ops, expected {} of an encoder and {} of a drafter", program.name,
         program.ops.size(), program.encoder_ops, program.drafter_ops);
  std::optional<std::vector<Dim>> kept;
  for (size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    const bool encodes = i < program.encoder_ops;
    const bool drafts = i >= program.drafter_begin();
    // Encoder, drafter and the others see nothing of each other's values.
    if (i > 0 && (i == program.encoder_ops || i == program.drafter_begin()))
      std::fill(visible.begin() + Program::kPositions + 1, visible.end(), false);
    try {
      for (const ValueId id : inputs_of(op))
        if (id < 0 || static_cast<size_t>(id) >= visible.size() ||
            !visible[static_cast<size_t>(id)])
          fail("[{}] reads %{} before it is defined", name_of(op.kind), id);
      const std::vector<Dim> shape = infer_shape(program, op.kind);
      const Place place = place_of(op.kind);
      if (place == (encodes ? Place::kDecoder : Place::kEncoder))
        fail("[{}] stands {} the encoder", name_of(op.kind), encodes ? "in" : "outside");
      if (place == Place::kDrafter && !drafts)
        fail("[{}] stands outside the drafter", name_of(op.kind));
      if (drafts && slot_state_of(op.kind) != kNone)
        fail("[{}] stands in the drafter, which keeps nothing in slots", name_of(op.kind));
      if (const auto* keep = std::get_if<KeepRows>(&op.kind)) {
        const auto& rows = program.values[static_cast<size_t>(keep->x)].shape;
        if (kept && *kept != rows)
          fail("[keep_rows] {} after {}", to_string(rows), to_string(*kept));
        kept = rows;
      }
      if (std::holds_alternative<KeptRows>(op.kind) && kept != shape)
        fail("[kept_rows] of {}, but {} are kept", to_string(shape),
             kept ? to_string(*kept) : "no rows");
      if (const StateId state = written_state(op.kind); state != kNone)
        claim(written, name_of(op.kind), "KV", state);
      if (const auto* a = std::get_if<Attention>(&op.kind);
          a != nullptr && a->k == kNone && !written[static_cast<size_t>(a->state)])
        fail("[attention] reads KV state {} before it is written", a->state);
      if (const SlotStateId state = slot_state_of(op.kind); state != kNone)
        claim(slots_written, name_of(op.kind), "slot", state);
      if (shape.empty()) {
        if (op.out != kNone) fail("[{}] has no output", name_of(op.kind));
        continue;
      }
      if (op.out < 0 || static_cast<size_t>(op.out) >= defined.size())
        fail("[{}] writes %{}, which does not exist", name_of(op.kind), op.out);
      const auto out = static_cast<size_t>(op.out);
      if (defined[out]) fail("[{}] writes %{} a second time", name_of(op.kind), op.out);
      if (program.values[out].shape != shape)
        fail("[{}] %{} has shape {}, expected {}", name_of(op.kind), op.out,
             to_string(program.values[out].shape), to_string(shape));
      defined[out] = visible[out] = true;
    } catch (Error& e) {
      e.add_context(fmt::format("program {}: op {}", program.name, i));
      throw;
    }
  }
  const std::vector<Dim> want = {{Dim::kRows, 0}, {Dim::kFixed, program.output_width()}};
  if (program.logits < 0 || static_cast<size_t>(program.logits) >= defined.size() ||
      !defined[static_cast<size_t>(program.logits)] ||
      program.values[static_cast<size_t>(program.logits)].shape != want)
    fail("program {}: the {} are not {}", program.name,
         program.ends_in_states ? "hidden states" : "logits", to_string(want));
  if ((program.draft_logits == kNone) != (program.drafter_ops == 0) ||
      (program.drafter_ops > 0 &&
       (program.draft_logits >= static_cast<ValueId>(defined.size()) ||
        !visible[static_cast<size_t>(program.draft_logits)] ||
        program.values[static_cast<size_t>(program.draft_logits)].shape !=
            std::vector<Dim>{{Dim::kRows, 0}, {Dim::kFixed, program.vocabulary}})))
    fail("program {}: the drafter's logits are not [R, {}]", program.name, program.vocabulary);
  if (program.tokens < 1 || program.tokens > program.vocabulary)
    fail("program {}: {} tokens, but {} logits", program.name, program.tokens, program.vocabulary);
}

Program without_drafter(Program program) {
  if (program.drafter_ops == 0) return program;
  program.ops.resize(program.drafter_begin());
  program.drafter_ops = 0;
  program.draft_logits = kNone;
  // Nobody reads what is kept.
  std::erase_if(program.ops,
                [](const Op& op) { return std::holds_alternative<KeepRows>(op.kind); });
  // Values are numbered in the order of the ops that define them.
  ValueId last = Program::kPositions;
  for (const Op& op : program.ops) last = std::max(last, op.out);
  program.values.resize(static_cast<size_t>(last) + 1);
  // Its keys and values are the last states.
  std::vector<bool> used(program.states.size(), false);
  for (const Op& op : program.ops)
    if (const StateId state = written_state(op.kind); state != kNone)
      used[static_cast<size_t>(state)] = true;
  while (!used.empty() && !used.back()) {
    used.pop_back();
    program.states.pop_back();
  }
  verify(program);
  return program;
}

Program hidden_states(Program program) {
  program = without_drafter(std::move(program));
  ValueId value = program.logits;
  for (size_t i = program.ops.size(); i > program.encoder_ops; --i) {
    const Op& op = program.ops[i - 1];
    if (op.out != value) continue;
    if (const auto* softcap = std::get_if<Softcap>(&op.kind)) {
      value = softcap->x;
    } else if (const auto* scale = std::get_if<Scale>(&op.kind)) {
      value = scale->x;
    } else if (const auto* linear = std::get_if<Linear>(&op.kind)) {
      program.logits = linear->x;
      program.ends_in_states = true;
      // Values are numbered in the order of the ops that define them.
      program.values.resize(static_cast<size_t>(op.out));
      program.ops.resize(i - 1);
      verify(program);
      return program;
    } else {
      break;
    }
  }
  fail("program {}: its logits are no product with an output matrix", program.name);
}

}  // namespace outboard::program
