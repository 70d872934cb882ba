#include "program/ops.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "support/error.h"

namespace outboard::program {
namespace {

using Shape = std::vector<Dim>;
using Inputs = std::vector<ValueId>;
using Weights = std::vector<WeightOf>;

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// Shared checks of shapes; every message opens with the op's name.
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
    want(!s.values_in_keys || s.value_dim <= s.key_dim, "values do not fit into keys");
    want(s.source == source,
         source ? "the KV state is not a source's" : "the KV state is a source's");
    return s;
  }

  // One row a token of keys and of values.
  void want_keys(ValueId k, ValueId v, const KvState& s) const {
    want_width(k, int64_t{s.kv_heads} * s.key_dim);
    want((v == kNone) == s.values_in_keys,
         "values belong to a state that does not have them in keys");
    if (v != kNone) want_width(v, int64_t{s.kv_heads} * s.value_dim);
    for (const ValueId id : {k, v == kNone ? k : v})
      want(value(id)[0].kind == Dim::kTokens, "keys and values must have a row a token");
  }

  void want_heads(ValueId id, int heads) const {
    want(heads > 0 && width(id) % heads == 0, "the width is no multiple of the heads");
  }

  void want_slot(SlotStateId id, int64_t size) const {
    want(id >= 0 && static_cast<size_t>(id) < program_.slot_states.size(),
         "the slot state does not exist");
    const int64_t found = program_.slot_states[static_cast<size_t>(id)].size;
    if (found != size) fail("[{}] slot state {} has {} values, expected {}", op_, id, found, size);
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

// What an op need not say.
struct Usual {
  template <typename Op>
  static Inputs inputs(const Op& o) {
    return {o.x};
  }
  template <typename Op>
  static Weights weights(const Op&) {
    return {};
  }
  template <typename Op>
  static Shape shape(const Op& o, const Checker& check) {
    check.width(o.x);
    return check.value(o.x);
  }
  template <typename Op>
  static std::string attributes(const Op&) {
    return "";
  }
  template <typename Op>
  static Place place(const Op&) {
    return Place::kAnywhere;
  }
  template <typename Op>
  static StateId writes(const Op&) {
    return kNone;
  }
  template <typename Op>
  static SlotStateId slot(const Op&) {
    return kNone;
  }
  // Positions of which state one token reads.
  struct Read {
    StateId state = kNone;
    int64_t positions = 0;
  };
  template <typename Op>
  static Read reads(const Op&, int64_t /*context*/) {
    return {};
  }
};

template <typename Op>
struct About;

template <>
struct About<Embed> : Usual {
  static constexpr std::string_view kName = "embed";
  static Inputs inputs(const Embed& o) { return {o.ids}; }
  static Weights weights(const Embed& o) {
    return {{o.table, o.by_host ? WeightUse::kHostRow : WeightUse::kRow}};
  }
  static Shape shape(const Embed& o, const Checker& check) {
    const auto& ids = check.value(o.ids, ElementType::kInt);
    check.want(ids.size() == 1, "ids must have one dimension");
    const Weight& table = check.weight(o.table);
    check.want(table.shape.size() == 2, "the table must be [entries, width]");
    check.want(!o.by_host || o.ids == Program::kTokens, "the host brings rows of tokens alone");
    return {ids[0], {Dim::kFixed, table.shape[1]}};
  }
  static std::string attributes(const Embed& o) {
    return (o.scale == 1 ? "" : fmt::format(" scale={}", o.scale)) + (o.by_host ? " by_host" : "");
  }
};

template <>
struct About<RmsNorm> : Usual {
  static constexpr std::string_view kName = "rms_norm";
  static Weights weights(const RmsNorm& o) { return {{o.weight, WeightUse::kVector}}; }
  static Shape shape(const RmsNorm& o, const Checker& check) {
    const int64_t width = check.width(o.x);
    check.want(o.group > 0 && width % o.group == 0, "the width is no multiple of the group");
    if (o.weight != kNone && check.weight(o.weight).shape.size() == 2)
      check.want_weight(o.weight, {width / o.group, o.group});
    else
      check.want_weight(o.weight, {o.group}, true);
    return check.value(o.x);
  }
  static std::string attributes(const RmsNorm& o) {
    return fmt::format(" group={} eps={}", o.group, o.epsilon);
  }
};

template <>
struct About<LayerNorm> : Usual {
  static constexpr std::string_view kName = "layer_norm";
  static Weights weights(const LayerNorm& o) {
    return {{o.weight, WeightUse::kVector}, {o.bias, WeightUse::kVector}};
  }
  static Shape shape(const LayerNorm& o, const Checker& check) {
    const int64_t width = check.width(o.x);
    check.want(o.group >= 0 && (o.group == 0 || width % o.group == 0),
               "the width is no multiple of the group");
    if (o.weight != kNone && check.weight(o.weight).shape.size() == 2)
      check.want_weight(o.weight, {width / std::max<int64_t>(o.group, 1), o.group});
    else
      check.want_weight(o.weight, {width}, true);
    check.want_weight(o.bias, {width}, true);
    return check.value(o.x);
  }
  static std::string attributes(const LayerNorm& o) {
    return fmt::format("{} eps={}", o.group > 0 ? fmt::format(" group={}", o.group) : "",
                       o.epsilon);
  }
};

template <>
struct About<Linear> : Usual {
  static constexpr std::string_view kName = "linear";
  static Weights weights(const Linear& o) {
    return {{o.weight, WeightUse::kMatrix}, {o.bias, WeightUse::kVector}};
  }
  static Shape shape(const Linear& o, const Checker& check) {
    const int64_t width = check.width(o.x);
    const Weight& w = check.weight(o.weight);
    if (w.shape == std::vector<int64_t>{width} && o.bias == kNone)  // a matrix of one row
      return with_width(check.value(o.x), 1);
    if (w.shape.size() == 3) {
      if (w.shape[0] * w.shape[2] != width)
        fail(
            "[linear] weight {} has shape {}, expected [heads, outputs, inputs] of heads * inputs "
            "= {}",
            w.name, shape_text(w.shape), width);
      check.want(o.bias == kNone, "a matrix for each head has no bias");
      return with_width(check.value(o.x), w.shape[0] * w.shape[1]);
    }
    if (w.shape.size() != 2 || w.shape[1] != width)
      fail("[linear] weight {} has shape {}, expected [outputs, {}] for an input {}", w.name,
           shape_text(w.shape), width, to_string(check.value(o.x)));
    check.want_weight(o.bias, {w.shape[0]}, true);
    return with_width(check.value(o.x), w.shape[0]);
  }
};

template <>
struct About<Slice> : Usual {
  static constexpr std::string_view kName = "slice";
  static Shape shape(const Slice& o, const Checker& check) {
    check.want_heads(o.x, o.heads);
    check.want(o.begin >= 0 && o.size > 0 && o.begin + o.size <= check.width(o.x) / o.heads,
               "the slice reaches outside its input");
    return with_width(check.value(o.x), o.size * o.heads);
  }
  static std::string attributes(const Slice& o) {
    return fmt::format(" columns={}..{}{}", o.begin, o.begin + o.size,
                       o.heads > 1 ? fmt::format(" heads={}", o.heads) : "");
  }
};

template <>
struct About<Concat> : Usual {
  static constexpr std::string_view kName = "concat";
  static Inputs inputs(const Concat& o) { return {o.a, o.b}; }
  static Shape shape(const Concat& o, const Checker& check) {
    check.want_heads(o.a, o.heads);
    check.want_heads(o.b, o.heads);
    check.want(check.value(o.a)[0] == check.value(o.b)[0], "the inputs differ in rows");
    return with_width(check.value(o.a), check.width(o.a) + check.width(o.b));
  }
  static std::string attributes(const Concat& o) {
    return o.heads > 1 ? fmt::format(" heads={}", o.heads) : "";
  }
};

template <>
struct About<PositionScale> : Usual {
  static constexpr std::string_view kName = "position_scale";
  static Shape shape(const PositionScale& o, const Checker& check) {
    check.width(o.x);
    check.want(check.value(o.x)[0].kind == Dim::kTokens, "the input must have a row a token");
    check.want(o.length > 0 && o.offset >= 0, "length must be positive, offset 0 or more");
    return check.value(o.x);
  }
  static std::string attributes(const PositionScale& o) {
    return fmt::format(" scale={} length={} offset={}", o.scale, o.length, o.offset);
  }
};

template <>
struct About<Rope> : Usual {
  static constexpr std::string_view kName = "rope";
  static Weights weights(const Rope& o) {
    return {{o.factors, WeightUse::kTable}, {o.long_factors, WeightUse::kTable}};
  }
  static Shape shape(const Rope& o, const Checker& check) {
    const int64_t width = check.width(o.x);
    check.want(o.head_dim > 0 && width % o.head_dim == 0, "the width is no multiple of head_dim");
    check.want(o.rotary > 0 && o.rotary % 2 == 0 && o.rotary <= o.head_dim,
               "the rotary width must be even and at most head_dim");
    check.want(o.base > 0 && o.scale > 0, "base and scale must be positive");
    check.want(o.extrapolation >= 0 && o.extrapolation <= 1, "extrapolation must be 0 to 1");
    check.want((o.extrapolation == 0 && o.long_factors == kNone) || o.original_context > 0,
               "the original context is missing");
    check.want_weight(o.factors, {o.rotary / 2}, true);
    check.want_weight(o.long_factors, {o.rotary / 2}, true);
    return check.value(o.x);
  }
  static std::string attributes(const Rope& o) {
    std::string text = fmt::format(" head_dim={} rotary={}", o.head_dim, o.rotary);
    text += fmt::format(" base={}", o.base);
    if (o.scale != 1) text += fmt::format(" scale={}", o.scale);
    if (o.magnitude != 1) text += fmt::format(" magnitude={:.6g}", o.magnitude);
    if (o.extrapolation > 0)
      text += fmt::format(" yarn={} beta={}..{} of={}", o.extrapolation, o.beta_slow, o.beta_fast,
                          o.original_context);
    if (o.long_factors != kNone) text += fmt::format(" long_from={}", o.original_context + 1);
    return text + (o.neox ? " pairs=halves" : " pairs=neighbours");
  }
};

template <>
struct About<Attention> : Usual {
  static constexpr std::string_view kName = "attention";
  static Inputs inputs(const Attention& o) {
    Inputs all = {o.q};
    for (const ValueId id : {o.k, o.v})
      if (id != kNone) all.push_back(id);
    return all;
  }
  static Weights weights(const Attention& o) { return {{o.sinks, WeightUse::kVector}}; }
  static Shape shape(const Attention& o, const Checker& check) {
    const KvState& s = check.state(o.state, o.heads, !o.causal);
    check.want(o.window >= 0, "the window is negative");
    check.want(o.causal || o.window == 0, "a window needs causal attention");
    check.want(o.causal || o.k != kNone, "keys of an earlier op need causal attention");
    check.want(!o.chunked || o.window > 0, "chunks need a window");
    check.want(o.heads > 0, "there are no heads");
    check.want_width(o.q, int64_t{o.heads} * s.key_dim);
    check.want(check.value(o.q)[0].kind == Dim::kTokens, "q must have a row a token");
    if (o.k != kNone || o.v != kNone) check.want_keys(o.k, o.v, s);
    check.want_weight(o.sinks, {o.heads}, true);
    return with_width(check.value(o.q), int64_t{o.heads} * s.value_dim);
  }
  static std::string attributes(const Attention& o) {
    return fmt::format(
        " kv={} heads={} scale={:.6g}{}{}{}{}{}", o.state, o.heads, o.scale, o.causal ? "" : " all",
        o.window > 0 ? fmt::format(" {}={}", o.chunked ? "chunk" : "window", o.window) : "",
        o.softcap > 0 ? fmt::format(" softcap={}", o.softcap) : "",
        o.sinks != kNone ? " sinks" : "", o.k == kNone ? " again" : "");
  }
  static Place place(const Attention& o) { return o.causal ? Place::kDecoder : Place::kEncoder; }
  static StateId writes(const Attention& o) { return o.causal && o.k != kNone ? o.state : kNone; }
  static Read reads(const Attention& o, int64_t context) {
    return {o.state, o.window > 0 ? std::min<int64_t>(context, o.window) : context};
  }
};

template <>
struct About<KvWrite> : Usual {
  static constexpr std::string_view kName = "kv_write";
  static Inputs inputs(const KvWrite& o) { return {o.k, o.v}; }
  static Shape shape(const KvWrite& o, const Checker& check) {
    check.want_keys(o.k, o.v, check.state(o.state, 0, true));
    return {};
  }
  static std::string attributes(const KvWrite& o) { return fmt::format(" kv={}", o.state); }
  static Place place(const KvWrite&) { return Place::kEncoder; }
  static StateId writes(const KvWrite& o) { return o.state; }
};

template <>
struct About<CrossAttention> : Usual {
  static constexpr std::string_view kName = "cross_attention";
  static Inputs inputs(const CrossAttention& o) { return {o.q}; }
  static Shape shape(const CrossAttention& o, const Checker& check) {
    const KvState& s = check.state(o.state, o.heads, true);
    check.want_width(o.q, int64_t{o.heads} * s.key_dim);
    return with_width(check.value(o.q), int64_t{o.heads} * s.value_dim);
  }
  static std::string attributes(const CrossAttention& o) {
    return fmt::format(" kv={} heads={} scale={:.6g}", o.state, o.heads, o.scale);
  }
  static Place place(const CrossAttention&) { return Place::kDecoder; }
};

template <>
struct About<SsmConv> : Usual {
  static constexpr std::string_view kName = "ssm_conv";
  static Weights weights(const SsmConv& o) {
    return {{o.weight, WeightUse::kVector}, {o.bias, WeightUse::kVector}};
  }
  static Shape shape(const SsmConv& o, const Checker& check) {
    const int64_t width = check.width(o.x);
    const Weight& w = check.weight(o.weight);
    if (w.shape.size() != 2 || w.shape[0] != width || w.shape[1] < 2)
      fail("[ssm_conv] weight {} has shape {}, expected [{}, 2 or more taps]", w.name,
           shape_text(w.shape), width);
    check.want_weight(o.bias, {width}, true);
    check.want_slot(o.state, (w.shape[1] - 1) * width);
    check.want(check.value(o.x)[0].kind == Dim::kTokens, "the input must have a row a token");
    return check.value(o.x);
  }
  static std::string attributes(const SsmConv& o) {
    return fmt::format(
        " slot={}{}", o.state,
        o.function != Function::kIdentity ? fmt::format(" {}", name_of(o.function)) : "");
  }
  static Place place(const SsmConv&) { return Place::kDecoder; }
  static SlotStateId slot(const SsmConv& o) { return o.state; }
};

template <>
struct About<GatedDelta> : Usual {
  static constexpr std::string_view kName = "gated_delta";
  static Inputs inputs(const GatedDelta& o) { return {o.q, o.k, o.v, o.alpha, o.beta}; }
  static Weights weights(const GatedDelta& o) {
    return {{o.a, WeightUse::kVector}, {o.dt, WeightUse::kVector}};
  }
  static Shape shape(const GatedDelta& o, const Checker& check) {
    check.want(o.key_heads > 0 && o.heads > 0 && o.heads % o.key_heads == 0,
               "heads must be a multiple of key_heads");
    check.want_heads(o.q, o.key_heads);
    check.want_heads(o.v, o.heads);
    check.want_width(o.k, check.width(o.q));
    check.want_width(o.alpha, o.heads);
    check.want_width(o.beta, o.heads);
    for (const ValueId id : inputs(o))
      check.want(check.value(id)[0].kind == Dim::kTokens, "the inputs must have a row a token");
    check.want_weight(o.a, {o.heads});
    check.want_weight(o.dt, {o.heads});
    check.want_slot(o.state, check.width(o.q) / o.key_heads * check.width(o.v));
    return check.value(o.v);
  }
  static std::string attributes(const GatedDelta& o) {
    return fmt::format(" slot={} heads={} key_heads={}{} eps={}", o.state, o.heads, o.key_heads,
                       o.neighbours ? " neighbours" : "", o.epsilon);
  }
  static Place place(const GatedDelta&) { return Place::kDecoder; }
  static SlotStateId slot(const GatedDelta& o) { return o.state; }
};

template <>
struct About<SelectiveScan> : Usual {
  static constexpr std::string_view kName = "selective_scan";
  static Inputs inputs(const SelectiveScan& o) { return {o.x, o.b, o.c, o.dt}; }
  static Weights weights(const SelectiveScan& o) {
    return {
        {o.a, WeightUse::kVector}, {o.dt_bias, WeightUse::kVector}, {o.skip, WeightUse::kVector}};
  }
  static Shape shape(const SelectiveScan& o, const Checker& check) {
    check.want(o.groups > 0 && o.heads > 0 && o.heads % o.groups == 0,
               "heads must be a multiple of groups");
    check.want_heads(o.x, o.heads);
    check.want_heads(o.b, o.groups);
    check.want_width(o.c, check.width(o.b));
    check.want_width(o.dt, o.heads);
    for (const ValueId id : inputs(o))
      check.want(check.value(id)[0].kind == Dim::kTokens, "the inputs must have a row a token");
    for (const WeightId id : {o.a, o.dt_bias, o.skip}) {
      if (check.weight(id).shape.size() == 2)
        check.want_weight(id, {o.heads, 1});
      else
        check.want_weight(id, {o.heads});
    }
    check.want_slot(o.state, check.width(o.b) / o.groups * check.width(o.x));
    return check.value(o.x);
  }
  static std::string attributes(const SelectiveScan& o) {
    return fmt::format(" slot={} heads={} groups={}", o.state, o.heads, o.groups);
  }
  static Place place(const SelectiveScan&) { return Place::kDecoder; }
  static SlotStateId slot(const SelectiveScan& o) { return o.state; }
};

template <>
struct About<Gate> : Usual {
  static constexpr std::string_view kName = "gate";
  static Inputs inputs(const Gate& o) { return {o.gate, o.up}; }
  static Shape shape(const Gate& o, const Checker& check) {
    check.want(check.width(o.up) % check.width(o.gate) == 0,
               "up's width is no multiple of the gate's");
    check.want(check.value(o.gate)[0] == check.value(o.up)[0], "gate and up differ in rows");
    return check.value(o.up);
  }
  static std::string attributes(const Gate& o) { return fmt::format(" {}", name_of(o.function)); }
};

template <>
struct About<Activation> : Usual {
  static constexpr std::string_view kName = "activation";
  static Shape shape(const Activation& o, const Checker& check) {
    check.width(o.x);
    check.want(o.function != Function::kSwigluOai, "swiglu_oai needs a gate");
    return check.value(o.x);
  }
  static std::string attributes(const Activation& o) {
    return fmt::format(" {}", name_of(o.function));
  }
};

template <>
struct About<Add> : Usual {
  static constexpr std::string_view kName = "add";
  static Inputs inputs(const Add& o) { return {o.a, o.b}; }
  static Shape shape(const Add& o, const Checker& check) {
    if (check.value(o.a) != check.value(o.b))
      fail("[add] shapes {} and {} differ", to_string(check.value(o.a)),
           to_string(check.value(o.b)));
    return check.value(o.a);
  }
};

template <>
struct About<Scale> : Usual {
  static constexpr std::string_view kName = "scale";
  static Weights weights(const Scale& o) { return {{o.weight, WeightUse::kVector}}; }
  static Shape shape(const Scale& o, const Checker& check) {
    const int64_t width = check.width(o.x);
    if (o.weight != kNone)
      check.want_weight(o.weight,
                        {check.weight(o.weight).shape == std::vector<int64_t>{1} ? 1 : width});
    return check.value(o.x);
  }
  static std::string attributes(const Scale& o) { return fmt::format(" factor={}", o.factor); }
};

template <>
struct About<Softcap> : Usual {
  static constexpr std::string_view kName = "softcap";
  static std::string attributes(const Softcap& o) { return fmt::format(" cap={}", o.cap); }
};

template <>
struct About<SelectRows> : Usual {
  static constexpr std::string_view kName = "select_rows";
  static Shape shape(const SelectRows& o, const Checker& check) {
    Shape shape = check.value(o.x);
    check.want(shape.size() == 2 && shape[0].kind == Dim::kTokens,
               "the input must have a row a token");
    shape[0] = {Dim::kRows, 0};
    return shape;
  }
};

template <>
struct About<KeepRows> : Usual {
  static constexpr std::string_view kName = "keep_rows";
  static Shape shape(const KeepRows& o, const Checker& check) {
    check.want(check.value(o.x).size() == 2 && check.value(o.x)[0].kind == Dim::kTokens,
               "the input must have a row a token");
    return {};
  }
  static Place place(const KeepRows&) { return Place::kDecoder; }
};

template <>
struct About<KeptRows> : Usual {
  static constexpr std::string_view kName = "kept_rows";
  static Inputs inputs(const KeptRows&) { return {}; }
  static Shape shape(const KeptRows& o, const Checker&) {
    return {{Dim::kTokens, 0}, {Dim::kFixed, o.width}};
  }
  static Place place(const KeptRows&) { return Place::kDrafter; }
};

template <>
struct About<Experts> : Usual {
  static constexpr std::string_view kName = "experts";
  static Inputs inputs(const Experts& o) {
    return o.routed == kNone ? Inputs{o.x} : Inputs{o.x, o.routed};
  }
  static Weights weights(const Experts& o) {
    return {{o.router, WeightUse::kMatrix},         {o.router_bias, WeightUse::kVector},
            {o.selection_bias, WeightUse::kVector}, {o.gate, WeightUse::kExperts, o.used},
            {o.gate_bias, WeightUse::kVector},      {o.up, WeightUse::kExperts, o.used},
            {o.up_bias, WeightUse::kVector},        {o.down, WeightUse::kExperts, o.used},
            {o.down_bias, WeightUse::kVector},      {o.down_scale, WeightUse::kVector}};
  }
  static Shape shape(const Experts& o, const Checker& check) {
    const int64_t width = check.width(o.x);
    const Weight& gate = check.weight(o.gate);
    const bool fused = o.gated && o.up == kNone;
    check.want(o.gated || o.up == kNone, "experts without a gate have up's matrix as the gate's");
    check.want(o.gated || o.function != Function::kSwigluOai, "swiglu_oai needs a gate");
    check.want(gate.shape.size() == 3 && gate.shape[2] == width,
               "gate must be [experts, hidden, width]");
    check.want(!fused || gate.shape[1] % 2 == 0, "gate and up in one must be of even size");
    const int64_t experts = gate.shape[0];
    const int64_t hidden = fused ? gate.shape[1] / 2 : gate.shape[1];
    check.want_weight(o.router, {experts, o.routed == kNone ? width : check.width(o.routed)});
    if (o.routed != kNone)
      check.want(check.value(o.routed)[0] == check.value(o.x)[0],
                 "what is scored differs in rows from what goes into the experts");
    check.want_weight(o.up, {experts, hidden, width}, true);
    check.want_weight(o.down, {experts, width, hidden});
    check.want_weight(o.router_bias, {experts}, true);
    check.want_weight(o.selection_bias, {experts}, true);
    check.want_weight(o.gate_bias, {experts, gate.shape[1]}, true);
    check.want_weight(o.up_bias, {experts, hidden}, true);
    check.want(o.up != kNone || o.up_bias == kNone,
               "up's biases stand with the gate's, as its rows do");
    check.want_weight(o.down_bias, {experts, width}, true);
    check.want_weight(o.down_scale, {experts}, true);
    check.want(o.used > 0 && o.used <= experts, "uses more experts than there are");
    check.want(o.group_count > 0 && experts % o.group_count == 0 && o.group_used > 0 &&
                   o.group_used <= o.group_count &&
                   o.used <= experts / o.group_count * o.group_used,
               "the groups do not fit the experts");
    check.want(o.group_used == o.group_count || experts / o.group_count >= 2,
               "groups of experts that are chosen from have two or more");
    return check.value(o.x);
  }
  static std::string attributes(const Experts& o) {
    std::string text =
        fmt::format(" used={} {}{}", o.used, name_of(o.function), o.normalise ? " normalised" : "");
    if (o.gating == Gating::kSigmoid) text += " sigmoid";
    if (o.gating == Gating::kSoftmaxOfChosen) text += " softmax_of_chosen";
    if (o.group_used < o.group_count)
      text += fmt::format(" groups={} of {}", o.group_used, o.group_count);
    if (o.scale != 1) text += fmt::format(" scale={}", o.scale);
    if (o.weights_first) text += " weights_first";
    if (!o.gated) text += " not_gated";
    return text;
  }
};

// action(About<Op>, op) of the op that it is.
template <typename Action>
auto about(const OpKind& kind, const Action& action) {
  return std::visit([&]<typename Op>(const Op& o) { return action(About<Op>{}, o); }, kind);
}

}  // namespace

std::string_view name_of(const OpKind& kind) {
  return about(kind, [](auto a, const auto&) { return decltype(a)::kName; });
}

std::vector<ValueId> inputs_of(const Op& op) {
  return about(op.kind, [](auto a, const auto& o) { return a.inputs(o); });
}

std::vector<WeightOf> weight_uses(const Op& op) {
  std::vector<WeightOf> all = about(op.kind, [](auto a, const auto& o) { return a.weights(o); });
  std::erase_if(all, [](const WeightOf& w) { return w.id == kNone; });
  return all;
}

std::vector<WeightId> weights_of(const Op& op) {
  std::vector<WeightId> ids;
  for (const WeightOf& w : weight_uses(op)) ids.push_back(w.id);
  return ids;
}

std::vector<Dim> infer_shape(const Program& program, const OpKind& kind) {
  const Checker check(program, name_of(kind));
  return about(kind, [&](auto a, const auto& o) -> Shape { return a.shape(o, check); });
}

std::string attributes_of(const OpKind& kind) {
  return about(kind, [](auto a, const auto& o) -> std::string { return a.attributes(o); });
}

Place place_of(const OpKind& kind) {
  return about(kind, [](auto a, const auto& o) { return a.place(o); });
}

StateId written_state(const OpKind& kind) {
  return about(kind, [](auto a, const auto& o) { return a.writes(o); });
}

SlotStateId slot_state_of(const OpKind& kind) {
  return about(kind, [](auto a, const auto& o) { return a.slot(o); });
}

bool is_sequential(const OpKind& kind) { return slot_state_of(kind) != kNone; }

size_t state_bytes_read(const Program& program, const OpKind& kind, int64_t context) {
  if (const SlotStateId slot = slot_state_of(kind); slot != kNone)
    return static_cast<size_t>(program.slot_states[static_cast<size_t>(slot)].size) * sizeof(float);
  const Usual::Read read = about(kind, [&](auto a, const auto& o) { return a.reads(o, context); });
  if (read.state == kNone) return 0;
  const KvState& s = program.states[static_cast<size_t>(read.state)];
  return static_cast<size_t>(read.positions) * static_cast<size_t>(s.elements()) * 2;
}

}  // namespace outboard::program
