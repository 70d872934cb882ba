// The forward pass of one model as plain data.
//
// A Program is made once when a model is loaded: values with symbolic dimensions, ops at the level
// a reader of the paper knows, weights by name, and the states that outlive a step. It holds no
// pointers to weights and no device types. Devices compile it; a model file never mentions a
// kernel.
#pragma once

#include <cstdint>
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
};

// What one layer keeps of a sequence as a whole: float32 values, all 0 before position 0. All slot
// states of a sequence lie in its slot.
struct SlotState {
  int64_t size = 0;  // values
};

enum class Function : uint8_t { kSilu, kGeluTanh, kGeluErf, kRelu };

// --- ops: each says its inputs' shapes -> its output's shape ---

// ids [T] -> [T, width]: rows of table [n, width], times scale.
struct Embed {
  ValueId ids;
  WeightId table;
  float scale = 1;
};
// x [.., n * group] -> same. Each run of `group` elements is normalised; weight [group], or kNone.
// Root mean square layer normalisation, arXiv:1910.07467.
struct RmsNorm {
  ValueId x;
  WeightId weight;
  float epsilon;
  int64_t group;
};
// x [.., width] -> same; weight and bias [width], bias may be kNone. arXiv:1607.06450.
struct LayerNorm {
  ValueId x;
  WeightId weight;
  WeightId bias;
  float epsilon;
};
// x [.., inputs] -> [.., outputs]: x * weight^T + bias; bias [outputs] may be kNone.
struct Linear {
  ValueId x;
  WeightId weight;
  WeightId bias;
};
// x [.., width] -> [.., size]: columns begin to begin + size. A view, not a copy.
struct Slice {
  ValueId x;
  int64_t begin;
  int64_t size;
};
// x [T, heads * head_dim] -> same. Rotary position embedding, arXiv:2104.09864, over the first
// `rotary` elements of each head. Pair i turns by position * base^(-2i/rotary) / (factors[i] *
// scale).
struct Rope {
  ValueId x;
  int head_dim;
  int rotary;
  float base;
  float scale;       // linear position scaling ("a context n times longer"), 1 for none
  WeightId factors;  // [rotary / 2] frequency divisors (Llama 3.1), or kNone
  bool neox;         // pairs (i, i + rotary/2); else (2i, 2i + 1)
};
// q [T, heads * key_dim], k [T, kv_heads * key_dim], v [T, kv_heads * value_dim]
// -> [T, heads * value_dim]. Appends k and v to the state, then each token attends to its own
// sequence's positions p - window + 1 .. p (all up to p when window is 0). Not causal (an
// encoder's, whose state is a source's): each token attends to all tokens of its run, which is the
// whole source; the state is not needed afterwards, so that an encoder's layers may share one.
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
// x [T, width] -> [T, width]: for each channel the weighted sum of its last `taps` inputs in the
// token's sequence, oldest first (0 before position 0), + bias; weight [width, taps], bias [width]
// or kNone. The causal convolution of Mamba and its successors, arXiv:2312.00752, 3.4. Its state
// keeps the last taps - 1 inputs, [taps - 1, width], oldest first.
struct SsmConv {
  ValueId x;
  WeightId weight;
  WeightId bias;
  SlotStateId state;
};
// gate, up [.., n] -> same: function(gate) * up.
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
struct Scale {
  ValueId x;
  float factor;
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
// Mixture of experts: x [T, width] -> [T, width]. The router [experts, width] scores each token,
// softmax over all experts, the best `used` are run: down(function(gate x) * up x), weighted by
// their probabilities (renormalised to sum 1 when `normalise`). gate, up [experts, hidden, width],
// down [experts, width, hidden].
struct Experts {
  ValueId x;
  WeightId router;
  WeightId gate;
  WeightId up;
  WeightId down;
  int used;
  bool normalise;
  Function function;
};

using OpKind =
    std::variant<Embed, RmsNorm, LayerNorm, Linear, Slice, Rope, Attention, Gate, Activation, Add,
                 Scale, Softcap, SelectRows, Experts, KvWrite, CrossAttention, SsmConv>;

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

  // values[0] are the tokens [T], values[1] their positions [T].
  static constexpr ValueId kTokens = 0;
  static constexpr ValueId kPositions = 1;
  ValueId logits = kNone;  // [R, output_width()]
  // `logits` are not logits but what the output matrix would read: hidden states behind the final
  // norm (hidden_states()).
  bool ends_in_states = false;

  // Elements of a row that a step gives: vocabulary, or width.
  int64_t output_width() const { return ends_in_states ? width : vocabulary; }
  // Bytes of keys and values for one position, all layers, in half precision: of a sequence or of a
  // source, whichever is more.
  size_t kv_bytes_per_token() const;
  // Bytes of a sequence's slot; 0 where the Program has no slot states.
  size_t slot_bytes() const;
};

// How an op uses a weight. Devices lay weights out by this.
enum class WeightUse : uint8_t {
  kRow,      // a row for each token
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
std::string_view name_of(Function function);   // "gelu_tanh"

// The shape that the op's output has by its inputs; empty where it has none. Throws Error, opening
// with the op's name and giving the shapes, when they do not fit.
std::vector<Dim> infer_shape(const Program& program, const OpKind& kind);

// Checks the whole Program: every input defined before it is used (by an op of the encoder, for its
// ops; else by one of the others), shapes as inferred, each state written by one op, logits
// [R, vocabulary], of which 1 to all are tokens, or hidden states [R, width]. Throws Error naming
// the op.
void verify(const Program& program);

// The same forward pass without its output matrix: it ends in the rows that this would multiply.
// Weights keep their ids. Throws Error where the logits are made in another way.
Program hidden_states(Program program);

// The Program as text, an op a line.
std::string to_string(const Program& program);
std::string to_string(const std::vector<Dim>& shape);

}  // namespace outboard::program
