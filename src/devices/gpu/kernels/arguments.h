// What the kernels are handed. One text for both sides: on the host a Ptr is a GPU address, on the
// device a pointer to global memory. Nothing here is virtual, owned or padded differently: every
// member is 4 or 8 bytes wide and lies at a multiple of its size.
//
// Rows of activations are float32 in VRAM, `stride` floats apart. T is the number of tokens that a
// stream was recorded for (its bucket), R that of rows of logits; tokens beyond the step's own have
// position -1: their rows are computed like others (of token 0) and mean nothing, and nothing of
// them reaches the KV cache.
#pragma once

#ifdef __AMDGCN__
typedef int int32_t;
typedef unsigned int uint32_t;
typedef unsigned short uint16_t;
typedef unsigned char uint8_t;
typedef signed char int8_t;
typedef long int64_t;
typedef unsigned long uint64_t;
#else
#include <cstdint>
#endif

namespace outboard::devices::gpu::kernels {

#ifdef __AMDGCN__
template <typename T>
using Ptr = __attribute__((address_space(1))) T*;
#else
template <typename T>
struct Ptr {
  uint64_t address = 0;
};
#endif

// Threads in a workgroup of every kernel here: 8 waves of 32.
constexpr int kThreads = 256;

// --- weights ---

// How a matrix lies in VRAM: the format's blocks taken apart into planes (planes.h) of rows back to
// back. Values are GGML's type numbers (formats::TensorType).
struct Matrix {
  Ptr<const uint8_t> codes;   // the low bits, or whole elements of plain formats
  Ptr<const uint8_t> high;    // further bits, for formats that have them
  Ptr<const uint8_t> scales;  // scales and minimums
  int32_t type = -1;          // -1: no matrix
  int32_t rows = 0;
  int32_t columns = 0;
  int32_t reserved = 0;
};

// --- what a step brings along ---

constexpr int kMaxStops = 8;      // end-of-generation tokens that a run may end at
constexpr int kMaxRecent = 1024;  // tokens that the repetition penalty looks back on
constexpr int kMaxBest = 32;      // candidates of a run, as devices::kMaxBest
constexpr int kMaxMasks = 64;     // runs of a step that may choose from some tokens only

// How a run's next token is chosen; see devices::Sampling. Token ids below zero (here and in ids)
// mean: what this run chose in the step that many steps ago. `begin` puts the tokens in their
// place.
struct RunSampling {
  float temperature;
  int32_t top_k;
  float top_p;
  float min_p;
  float repeat_penalty;
  float random;
  int32_t recent_count;
  int32_t stop_count;
  int32_t mask;  // its number among the step's masks; -1: any token may be chosen
  int32_t stops[kMaxStops];
  int32_t recent[kMaxRecent];
};

// Offsets in bytes into a step record: the same in system memory, where the host writes it, and in
// VRAM, where `begin` puts it for all other kernels.
struct StepHeader {
  int32_t tokens;  // in this step, at most T
  int32_t rows;    // of logits, at most R
  int32_t runs;
  int32_t slot;  // of the ring of records; also of `chosen`
  // Of tokens: each run's from its last row, then those from rows before it, at most max_runs.
  int32_t choices;
  int32_t reserved[3];
};
// A run, for kernels that go through its tokens in order.
struct SlotRun {
  int32_t slot;   // that it begins from
  int32_t first;  // token
  int32_t tokens;
  int32_t reserved;
};
struct StepLayout {
  int32_t ids;        // int32 [max_tokens]
  int32_t positions;  // int32 [max_tokens], -1: padding
  int32_t token_run;  // int32 [max_tokens]
  int32_t row_token;  // int32 [max_rows]: the token whose row it is
  // Of each choice: the row of logits that it is made from, -1: nothing is chosen.
  int32_t choice_row;  // int32 [max_runs]
  int32_t best;        // int32 [max_runs]: so many of the best tokens are wanted; 0: sampling
  // int32 [max_runs, pages_per_run]: KV pages of each run, from position 0; full ones, and window
  // pages (0: there are none)
  int32_t pages;
  int32_t window_pages;
  // Of Programs with an encoder (encode steps: of each run itself); neighbours that share a source
  // have the number of the first of them.
  int32_t source_run;     // int32 [max_runs]
  int32_t source_tokens;  // int32 [max_runs]
  int32_t source_pages;   // int32 [max_runs, pages_per_run]
  int32_t sampling;       // RunSampling [max_runs], of choices by sampling
  // int32 [max_copies, 2], from and to; behind them those of window pages, then of slots; read by
  // `copy_pages` alone.
  int32_t copies;
  int32_t bytes;  // of the whole record
  int32_t max_runs;
  int32_t max_tokens;
  int32_t max_rows;
  int32_t pages_per_run;
  int32_t page_tokens;  // positions a page, a power of two
  int32_t max_copies;
  int32_t has_sources;  // 1: of a Program with an encoder
  int32_t slot_runs;    // SlotRun [max_runs], of Programs with slot states; 0: there are none
  // Of these, int32 [max_tokens]: the slot that gets what its run has come to behind this token;
  // -1: none.
  int32_t token_slot;
  // Of Programs with a drafter, int32 [max_tokens]: the row that was kept for this token. Else 0.
  int32_t kept;
};
// The record in VRAM.
struct Step {
  Ptr<const uint8_t> record;  // StepHeader, then the arrays
  StepLayout layout;
};

// --- rows ---

enum class NormKind : int32_t { kNone, kRms, kLayer };
// Over the whole row. bias may be null.
struct Norm {
  NormKind kind = NormKind::kNone;
  float epsilon = 0;
  Ptr<const float> weight;
  Ptr<const float> bias;
};

enum class InputKind : int32_t {
  kRows,       // x
  kGated,      // function(x) * y
  kActivated,  // function(x)
};
// As program::Function.
enum class Function : int32_t {
  kSilu,
  kGeluTanh,
  kGeluErf,
  kRelu,
  kSigmoid,
  kSwigluOai,
  kIdentity,
  kReluSquared
};

// A row that a matrix is multiplied with: v = kind(x, y); if `add`: v = v + add_norm(add), which is
// also stored to `sum` (when not null) by one workgroup, and then v = norm(v), stored to `normed`
// likewise. Other workgroups may still read when these are written: they must be none of the
// inputs.
struct Input {
  InputKind kind = InputKind::kRows;
  Function function = Function::kSilu;
  int32_t width = 0;
  int32_t selected = 0;  // 1: rows are those of row_token (logits); else row t is token t
  Ptr<const float> x;
  Ptr<const float> y;
  Ptr<const float> add;
  Ptr<float> sum;
  Ptr<float> normed;
  int32_t x_stride = 0, y_stride = 0, add_stride = 0, sum_stride = 0, normed_stride = 0;
  int32_t reserved = 0;
  Norm add_norm;
  Norm norm;
};

// --- begin: a step's record into VRAM. One workgroup. ---
struct BeginArgs {
  Ptr<const uint32_t> slot;    // VRAM: which record this step has
  Ptr<const uint8_t> records;  // system memory: [slots, layout.bytes]
  Ptr<uint8_t> record;         // VRAM
  Ptr<const int32_t> chosen;   // VRAM: [slots, max_runs], what earlier steps chose
  Ptr<int32_t> ended;          // VRAM: [max_runs], cleared where a run's first id is >= 0
  StepLayout layout;
  int32_t slots;
  int32_t tokens;  // T: ids from the step's own number to here become 0, positions -1, run 0
  int32_t rows;    // R, likewise: row_token 0
  int32_t drafts;  // 1: a draft step's
};

// --- embed: rows of tables. Workgroups: T. ---
struct EmbedArgs {
  Step step;
  Matrix table;      // row ids[t], times scale; with by_token row t
  Matrix positions;  // row positions[t] is added, where there is a matrix
  float scale;
  int32_t stride;
  Ptr<float> out;  // [T, stride]
  int32_t by_token;
  int32_t reserved;
};

// --- matvec_B, B = 1, 2, 4, 8 rows: out = matrix * input, for few rows. ---
// matvec_1_plain: for the inputs that most models have, is_plain() in planes.h; begins sooner.
// matvec_1_narrow: the same for rows of few columns, of which more workgroups are there at once.
// Workgroups: plan_matvec() in planes.h. Parts lie one after the other: part 0's rows first; those
// from part_count on have no rows.
struct Part {
  Matrix matrix;
  Ptr<const float> bias;  // [rows], may be null
  Ptr<float> out;         // [B, stride]
  int32_t stride;
  int32_t accumulate;  // 1: out += (a residual)
  // Of experts: a matrix's rows from expert to expert, and the first of an expert's that is meant;
  // of all of them there are bias [experts * expert_rows] too. matrix.rows are so many.
  int32_t expert_rows;
  int32_t expert_first;
};
// As many as a delta net's projections: what goes through the convolution, gate, rates.
constexpr int kMaxParts = 4;
struct MatvecArgs {
  Step step;
  Input input;
  Part parts[kMaxParts];
  int32_t part_count;
  // 1: part_count is 2, of equal rows and one type; out (part 0's) = function(row 0) * row 1.
  int32_t gated;
  Function function;
  float softcap;  // 0: none; out = softcap * tanh(out / softcap)
  // Set by plan_matvec(). A wave takes so many pairs of rows of one part, fewer where these are
  // longer than others; those of part i are for waves from first_wave[i] on.
  int32_t pairs_a_wave[kMaxParts];
  int32_t most_pairs_a_wave;
  int32_t first_wave[kMaxParts];
};

// --- prepare: rows for `matmul`, and norms that no matrix follows. Workgroups: rows. ---
struct PrepareArgs {
  Step step;
  Input input;
  Ptr<uint16_t> half;   // [rows, half_stride] float16, times 2^-exponent; null: not wanted
  Ptr<float> factor;    // [rows]: 2^exponent, so that the largest magnitude is in float16's range
  Ptr<float> out;       // [rows, out_stride] float32; null: not wanted
  int32_t half_stride;  // elements, a multiple of 16; columns from width on are written as 0
  int32_t out_stride;
};

// --- matmul: out = matrix * rows with WMMA, for many rows. ---
// Workgroups: matmul_workgroups() in planes.h. M: rows, a multiple of 16. Parts as in MatvecArgs.
// matmul_few: the same for up to 16 rows, any number of them. Workgroups: few_workgroups().
struct MatmulArgs {
  Ptr<const uint16_t> half;  // [M, half_stride]
  Ptr<const float> factor;   // [M]
  int32_t half_stride;
  int32_t m;
  Part parts[kMaxParts];
  int32_t part_count;
  float softcap;
};

// --- mixtures of experts ---
// A matrix of all experts holds theirs one after the other: its planes are those of [experts *
// rows, columns], its `rows` those of one expert.
constexpr int kMaxExperts = 1024;
constexpr int kMaxExpertsUsed = 32;

enum class Gating : int32_t { kSoftmax, kSigmoid, kSoftmaxOfChosen };  // as program::Gating

// What a router's rows of logits come to; see program::Experts: the `used` best (of equals the
// first), weighted by what gating makes of their logits, made to sum 1 when `normalise`, times
// scale.
struct Routing {
  Ptr<const float> logits;  // [T, logit_stride]
  Ptr<int32_t> chosen;      // [T, used]
  Ptr<float> weights;       // [T, used]
  int32_t logit_stride;
  int32_t experts;  // up to kMaxExperts
  int32_t used;     // up to kMaxExpertsUsed
  int32_t normalise;
  Gating gating = Gating::kSoftmax;
  float scale = 1;
  int32_t group_count = 1;  // up to 32
  int32_t group_used = 1;
  Ptr<const float> selection_bias = {};  // [experts], or null
  Ptr<const float> down_scale = {};      // [experts], or null: goes into the weights
};

// expert_matvec: matvec of one row at a time. Workgroups: (plan_matvec(), rows of output).
// expert_matvec_narrow: the same for the inputs that matvec_1_narrow takes. With `chosen`: row
// t * used + i of the outputs is row t of the input times the matrices of expert chosen[t, i].
// Else row t is row t of the input times the matrices, with `heads` those of expert t % heads.
struct ExpertMatvecArgs {
  MatvecArgs matvec;
  Ptr<const int32_t> chosen;  // [T, used], or null
  int32_t used;
  int32_t heads;  // 0: none
  // Where it has experts: part 0 is their router. Whichever workgroup is the last of a token makes
  // the choice.
  Routing routing;
  Ptr<uint32_t> ended;  // [T]: workgroups that are done; 0 before and behind the launch
  int32_t workgroups;   // in x
  int32_t reserved;
};

// expert_down: out[t] = sum over i of weight(t, i) * matrix of expert(t, i) * v(t, i), where
// v(t, i) is function of row t * used + i of x, times y where there is a y. Workgroups:
// (expert_down_workgroups(), T).
struct ExpertDownArgs {
  Matrix matrix;              // of all experts
  Ptr<const int32_t> chosen;  // [T, used]
  Ptr<const float> weights;   // [T, used]
  Ptr<const float> x;         // [T * used, stride]
  Ptr<const float> y;         // likewise, or null
  Ptr<float> out;             // [T, out_stride]
  int32_t stride;             // floats, a multiple of 32 that holds the matrix's columns
  int32_t out_stride;
  int32_t used;
  int32_t accumulate;  // 1: out += (a residual)
  Function function;
  int32_t reserved;
  Ptr<const float> bias;  // [experts, rows], or null: added to each expert's product
};

// For many tokens, pairs of a token and one of its experts are sorted by expert ("slots"), so that
// `expert_matmul` multiplies all rows of an expert at once.
// route: chosen and weights of all tokens, of which the router's launch made no choice. Workgroups:
// ceil(T / 8).
struct RouteArgs {
  Routing routing;
  int32_t tokens;
  int32_t reserved;
};
// expert_slots. One workgroup.
struct ExpertTile {
  int32_t expert;
  int32_t first;  // slot
  int32_t count;  // slots, at most tile_slots; 0: no tile
  int32_t reserved;
};
struct ExpertSlotsArgs {
  Ptr<const int32_t> chosen;  // [T, used]
  Ptr<int32_t> slot_of;       // [T, used]
  Ptr<int32_t> token_of;      // [T * used]
  Ptr<ExpertTile> tiles;      // [max_tiles]
  int32_t tokens;
  int32_t used;
  int32_t experts;
  int32_t tile_slots;  // up to 128
  int32_t max_tiles;   // at least ceil(T * used / tile_slots) + min(experts, T * used)
  int32_t reserved;
};
// expert_matmul: `matmul` whose output rows are slots. Workgroups: expert_matmul_workgroups(). The
// matrices are of all experts. m and accumulate mean nothing here.
struct ExpertMatmulArgs {
  MatmulArgs matmul;
  Ptr<const ExpertTile> tiles;
  Ptr<const int32_t> rows;  // [slots]: the row of `half` that a slot multiplies; null: the slot's
  int32_t max_tiles;
  int32_t reserved;
};
// expert_sum: out[t] = sum over i of weight(t, i) * part[slot_of(t, i)]. Workgroups: T.
struct ExpertSumArgs {
  Ptr<const float> part;       // [slots, stride]
  Ptr<const int32_t> slot_of;  // [T, used]
  Ptr<const float> weights;    // [T, used]
  Ptr<float> out;              // [T, out_stride]
  int32_t stride;
  int32_t out_stride;
  int32_t width;
  int32_t used;
  int32_t accumulate;
  int32_t reserved;
};

// --- rope and KV ---
struct Rope {
  int32_t rotary = 0;  // elements of each head that turn; 0: none
  int32_t neox = 0;    // 1: pairs (i, i + rotary / 2); 0: (2i, 2i + 1)
  // [rotary / 2, 2]: turns (an angle over 2 pi) a position, as a float and what the float lacks, so
  // that the fraction of position * turns is exact enough at any position.
  Ptr<const float> turns;
  float magnitude = 1;     // of what turns
  int32_t norm_after = 0;  // 1: the norm's weights come after the turn (its magnitude is 1)
  // The whole head is multiplied with what program::PositionScale says; 0: nothing.
  float position_scale = 0, position_length = 1, position_offset = 0;
  int32_t reserved = 0;
};
// Half-precision keys and values of one layer. Key of a position: keys + page * page_stride +
// (kv_head * page_tokens + slot) * key_dim; values likewise with value_dim. Strides in elements.
struct KvCache {
  Ptr<uint16_t> keys;
  Ptr<uint16_t> values;
  uint64_t page_stride;
};
constexpr int kMaxKeyDim = 576;
constexpr int kMaxValueDim = 512;
// What `attention_decode` comes to over each split of the context, until the last of them is done.
constexpr int kMaxSplits = 32;
struct Splits {
  Ptr<float> sums;      // [T, heads, splits, value_dim]: sum of exp(score - maximum) * value
  Ptr<float> stats;     // [T, heads, splits, 2]: maximum, sum of exp(score - maximum)
  Ptr<uint32_t> ended;  // [T, kv_heads]: splits that are done; 0 before and behind the launch
  int32_t splits = 0;   // up to kMaxSplits
  int32_t reserved = 0;
};
struct AttentionArgs {
  Step step;
  KvCache cache;
  Ptr<float> q;  // [T, q_stride]: [heads, key_dim]
  Ptr<float> k;  // [T, k_stride]: [kv_heads, key_dim]
  Ptr<float> v;  // [T, v_stride]: [kv_heads, value_dim]
  int32_t q_stride, k_stride, v_stride;
  // dims: multiples of 8, of keys up to kMaxKeyDim, of values up to kMaxValueDim
  int32_t heads, kv_heads, key_dim, value_dim;
  int32_t window;  // 0: all earlier positions
  float scale;
  float softcap;  // 0: none
  Norm q_norm;    // over each head, before rope: kRms or kNone; weight [key_dim] or null
  Norm k_norm;
  Rope q_rope;
  Rope k_rope;
  Splits splits;   // of attention_decode
  Ptr<float> out;  // [T, out_stride]: [heads, value_dim]
  int32_t out_stride;
  int32_t tokens;          // T
  int32_t source;          // 1: all positions of the run's source are seen, instead of its own
  int32_t chunked;         // 1: the window begins at its multiples, position / window * window
  Ptr<const float> sinks;  // [heads]: a further score without value, or null
  Norm v_norm;             // over each head: kRms or kNone
  // 1: a value is the beginning of its key, `values` are the keys, and nothing is written to them.
  int32_t values_in_keys;
  int32_t pages;  // where the run's own pages stand in the record
};
// attention_decode: every token is its run's last, runs have one token each. Does q's and k's norm
// and rope, writes k and v of the new position, attends. Workgroups: (splits, kv_heads, T). Split s
// of a token at position p takes positions [first + s * n, first + (s + 1) * n) of first..p, with
// n = split_positions(p - first + 1, splits); splits without positions do nothing. Whichever
// workgroup is the last of a token and KV head puts its splits together. Rows of no token become 0.
// With `source`: writes no keys; neighbours with one source are taken together, which their first
// does.
// rope_kv: q is normed and turned in place, k and v go to the cache; with no heads, k and v alone.
// Workgroups: T. Both: where k is null nothing is written, an earlier launch has.
// attention_prompt: q as rope_kv left it; tokens of a run attend to all of its positions up to
// their own. Workgroups: (ceil(T / 16), heads, ceil(value_dim / 256)). The T tokens of a stream lie
// run by run, in order.
// attention_tiles_64, _128: the same for keys and values of so many elements, values of their own,
// pages of a multiple of four positions. Keys and values are read once for kTilesUnits times 16
// queries. Workgroups: (attention_tiles(), kv_heads).
constexpr int kTilesUnits = 4;  // one head of 16 tokens each
#ifdef __AMDGCN__
__attribute__((device))
#endif
constexpr int32_t
attention_tiles(int32_t tokens, int32_t heads, int32_t kv_heads) {
  return ((tokens + 15) / 16 * (heads / kv_heads) + kTilesUnits - 1) / kTilesUnits;
}

// Positions in a split: a multiple of 64, so that short contexts use few splits; of longer ones a
// multiple of 16, so that all have the same to do.
#ifdef __AMDGCN__
__attribute__((device))
#endif
constexpr int32_t
split_positions(int32_t positions, int32_t splits) {
  const int32_t n = (positions + splits - 1) / splits;
  const int32_t step = n <= 256 ? 64 : 16;
  return (n + step - 1) / step * step;
}

// --- sample: the next token of each run, or its best. Workgroups: max_runs. ---
// Chosen, or the token of all the best, where the logits hold NaN, or the greatest is infinite, or
// all are minus infinity. A step that goes on from it takes token 0.
constexpr int32_t kNotFinite = -2;
// One of the best tokens, as devices::Candidate.
struct BestToken {
  int32_t token;  // -1: there are no more
  float log_probability;
};
struct SampleArgs {
  Step step;
  Ptr<float> logits;     // [R, stride]; the repetition penalty changes them; stride % 4 == 0
  Ptr<int32_t> chosen;   // VRAM: [slots, max_runs]
  Ptr<int32_t> results;  // system memory: [slots, max_runs]
  Ptr<BestToken> best;   // system memory: [slots, max_runs, kMaxBest]
  // System memory, of one step: [kMaxMasks or max_runs, mask_words]. Bit t % 32 of word t / 32 says
  // whether token t may be chosen; logits of others become minus infinity (NaN stays NaN).
  Ptr<const uint32_t> masks;
  Ptr<int32_t> ended;   // VRAM: [max_runs]: 1 once a run has chosen one of its stops or kNotFinite
  Ptr<uint32_t> alive;  // VRAM: 0 once all runs of the step have ended
  int32_t stride;
  int32_t vocabulary;  // so many logits of a row are chosen from, the first
  int32_t mask_words;  // at least vocabulary / 32, rounded up
  int32_t reserved;
};

// --- ssm_conv: program::SsmConv. Workgroups: (ceil(width / kThreads), runs of the stream). ---
constexpr int kMaxTaps = 8;
struct SsmConvArgs {
  Step step;
  Ptr<const float> x;       // [T, x_stride]
  Ptr<float> out;           // [T, out_stride]; rows of no token become 0
  Ptr<const float> weight;  // [width, taps]
  Ptr<const float> bias;    // [width], may be null
  Ptr<float> states;        // of slot 0: [taps - 1, width]
  uint64_t slot_stride;     // floats from slot to slot
  int32_t x_stride, out_stride;
  int32_t width;
  int32_t taps;    // 2 to kMaxTaps
  int32_t tokens;  // T
  Function function;
};

// --- gated_delta_*, selective_scan_*: program::GatedDelta, program::SelectiveScan. Workgroups:
// (heads, runs of the stream). A lane a column, kThreads / lanes shares of the rows, of so many
// rows each as the kernel's name says. ---
constexpr int kMaxStateColumns = kThreads;
constexpr int kMaxStateRows = 512;
struct RecurrenceArgs {
  Step step;
  Ptr<float> out;         // [T, out_stride]; rows of no token become 0
  Ptr<float> states;      // of slot 0: [heads, rows, columns]
  uint64_t slot_stride;   // floats from slot to slot
  Norm norm;              // of what a head comes to, weight [columns]; kNone or kRms
  Ptr<const float> gate;  // [T, gate_stride]: function(gate) * what comes out, or null
  int32_t out_stride, gate_stride;
  int32_t heads, rows, columns;
  int32_t lanes;   // columns rounded up to a power of two, at least 32
  int32_t tokens;  // T
  Function function;
};
struct GatedDeltaArgs {
  RecurrenceArgs state;
  Ptr<const float> q, k, v, alpha, beta;
  Ptr<const float> a, dt;  // [heads]
  int32_t q_stride, k_stride, v_stride, alpha_stride, beta_stride;
  int32_t key_heads;
  int32_t neighbours;
  float epsilon;
};
struct SelectiveScanArgs {
  RecurrenceArgs state;
  Ptr<const float> x, b, c, dt;
  Ptr<const float> a, dt_bias, skip;  // [heads]
  int32_t x_stride, b_stride, c_stride, dt_stride;
  int32_t groups;
  int32_t reserved;
};

// --- copy_pages: whole KV pages, or slots. Workgroups: (copy_pages_workgroups(), copies). ---
constexpr int32_t kCopyBytes = 16 * 4 * kThreads;  // a workgroup
struct CopyPagesArgs {
  Ptr<const int32_t> copies;  // [copies, 2]: from, to
  Ptr<uint8_t> kv;
  uint64_t page_bytes;  // a multiple of 16
};

// --- elementwise: for what no other kernel takes along. Workgroups: (elementwise_workgroups(), T
// (or R)). ---
constexpr int32_t kElementwiseColumns = 4 * kThreads;
// kScale: x * factor, times y[i / each] where there is a y (of one row). kGate: x[i / each] is the
// gate. kSlice: of each run of x of x_each elements those from `begin` on, `each` of them. kConcat:
// runs of x_each elements of x and of each - x_each of y in turns. kGather: row y[row] of x, y
// being integers. kPositionScale: program::PositionScale, with factor, length, offset.
enum class RowsKind : int32_t {
  kAdd,
  kScale,
  kActivation,
  kGate,
  kSoftcap,
  kSelect,
  kSlice,
  kConcat,
  kGather,
  kPositionScale
};
struct ElementwiseArgs {
  Step step;
  RowsKind kind;
  Function function;
  float factor;  // scale, softcap
  int32_t width;
  Ptr<const float> x;
  Ptr<const float> y;
  Ptr<float> out;
  int32_t x_stride, y_stride, out_stride;
  int32_t each = 1;
  int32_t x_each = 1;
  int32_t begin = 0;
  float length = 1, offset = 0;
};
// rope: program::Rope of rows as they are, whose heads lie x_head and out_head elements apart.
// Workgroups: T.
struct RopeArgs {
  Step step;
  Ptr<const float> x;
  Ptr<float> out;
  int32_t x_stride, out_stride, x_head, out_head, heads, head_dim;
  Rope rope;
};
// group_norm: each run of `group` elements is normalised. Workgroups: T.
struct GroupNormArgs {
  Ptr<const float> x;
  Ptr<float> out;
  int32_t x_stride, out_stride, width, group;
  Norm norm;
  int32_t weight_each;  // elements from a group's weights to the next one's; 0: all have the same
  int32_t reserved;
};
// number_heads: chosen[i] = i % heads. Workgroups: ceil(count / 256).
struct NumberHeadsArgs {
  Ptr<int32_t> chosen;
  int32_t count;
  int32_t heads;
};

// --- repack: blocks as they lie in a file into planes. Workgroups: repack_workgroups(). ---
struct RepackArgs {
  Ptr<const uint8_t> blocks;  // of rows first_row to first_row + rows - 1, aligned to 16 bytes
  Matrix matrix;
  int32_t first_row;
  int32_t rows;
};

}  // namespace outboard::devices::gpu::kernels
