// The forward pass of one model as plain data.
//
// A Program is made once when a model is loaded: values with symbolic dimensions, ops at the level
// a reader of the paper knows, weights by name, and the states that outlive a step. It holds no
// pointers to weights and no device types. Devices compile it; a model file never mentions a
// kernel.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "formats/tensor_type.h"

namespace outboard::program {

// A dimension is a number, or one that each Step decides.
struct Dim {
  enum Kind : uint8_t {
    kFixed,
    kTokens,  // T: tokens in this step
    kRows,    // R: rows of this step that want logits, R <= T
  };
  Kind kind = kFixed;
  int64_t size = 0;  // when fixed

  friend bool operator==(const Dim&, const Dim&) = default;
};

enum class ElementType : uint8_t { kFloat, kInt };

using ValueId = int32_t;      // index into Program::values
using WeightId = int32_t;     // index into Program::weights
using StateId = int32_t;      // index into Program::states
using SlotStateId = int32_t;  // index into Program::slot_states
constexpr int32_t kNone = -1;

struct Value {
  std::string name;  // for people: "layer 3 q"
  ElementType type = ElementType::kFloat;
  std::vector<Dim> shape;  // row-major, outermost first
};

struct Weight {
  std::string name;  // the tensor's name in the model file
  formats::TensorType type = formats::TensorType::F32;
  std::vector<int64_t> shape;  // row-major; a linear layer's is [outputs, inputs]
};

// States are of two kinds. A KvState is paged: it grows with every position, and what was computed
// of a position stays as it is. A SlotState has one size however long the sequence is, and every
// token changes it.

// The keys and values that one layer keeps of every position. A page of KV memory holds either all
// states of a sequence's own positions or all states of a source's: both kinds share its room.
struct KvState {
  int kv_heads = 0;
  int key_dim = 0;      // elements a head
  int value_dim = 0;    // elements a head
  bool source = false;  // of an encoder's source, written in encode steps
  // A value is the first value_dim elements of its key, and takes no room of its own: the latent of
  // multi-head latent attention, arXiv:2405.04434, 2.1.
  bool values_in_keys = false;
  // No op reads further back than this many positions, its own included (find_windows()); 0: some
  // op reads all of them.
  int window = 0;

  // Elements that a position takes.
  int elements() const { return kv_heads * (key_dim + (values_in_keys ? 0 : value_dim)); }
};

// What one layer keeps of a sequence as a whole: float32 values, all 0 before position 0. All slot
// states of a sequence lie in its slot.
struct SlotState {
  int64_t size = 0;  // values
};

// kSwigluOai, of a Gate or Experts alone: with g = min(gate, 7) and u = up held to [-7, 7],
// g * sigmoid(1.702 g) * (u + 1); gpt-oss (github.com/openai/gpt-oss, torch/model.py, swiglu).
enum class Function : uint8_t {
  kSilu,
  kGeluTanh,
  kGeluErf,
  kRelu,
  kSigmoid,
  kSwigluOai,
  kIdentity,
  kReluSquared,  // max(x, 0)^2, arXiv:2109.08668
};

// --- ops: each says its inputs' shapes -> its output's shape ---

// ids [T] -> [T, width]: rows of table [n, width], times scale.
struct Embed {
  ValueId ids;
  WeightId table;
  float scale = 1;
  // Of a table that is large beside what a token reads of it: a device with memory of its own does
  // not hold it, the host brings the rows of a step's tokens. ids are the step's then.
  bool by_host = false;
};
// x [.., n * group] -> same. Each run of `group` elements is normalised; weight [group], of each
// run's own [n, group], or kNone. Root mean square layer normalisation, arXiv:1910.07467.
struct RmsNorm {
  ValueId x;
  WeightId weight;
  float epsilon;
  int64_t group;
};
// x [.., width] -> same; weight and bias [width] may be kNone. Each run of `group` elements (0: the
// whole row) is normalised by itself; the weight may be [width / group, group]. arXiv:1607.06450.
struct LayerNorm {
  ValueId x;
  WeightId weight;
  WeightId bias;
  float epsilon;
  int64_t group = 0;
};
// x [.., inputs] -> [.., outputs]: x * weight^T + bias; bias [outputs] may be kNone; a weight
// [inputs] has one output. With a weight
// [heads, outputs, inputs], x [.., heads * inputs] -> [.., heads * outputs]: each head has a matrix
// of its own, and there is no bias.
struct Linear {
  ValueId x;
  WeightId weight;
  WeightId bias;
};
// x [.., heads * width] -> [.., heads * size]: of each head the columns begin to begin + size. A
// view, not a copy, where there is one head.
struct Slice {
  ValueId x;
  int64_t begin;
  int64_t size;
  int heads = 1;
};
// a [.., heads * n], b [.., heads * m] -> [.., heads * (n + m)]: head by head, a's columns before
// b's.
struct Concat {
  ValueId a;
  ValueId b;
  int heads = 1;
};
// x [T, heads * head_dim] -> same. Rotary position embedding, arXiv:2104.09864, over the
// first `rotary` elements of each head. Pair i turns by position * rope_frequencies()[i].
struct Rope {
  ValueId x;
  int head_dim;
  int rotary;
  float base;
  float scale;          // linear position scaling ("a context n times longer"), 1 for none
  WeightId factors;     // [rotary / 2] frequency divisors (Llama 3.1), or kNone
  bool neox;            // pairs (i, i + rotary/2); else (2i, 2i + 1)
  float magnitude = 1;  // what turned elements are multiplied with
  // YaRN, arXiv:2309.00071: pairs that turn more than beta_fast times in the original context keep
  // their frequency, those below beta_slow have it divided by `scale`, those between have some of
  // both. extrapolation: how much of this is done, 0 (none) to 1.
  float extrapolation = 0;
  float beta_fast = 32;
  float beta_slow = 1;
  // The context before it was stretched, for YaRN, and for LongRoPE (arXiv:2402.13753): contexts
  // longer than it take these factors instead (settle_context()).
  int64_t original_context = 0;
  WeightId long_factors = kNone;
};
// x [T, width] -> same: times 1 + scale * ln(1 + floor((position + offset) / length)). Queries that
// look back far get larger, so that their attention stays sharp ("temperature" of Llama 4 and
// Mistral 3's attention).
struct PositionScale {
  ValueId x;
  float scale;
  float length;
  float offset;
};
// q [T, heads * key_dim], k [T, kv_heads * key_dim], v [T, kv_heads * value_dim]
// -> [T, heads * value_dim]. Appends k and v to the state, then each token attends to its own
// sequence's positions p - window + 1 .. p (all up to p when window is 0). Not causal (an
// encoder's, whose state is a source's): each token attends to all tokens of its run, which is the
// whole source; the state is not needed afterwards, so that an encoder's layers may share one.
// v is kNone where the state keeps values in keys; k and v are both kNone where an earlier op's
// keys and values, of the same state, are attended to once more.
struct Attention {
  ValueId q;
  ValueId k;
  ValueId v;
  StateId state;
  int heads;
  int window;
  float scale;    // scores are scale * q.k
  float softcap;  // 0, or scores become softcap * tanh(score / softcap)
  bool causal = true;
  // [heads], or kNone: a further score of each head, which takes part in the softmax and has no
  // value (attention sinks, arXiv:2309.17453).
  WeightId sinks = kNone;
  // The window lies at its multiples: the positions floor(p / window) * window .. p are seen
  // (chunked attention of Llama 4).
  bool chunked = false;
};
// k [T, kv_heads * key_dim], v [T, kv_heads * value_dim]: go to a source's state, for the
// CrossAttention of later steps. Has no output.
struct KvWrite {
  ValueId k;
  ValueId v;
  StateId state;
};
// q [T, heads * key_dim] -> [T, heads * value_dim]: each token attends to all positions of its
// sequence's source. arXiv:1706.03762, 3.2.3.
struct CrossAttention {
  ValueId q;
  StateId state;
  int heads;
  float scale;
};
// x [T, width] -> [T, width]: for each channel function of the weighted sum of its last `taps`
// inputs in the token's sequence, oldest first (0 before position 0), + bias; weight [width, taps],
// bias [width] or kNone. The causal convolution of Mamba and its successors, arXiv:2312.00752, 3.4.
// Its state keeps the last taps - 1 inputs, [taps - 1, width], oldest first.
struct SsmConv {
  ValueId x;
  WeightId weight;
  WeightId bias;
  SlotStateId state;
  Function function = Function::kIdentity;
};
// q, k [T, key_heads * key_dim], v [T, heads * value_dim], alpha and beta [T, heads]
// -> [T, heads * value_dim]: the gated delta rule, arXiv:2412.06464. A head's state S, [key_dim,
// value_dim], goes from token to token: with its key head's q and k brought to length 1 (divided by
// the root of their square sum + epsilon),
//   S = exp(a * softplus(alpha + dt)) S,  S += k (sigmoid(beta) (v - S' k))',  out = S' q /
//   root(key_dim)
// a and dt [heads]; a is negative. The state is [heads, key_dim, value_dim].
struct GatedDelta {
  ValueId q;
  ValueId k;
  ValueId v;
  ValueId alpha;
  ValueId beta;
  WeightId a;
  WeightId dt;
  SlotStateId state;
  int heads;
  int key_heads;
  float epsilon;
  // Heads that share a key head stand side by side (head h has h / (heads / key_heads)); else head
  // h has key head h % key_heads.
  bool neighbours = false;
};
// x [T, heads * head_dim], b and c [T, groups * state_dim], dt [T, heads]
// -> [T, heads * head_dim]: the selective state space of Mamba-2, arXiv:2405.21060. A head's state
// S, [state_dim, head_dim], goes from token to token: with d = softplus(dt + dt_bias) and its
// group's b and c (heads of a group stand side by side),
//   S = exp(d * a) S + b (d x)',  out = S' c + skip * x
// a, dt_bias and skip ("D") [heads], or [heads, 1]. The state is [heads, state_dim, head_dim].
struct SelectiveScan {
  ValueId x;
  ValueId b;
  ValueId c;
  ValueId dt;
  WeightId a;
  WeightId dt_bias;
  WeightId skip;
  SlotStateId state;
  int heads;
  int groups;
};
// gate [.., m], up [.., n] -> [.., n]: function(gate) * up. m divides n: each element of the gate
// is for n / m neighbours.
struct Gate {
  ValueId gate;
  ValueId up;
  Function function;
};
struct Activation {
  ValueId x;
  Function function;
};
// a, b of one shape -> that shape.
struct Add {
  ValueId a;
  ValueId b;
};
// x [.., width] -> same: times factor and, where there is one, weight [width] or [1].
struct Scale {
  ValueId x;
  float factor;
  WeightId weight = kNone;
};
// x -> cap * tanh(x / cap)
struct Softcap {
  ValueId x;
  float cap;
};
// x [T, width] -> [R, width]: the rows that want logits.
struct SelectRows {
  ValueId x;
};
// x [T, width]: the step's rows are kept until the next step has kept its own. Has no output.
struct KeepRows {
  ValueId x;
};
// -> [T, width]: rows that the step before kept; which ones, the run says. Of a drafter alone.
struct KeptRows {
  int64_t width;
};

// How an expert's score becomes its weight among all. kSoftmaxOfChosen: of the scores of those
// chosen alone.
enum class Gating : uint8_t { kSoftmax, kSigmoid, kSoftmaxOfChosen };

// Mixture of experts: x [T, width] -> [T, width]. The router [experts, width] (+ router_bias
// [experts]) scores each token by its row of `routed` (kNone: of x), and gating makes weights of
// the scores. Those `used` with the greatest weights + selection_bias [experts] are run; of
// group_count groups of neighbours only the group_used with the greatest sums of their best two.
// Each: down(function(gate x) * up x), times its weight (renormalised to sum 1 when `normalise`),
// times `scale`. gate, up [experts, hidden, width], down [experts, width, hidden]; with up kNone
// gate is [experts, 2 * hidden, width], the gate's rows before up's, or, where they are not gated,
// [experts, hidden, width] of down(function(gate x)). Any bias may be kNone: those
// of gate and up [experts, hidden], of down [experts, width]. down_scale [experts]: what an
// expert's output is multiplied with, or kNone.
struct Experts {
  ValueId x;
  WeightId router;
  WeightId gate;
  WeightId up;
  WeightId down;
  int used;
  bool normalise;
  Function function;
  ValueId routed = kNone;
  Gating gating = Gating::kSoftmax;
  float scale = 1;
  int group_count = 1;
  int group_used = 1;
  // The row goes into its experts multiplied with their weights, instead of what comes out (Llama
  // 4).
  bool weights_first = false;
  bool gated = true;
  WeightId router_bias = kNone;
  WeightId selection_bias = kNone;
  WeightId gate_bias = kNone;
  WeightId up_bias = kNone;
  WeightId down_bias = kNone;
  WeightId down_scale = kNone;
};

using OpKind =
    std::variant<Embed, RmsNorm, LayerNorm, Linear, Slice, Rope, Attention, Gate, Activation, Add,
                 Scale, Softcap, SelectRows, Experts, KvWrite, CrossAttention, SsmConv, Concat,
                 PositionScale, GatedDelta, SelectiveScan, KeepRows, KeptRows>;

struct Op {
  OpKind kind;
  ValueId out;  // kNone: no output
};

struct Program {
  std::string architecture;  // "llama"
  std::string name;          // the model's own name
  int64_t width = 0;
  int64_t vocabulary = 0;      // logits of a row
  int64_t tokens = 0;          // the first of them, which stand for tokens; the others are padding
                               // of the output matrix, which is never chosen
  int64_t context_length = 0;  // positions the model was trained for

  std::vector<Value> values;
  std::vector<Weight> weights;
  std::vector<KvState> states;
  std::vector<SlotState> slot_states;  // of the decoder; an encoder has none
  std::vector<Op> ops;                 // in order of execution; every input is defined earlier
  // The first encoder_ops ops are an encoder: they run in encode steps, over the tokens of a
  // source, the others in all other steps. Nothing but the source's states goes from one to the
  // other.
  size_t encoder_ops = 0;
  // The last drafter_ops ops are a drafter (a model's own head for further tokens,
  // arXiv:2404.19737): they run in draft steps. A row of theirs is made of a token and of what was
  // kept (KeepRows) at the position before it, and guesses the token behind. Nothing but kept rows
  // goes to them.
  size_t drafter_ops = 0;
  size_t drafter_begin() const { return ops.size() - drafter_ops; }

  // values[0] are the tokens [T], values[1] their positions [T].
  static constexpr ValueId kTokens = 0;
  static constexpr ValueId kPositions = 1;
  ValueId logits = kNone;        // [R, output_width()]
  ValueId draft_logits = kNone;  // the drafter's, [R, vocabulary]; kNone: there is no drafter
  // `logits` are not logits but what the output matrix would read: hidden states behind the final
  // norm (hidden_states()).
  bool ends_in_states = false;

  // Elements of a row that a step gives: vocabulary, or width.
  int64_t output_width() const { return ends_in_states ? width : vocabulary; }
  // Bytes of keys and values for one position, all layers, in half precision: of a sequence or of a
  // source, whichever is more.
  size_t kv_bytes_per_token() const;
  // Of these, those that states with a window take.
  size_t window_bytes_per_token() const;
  // The longest window of a state; 0: no state has one.
  int kv_window() const;
  // Bytes of a sequence's slot; 0 where the Program has no slot states.
  size_t slot_bytes() const;
};

// How an op uses a weight. Devices lay weights out by this.
enum class WeightUse : uint8_t {
  kRow,      // a row for each token
  kHostRow,  // the same, of a table that the host may keep (Embed::by_host)
  kVector,   // beside a row of values: a norm, a bias
  kTable,    // what it says goes into a table that is made when the Program is compiled
  kMatrix,   // multiplied with every row
  kExperts,  // a matrix for each expert, of which every row wants `used`
};
struct WeightOf {
  WeightId id;
  WeightUse use;
  int used = 0;
};

// The values an op reads and the weights it uses, in the order of its fields.
std::vector<ValueId> inputs_of(const Op& op);
std::vector<WeightOf> weight_uses(const Op& op);
std::vector<WeightId> weights_of(const Op& op);
std::string_view name_of(const OpKind& kind);  // "rms_norm"
// Whether it goes through the tokens of a run in order, and keeps what it comes to in a slot.
bool is_sequential(const OpKind& kind);
std::string_view name_of(Function function);  // "gelu_tanh"

// The shape that the op's output has by its inputs; empty where it has none. Throws Error, opening
// with the op's name and giving the shapes, when they do not fit.
std::vector<Dim> infer_shape(const Program& program, const OpKind& kind);

// The frequencies of a rope's pairs [rotary / 2], in radians a position: base^(-2i / rotary) /
// factors[i] / scale, mixed with those that are not scaled as YaRN says. factors may be empty. In
// double: at position 100,000 a float's rounding would turn the fast pairs visibly.
std::vector<double> rope_frequencies(const Rope& rope, std::span<const float> factors);

// Chooses what depends on how long a sequence may become: LongRoPE's factors. Returns whether those
// of long contexts were chosen, with which keys are others.
bool settle_context(Program& program, int64_t context);

// Sets KvState::window of every state by what reads it.
void find_windows(Program& program);

// Checks the whole Program: every input defined before it is used (by an op of the encoder, for its
// ops; of the drafter, for those; else by one of the others), shapes as inferred, each state
// written by one op, logits [R, vocabulary], of which 1 to all are tokens, or hidden states [R,
// width]. Throws Error naming the op.
void verify(const Program& program);

// The same forward pass without its output matrix: it ends in the rows that this would multiply.
// Weights keep their ids. Throws Error where the logits are made in another way.
Program hidden_states(Program program);

// The same without its drafter. Weights keep their ids.
Program without_drafter(Program program);

// The Program as text, an op a line.
std::string to_string(const Program& program);
std::string to_string(const std::vector<Dim>& shape);

}  // namespace outboard::program
