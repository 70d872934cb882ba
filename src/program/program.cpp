#include "program/program.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "support/error.h"

namespace outboard::program {
namespace {

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// Shared checks of infer_shape; every message opens with the op's name.
class Checker {
 public:
  Checker(const Program& program, std::string_view op) : program_(program), op_(op) {}

  const std::vector<Dim>& value(ValueId id, ElementType type = ElementType::kFloat) const {
    if (id < 0 || static_cast<size_t>(id) >= program_.values.size())
      fail("[{}] input %{} does not exist", op_, id);
    const Value& v = program_.values[static_cast<size_t>(id)];
    if (v.type != type)
      fail("[{}] input %{} ({}) holds {}, expected {}", op_, id, v.name,
           v.type == ElementType::kInt ? "integers" : "floats",
           type == ElementType::kInt ? "integers" : "floats");
    return v.shape;
  }

  // [rows, width] with a fixed width.
  int64_t width(ValueId id) const {
    const auto& shape = value(id);
    if (shape.size() != 2 || shape[1].kind != Dim::kFixed)
      fail("[{}] input %{} has shape {}, expected [rows, width]", op_, id, to_string(shape));
    return shape[1].size;
  }

  void want_width(ValueId id, int64_t want) const {
    if (width(id) != want)
      fail("[{}] input %{} has shape {}, expected a width of {}", op_, id, to_string(value(id)),
           want);
  }

  const Weight& weight(WeightId id) const {
    if (id < 0 || static_cast<size_t>(id) >= program_.weights.size())
      fail("[{}] weight {} does not exist", op_, id);
    return program_.weights[static_cast<size_t>(id)];
  }

  void want_weight(WeightId id, const std::vector<int64_t>& want, bool optional = false) const {
    if (optional && id == kNone) return;
    const Weight& w = weight(id);
    if (w.shape != want)
      fail("[{}] weight {} has shape {}, expected {}", op_, w.name, shape_text(w.shape),
           shape_text(want));
  }

  // heads 0: no queries.
  const KvState& state(StateId id, int heads, bool source) const {
    want(id >= 0 && static_cast<size_t>(id) < program_.states.size(),
         "the KV state does not exist");
    const KvState& s = program_.states[static_cast<size_t>(id)];
    want(s.kv_heads > 0 && heads >= 0 && heads % s.kv_heads == 0,
         "heads must be a multiple of kv_heads");
    want(s.key_dim > 0 && s.key_dim % 8 == 0 && s.value_dim > 0 && s.value_dim % 8 == 0,
         "key_dim and value_dim must be multiples of 8");
    want(s.source == source,
         source ? "the KV state is not a source's" : "the KV state is a source's");
    return s;
  }

  // One row a token of keys and of values.
  void want_keys(ValueId k, ValueId v, const KvState& s) const {
    want_width(k, int64_t{s.kv_heads} * s.key_dim);
    want_width(v, int64_t{s.kv_heads} * s.value_dim);
    for (const ValueId id : {k, v})
      want(value(id)[0].kind == Dim::kTokens, "keys and values must have a row a token");
  }

  void want(bool condition, std::string_view what) const {
    if (!condition) fail("[{}] {}", op_, what);
  }

 private:
  const Program& program_;
  std::string_view op_;
};

std::vector<Dim> with_width(std::vector<Dim> shape, int64_t width) {
  shape.back() = {Dim::kFixed, width};
  return shape;
}

}  // namespace

size_t Program::kv_bytes_per_token() const {
  std::array<size_t, 2> halves{};  // a sequence's, a source's
  for (const KvState& s : states)
    halves[s.source ? 1 : 0] +=
        static_cast<size_t>(s.kv_heads) * static_cast<size_t>(s.key_dim + s.value_dim);
  return *std::ranges::max_element(halves) * 2;
}

std::vector<ValueId> inputs_of(const Op& op) {
  return std::visit(Overloaded{
                        [](const Embed& o) { return std::vector{o.ids}; },
                        [](const Attention& o) { return std::vector{o.q, o.k, o.v}; },
                        [](const Gate& o) { return std::vector{o.gate, o.up}; },
                        [](const Add& o) { return std::vector{o.a, o.b}; },
                        [](const KvWrite& o) { return std::vector{o.k, o.v}; },
                        [](const CrossAttention& o) { return std::vector{o.q}; },
                        [](const auto& o) { return std::vector{o.x}; },
                    },
                    op.kind);
}

std::vector<WeightId> weights_of(const Op& op) {
  std::vector<WeightId> all =
      std::visit(Overloaded{
                     [](const Embed& o) { return std::vector{o.table}; },
                     [](const RmsNorm& o) { return std::vector{o.weight}; },
                     [](const LayerNorm& o) { return std::vector{o.weight, o.bias}; },
                     [](const Linear& o) { return std::vector{o.weight, o.bias}; },
                     [](const Rope& o) { return std::vector{o.factors}; },
                     [](const Experts& o) { return std::vector{o.router, o.gate, o.up, o.down}; },
                     [](const auto&) { return std::vector<WeightId>{}; },
                 },
                 op.kind);
  std::erase(all, kNone);
  return all;
}

std::string_view name_of(const OpKind& kind) {
  constexpr std::string_view kNames[] = {
      "embed",    "rms_norm",       "layer_norm", "linear", "slice",   "rope",        "attention",
      "gate",     "activation",     "add",        "scale",  "softcap", "select_rows", "experts",
      "kv_write", "cross_attention"};
  static_assert(std::size(kNames) == std::variant_size_v<OpKind>);
  return kNames[kind.index()];
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
  }
  return "?";
}

std::vector<Dim> infer_shape(const Program& program, const OpKind& kind) {
  const Checker check(program, name_of(kind));
  return std::visit(
      Overloaded{
          [&](const Embed& o) -> std::vector<Dim> {
            const auto& ids = check.value(o.ids, ElementType::kInt);
            check.want(ids.size() == 1, "ids must have one dimension");
            const Weight& table = check.weight(o.table);
            check.want(table.shape.size() == 2, "the table must be [entries, width]");
            return {ids[0], {Dim::kFixed, table.shape[1]}};
          },
          [&](const RmsNorm& o) {
            const int64_t width = check.width(o.x);
            check.want(o.group > 0 && width % o.group == 0,
                       "the width is no multiple of the group");
            check.want_weight(o.weight, {o.group}, true);
            return check.value(o.x);
          },
          [&](const LayerNorm& o) {
            const int64_t width = check.width(o.x);
            check.want_weight(o.weight, {width});
            check.want_weight(o.bias, {width}, true);
            return check.value(o.x);
          },
          [&](const Linear& o) {
            const int64_t width = check.width(o.x);
            const Weight& w = check.weight(o.weight);
            if (w.shape.size() != 2 || w.shape[1] != width)
              fail("[linear] weight {} has shape {}, expected [outputs, {}] for an input {}",
                   w.name, shape_text(w.shape), width, to_string(check.value(o.x)));
            check.want_weight(o.bias, {w.shape[0]}, true);
            return with_width(check.value(o.x), w.shape[0]);
          },
          [&](const Slice& o) {
            check.want(o.begin >= 0 && o.size > 0 && o.begin + o.size <= check.width(o.x),
                       "the slice reaches outside its input");
            return with_width(check.value(o.x), o.size);
          },
          [&](const Rope& o) {
            const int64_t width = check.width(o.x);
            check.want(o.head_dim > 0 && width % o.head_dim == 0,
                       "the width is no multiple of head_dim");
            check.want(o.rotary > 0 && o.rotary % 2 == 0 && o.rotary <= o.head_dim,
                       "the rotary width must be even and at most head_dim");
            check.want(o.base > 0 && o.scale > 0, "base and scale must be positive");
            check.want_weight(o.factors, {o.rotary / 2}, true);
            return check.value(o.x);
          },
          [&](const Attention& o) {
            const KvState& s = check.state(o.state, o.heads, !o.causal);
            check.want(o.window >= 0, "the window is negative");
            check.want(o.causal || o.window == 0, "a window needs causal attention");
            check.want(o.heads > 0, "there are no heads");
            check.want_width(o.q, int64_t{o.heads} * s.key_dim);
            check.want(check.value(o.q)[0].kind == Dim::kTokens, "q must have a row a token");
            check.want_keys(o.k, o.v, s);
            return with_width(check.value(o.q), int64_t{o.heads} * s.value_dim);
          },
          [&](const KvWrite& o) -> std::vector<Dim> {
            check.want_keys(o.k, o.v, check.state(o.state, 0, true));
            return {};
          },
          [&](const CrossAttention& o) {
            const KvState& s = check.state(o.state, o.heads, true);
            check.want_width(o.q, int64_t{o.heads} * s.key_dim);
            return with_width(check.value(o.q), int64_t{o.heads} * s.value_dim);
          },
          [&](const Gate& o) {
            check.want_width(o.up, check.width(o.gate));
            check.want(check.value(o.gate) == check.value(o.up), "gate and up differ in shape");
            return check.value(o.gate);
          },
          [&](const Add& o) {
            if (check.value(o.a) != check.value(o.b))
              fail("[add] shapes {} and {} differ", to_string(check.value(o.a)),
                   to_string(check.value(o.b)));
            return check.value(o.a);
          },
          [&](const SelectRows& o) {
            std::vector<Dim> shape = check.value(o.x);
            check.want(shape.size() == 2 && shape[0].kind == Dim::kTokens,
                       "the input must have a row a token");
            shape[0] = {Dim::kRows, 0};
            return shape;
          },
          [&](const Experts& o) {
            const int64_t width = check.width(o.x);
            const Weight& gate = check.weight(o.gate);
            check.want(gate.shape.size() == 3 && gate.shape[2] == width,
                       "gate must be [experts, hidden, width]");
            const int64_t experts = gate.shape[0];
            const int64_t hidden = gate.shape[1];
            check.want_weight(o.router, {experts, width});
            check.want_weight(o.up, {experts, hidden, width});
            check.want_weight(o.down, {experts, width, hidden});
            check.want(o.used > 0 && o.used <= experts, "uses more experts than there are");
            return check.value(o.x);
          },
          [&](const auto& o) {  // Activation, Scale, Softcap
            check.width(o.x);
            return check.value(o.x);
          },
      },
      kind);
}

namespace {

void claim(std::vector<bool>& written, std::string_view op, StateId state) {
  if (written[static_cast<size_t>(state)])
    fail("[{}] KV state {} is written by two ops", op, state);
  written[static_cast<size_t>(state)] = true;
}

}  // namespace

void verify(const Program& program) {
  std::vector<bool> defined(program.values.size(), false);
  std::vector<bool> visible(program.values.size(), false);  // defined, on this side of the encoder
  std::vector<bool> written(program.states.size(), false);
  if (defined.size() < 2) fail("program {}: the tokens and positions are missing", program.name);
  for (const ValueId id : {Program::kTokens, Program::kPositions})
    defined[static_cast<size_t>(id)] = visible[static_cast<size_t>(id)] = true;
  for (size_t i = 0; i < program.ops.size(); ++i) {
    const Op& op = program.ops[i];
    const bool encodes = i < program.encoder_ops;
    if (i == program.encoder_ops && i > 0)  // the others see nothing of the encoder's values
      std::fill(visible.begin() + Program::kPositions + 1, visible.end(), false);
    try {
      for (const ValueId id : inputs_of(op))
        if (id < 0 || static_cast<size_t>(id) >= visible.size() ||
            !visible[static_cast<size_t>(id)])
          fail("[{}] reads %{} before it is defined", name_of(op.kind), id);
      const std::vector<Dim> shape = infer_shape(program, op.kind);
      const auto* attention = std::get_if<Attention>(&op.kind);
      const auto* write = std::get_if<KvWrite>(&op.kind);
      const bool causal = attention != nullptr && attention->causal;
      const bool encoder_only = (attention != nullptr && !causal) || write != nullptr;
      const bool decoder_only = causal || std::holds_alternative<CrossAttention>(op.kind);
      if (encodes ? decoder_only : encoder_only)
        fail("[{}] stands {} the encoder", name_of(op.kind), encodes ? "in" : "outside");
      if (causal) claim(written, "attention", attention->state);
      if (write != nullptr) {
        claim(written, "kv_write", write->state);
        if (op.out != kNone) fail("[kv_write] has no output");
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
  const std::vector<Dim> want = {{Dim::kRows, 0}, {Dim::kFixed, program.vocabulary}};
  if (program.logits < 0 || static_cast<size_t>(program.logits) >= defined.size() ||
      !defined[static_cast<size_t>(program.logits)] ||
      program.values[static_cast<size_t>(program.logits)].shape != want)
    fail("program {}: the logits are not {}", program.name, to_string(want));
  if (program.tokens < 1 || program.tokens > program.vocabulary)
    fail("program {}: {} tokens, but {} logits", program.name, program.tokens, program.vocabulary);
}

}  // namespace outboard::program
