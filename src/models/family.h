// What the families share: the numbers every decoder has, read and checked once.
#pragma once

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
  int layers = 0;
  int64_t width = 0;
  int64_t context_length = 0;
  int heads = 0;
  int kv_heads = 0;
  int key_dim = 0;
  int value_dim = 0;
  int rotary = 0;
  float epsilon = 0;
  float rope_base = 10000;
  float rope_scale = 1;     // linear scaling: positions are divided by it
  bool rope_freqs = false;  // the file says that tensor rope_freqs scales (Llama 3.1)
  bool rope_neox = false;
  int window = 0;     // sliding window in tokens, 0 for none
  float softcap = 0;  // of the logits, 0 for none
};

// kScaledRotary: the scaling of Llama 3.1 (a tensor of factors), too.
enum class Positions : uint8_t { kLearned, kRotary, kScaledRotary };

// Reads and checks; epsilon_key is "attention.layer_norm_rms_epsilon" or "..._epsilon". Families
// with learned positions are not asked about rotation or windows. Throws Error for scalings of
// rotary positions that no family implements.
Hyperparameters read_hyperparameters(Keys& keys, std::string_view epsilon_key,
                                     Positions positions = Positions::kRotary);

// The output matrix: output.weight, or the tied embedding table.
program::WeightId output_weight(program::Builder& builder);

// The end that all share: rows that want logits, final norm (RMS), output matrix.
program::ValueId rms_logits(program::Builder& builder, program::ValueId x,
                            const Hyperparameters& h);

program::ValueId rms_norm(program::Builder& builder, std::string_view name, program::ValueId x,
                          std::string_view tensor, float epsilon);

// Experts run for each token; 0 for a dense model. Key "ARCH.expert_used_count".
int read_experts_used(Keys& keys);

// A gated feed-forward layer, "blk.LAYER.ffn_{gate,up,down}", or a mixture of such layers where
// experts_used > 0 ("ffn_gate_inp" routes to "ffn_{gate,up,down}_exps"; arXiv:2401.04088).
program::ValueId feed_forward(program::Builder& builder, program::ValueId x, int layer,
                              program::Function function, int experts_used);

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

// Each family's file defines its own.
namespace families {
#define OUTBOARD_FAMILY(name) extern const Family name;
#include "models/families.def"
#undef OUTBOARD_FAMILY
}  // namespace families

}  // namespace outboard::models
