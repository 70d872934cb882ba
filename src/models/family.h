// What the families share: the numbers every decoder has, read and checked once.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/hf_family.h"
#include "formats/model_file.h"
#include "models/keys.h"
#include "program/builder.h"
#include "program/program.h"

namespace outboard::models {

// The metadata of a decoder-only transformer, keys "ARCH.block_count" and so on as llama.cpp writes
// them. Every number is checked to be in a sane range before it is used.
struct Hyperparameters {
  int layers = 0;  // without those that only predict further tokens (nextn_predict_layers)
  int64_t width = 0;
  int64_t context_length = 0;
  int heads = 0;
  int kv_heads = 0;
  // Of each layer; heads and kv_heads are those of the first that has some.
  std::vector<int> layer_heads, layer_kv_heads;
  int key_dim = 0;
  int value_dim = 0;
  float epsilon = 0;
  // How positions turn queries and keys, its x and factors left open (rope_factors()).
  program::Rope rope{.x = program::kNone,
                     .head_dim = 0,
                     .rotary = 0,
                     .base = 10000,
                     .scale = 1,
                     .factors = program::kNone,
                     .neox = false};
  bool rope_freqs = false;        // the file says that tensor rope_freqs scales (Llama 3.1)
  bool long_rope = false;         // ... that rope_factors_{short,long} do
  float yarn_log_multiplier = 0;  // of YaRN; 0 for none
  int window = 0;                 // sliding window in tokens, 0 for none
  float softcap = 0;              // of the logits, 0 for none
};

// kScaledRotary: tensors may scale them, too (rope_factors()).
enum class Positions : uint8_t { kLearned, kRotary, kScaledRotary };
// kSomeLayers: layers without attention have none.
enum class Heads : uint8_t { kEqual, kByLayer, kSomeLayers };

// Reads and checks; epsilon_key is "attention.layer_norm_rms_epsilon" or "..._epsilon". Families
// with learned positions are not asked about rotation or windows. Throws Error for scalings of
// rotary positions that nobody implements, and for layers that differ in heads where the family's
// do not.
Hyperparameters read_hyperparameters(Keys& keys, std::string_view epsilon_key,
                                     Positions positions = Positions::kRotary,
                                     Heads heads = Heads::kEqual);

// What YaRN makes of the magnitude of turned elements when a context gets `factor` times longer.
float yarn_magnitude(float factor, float multiplier);

// h.rope with the tensors that scale it, where the file has some: rope_freqs (Llama 3.1), or
// rope_factors_short and rope_factors_long (LongRoPE).
void rope_factors(program::Builder& builder, Hyperparameters& h);

// Which layers have the sliding window, of those that "ARCH.attention.sliding_window_pattern" lists
// or counts: all but every `period`th where the file says nothing. None where h.window is 0.
std::vector<bool> sliding_layers(Keys& keys, const Hyperparameters& h, int64_t period);

// "blk.LAYER.PART"
std::string layer_name(int layer, std::string_view part);

// Norms of queries and keys, "blk.LAYER.attn_{q,k}_norm". kRow: over all heads at once. kEveryHead:
// layer norms, with weights of each head's own. kUnweighedAfterRope: without a tensor.
enum class HeadNorms : uint8_t {
  kNone,
  kHeads,
  kRow,
  kHeadsAfterRope,
  kEveryHead,
  kUnweighedAfterRope
};

// The self-attention of one layer.
struct AttentionLayer {
  explicit AttentionLayer(const Hyperparameters& h)
      : heads(h.heads),
        kv_heads(h.kv_heads),
        key_dim(h.key_dim),
        value_dim(h.value_dim),
        epsilon(h.epsilon),
        rope(h.rope) {}

  int heads, kv_heads, key_dim, value_dim;
  float epsilon;
  std::optional<program::Rope> rope;  // none: this layer knows no positions (NoPE)
  std::optional<program::PositionScale> query_scale{};
  HeadNorms norms = HeadNorms::kNone;
  float scale = 0;  // of scores; 0: 1 / sqrt(key_dim)
  float softcap = 0;
  int window = 0;
  bool chunked = false;
  bool sinks = false;  // "blk.LAYER.attn_sinks"
  bool gated = false;  // by sigmoid(gate(x)), "blk.LAYER.attn_gate"
  // The same, and attn_q has the gate: of each head the query, then its gate.
  bool query_gated = false;
};

// x, normed, through attention and output matrix: tensors "blk.LAYER.attn_{q,k,v,output}", q, k and
// v also in one as attn_qkv; biases where the file has them.
program::ValueId self_attention(program::Builder& builder, program::ValueId x, int layer,
                                const AttentionLayer& attention);

// The output matrix: output.weight, or the tied embedding table.
program::WeightId output_weight(program::Builder& builder);

// The end that all share: rows that want logits, final norm (RMS), output matrix, times
// logit_scale, capped.
program::ValueId rms_logits(program::Builder& builder, program::ValueId x, const Hyperparameters& h,
                            float logit_scale = 1);
// The same from the normed rows on.
program::ValueId logits_of(program::Builder& builder, program::ValueId rows,
                           const Hyperparameters& h, float logit_scale);

// --- heads for further tokens: layers behind the last (nextn_predict_layers), of which the first
// is a drafter. arXiv:2412.19437, 2.2; tensors "blk.LAYER.nextn.*" as llama.cpp names them.

// Whether the file has one, and not only says so: some were written without.
bool has_drafter(const program::Builder& builder, const Hyperparameters& h);
// As rms_logits(), of rows that the drafter sees too.
program::ValueId kept_logits(program::Builder& builder, program::ValueId x,
                             const Hyperparameters& h);
// What goes into the drafter's layer: its tokens' embeddings and what was kept before them, brought
// together by "nextn.eh_proj".
program::ValueId drafter_input(program::Builder& builder, const Hyperparameters& h);
// The drafter's end: x is what came out of its layer.
program::ValueId drafter_logits(program::Builder& builder, program::ValueId x,
                                const Hyperparameters& h);

program::ValueId rms_norm(program::Builder& builder, std::string_view name, program::ValueId x,
                          std::string_view tensor, float epsilon);
// With "TENSOR.bias" where the file has it.
program::ValueId layer_norm(program::Builder& builder, std::string_view name, program::ValueId x,
                            std::string_view tensor, float epsilon);

// x + scale * branch.
program::ValueId residual(program::Builder& builder, std::string_view name, program::ValueId x,
                          program::ValueId branch, float scale = 1);

// A gated feed-forward layer, "blk.LAYER.ffn_{gate,up,down}SUFFIX", biases where the file has them.
program::ValueId feed_forward(program::Builder& builder, program::ValueId x, int layer,
                              program::Function function, std::string_view suffix = "");
// The same without a gate: down(function(up x)).
program::ValueId plain_feed_forward(program::Builder& builder, program::ValueId x, int layer,
                                    program::Function function, std::string_view suffix = "");
// The first where ffn_up holds the gate's rows before up's.
program::ValueId fused_feed_forward(program::Builder& builder, program::ValueId x, int layer,
                                    program::Function function);

// How a mixture of experts chooses: keys "ARCH.expert_used_count" (0: the model has none),
// expert_gating_func, expert_weights_norm, expert_weights_scale, expert_group_count,
// expert_group_used_count, leading_dense_block_count, interleave_moe_layer_step. All else as the
// caller says.
struct ExpertChoice {
  int used = 0;
  program::Gating gating = program::Gating::kSoftmax;
  bool normalise = true;
  float scale = 1;
  int group_count = 1;
  int group_used = 1;
  int dense_layers = 0;  // the first ones
  int step = 1;          // every step'th layer is a mixture
  bool weights_first = false;
  bool gated = true;
  bool shared_weighed = false;  // the shared expert, by sigmoid(ffn_gate_inp_shexp x)

  bool in_layer(int layer) const {
    return used > 0 && layer >= dense_layers && (layer + 1) % step == 0;
  }
};
ExpertChoice read_experts(Keys& keys, ExpertChoice usual = {});

// A mixture of experts (arXiv:2401.04088): "blk.LAYER.ffn_gate_inp" routes to
// "ffn_{gate,up,down}_exps", or ffn_gate_up_exps; biases, exp_probs_b (for the selection) and the
// experts' own scales, where the file has them.
program::Experts experts_of(program::Builder& builder, program::ValueId x, int layer,
                            program::Function function, const ExpertChoice& choice);

// experts_of(), and the shared expert "ffn_{gate,up,down}_shexp" where the file has one; of a dense
// layer feed_forward().
program::ValueId mixture(program::Builder& builder, program::ValueId x, int layer,
                         program::Function function, const ExpertChoice& choice);

// The keys "ARCH.ssm.*" of a recurrence.
struct Recurrence {
  int64_t taps;   // of the convolution before it
  int64_t inner;  // channels
  int64_t state;  // a channel's, or elements of a key
  int heads, groups;
};
Recurrence read_recurrence(Keys& keys);

// "TENSOR.weight" of so many taps, and its bias where the file has it.
program::ValueId causal_conv(program::Builder& builder, program::ValueId x, std::string_view tensor,
                             int64_t taps, program::Function function);

// The mixer of Mamba-2 (arXiv:2405.21060, figure 6), tensors "blk.LAYER.ssm_*".
program::ValueId mamba2(program::Builder& builder, program::ValueId x, int layer,
                        const Recurrence& recurrence, float epsilon, bool normed = true);

// What a family's file says of itself. All spans point to what lives as long as the program.
struct Family {
  std::span<const std::string_view> architectures;  // values of general.architecture
  program::Program (*build)(const formats::Model& model, Keys& keys);
  std::span<const formats::HfFamily> folders = {};  // Hugging Face's
};

// Names of tensors that transformers' decoders have had since Llama, for HfFamily::tensors and
// layer_tensors.
inline constexpr formats::HfRename kHfTensors[] = {
    {"embed_tokens", "token_embd"}, {"norm", "output_norm"}, {"lm_head", "output"}};
inline constexpr formats::HfRename kHfLayerTensors[] = {
    {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"}, {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};

// Of layers with attention and a Mamba-2 block side by side, or one of them.
inline constexpr formats::HfRename kHfHybridLayerTensors[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"mamba.in_proj", "ssm_in"},
    {"mamba.conv1d", "ssm_conv1d"},
    {"mamba.A_log", "ssm_a"},
    {"mamba.D", "ssm_d"},
    {"mamba.dt_bias", "ssm_dt.bias"},
    {"mamba.norm", "ssm_norm"},
    {"mamba.out_proj", "ssm_out"},
};
// Both lists, one behind the other.
template <size_t A, size_t B>
constexpr std::array<formats::HfRename, A + B> joined(const formats::HfRename (&first)[A],
                                                      const formats::HfRename (&second)[B]) {
  std::array<formats::HfRename, A + B> all;
  std::copy_n(first, A, all.begin());
  std::copy_n(second, B, all.begin() + A);
  return all;
}

// Each family's file defines its own.
namespace families {
#define OUTBOARD_FAMILY(name) extern const Family name;
#include "models/families.def"
#undef OUTBOARD_FAMILY
}  // namespace families

}  // namespace outboard::models
