// A Marian translation model (encoder and decoder, as Helsinki-NLP's opus-mt) as GGUF metadata and
// tensors, from whatever layout it was read. Internal to formats; use open_model().
//
// Metadata, beside general.*: marian.context_length, .embedding_length, .block_count (encoder),
// .decoder_block_count, .feed_forward_length, .decoder_feed_forward_length, .attention.head_count,
// .decoder_attention_head_count, .attention.layer_norm_epsilon, .activation ("swish", "relu",
// "gelu" by erf), .normalize_before, .embedding_scale, .decoder_start_token_id,
// .generation.{num_beams, length_penalty,early_stopping,max_length} where the layout says;
// tokenizer.ggml.model "marian", .tokens, .{eos,unknown,padding}_token_id;
// tokenizer.marian.{source,target}_spm, the files' bytes.
//
// Tensors are named as llama.cpp names those of T5, with .q, .k, .v, .o biases and post-norms:
// token_embd.weight [tokens, width], dec.token_embd.weight where the decoder has its own,
// output.weight where it is not the decoder's embedding, output.bias [tokens] (-infinity for tokens
// that are never chosen), position_embd.weight [positions, width], and in enc.blk.N and dec.blk.N:
// attn_{q,k,v,o}, attn_norm, cross_attn_{q,k,v,o} and cross_attn_norm (decoder), ffn_{up,down},
// ffn_norm; enc.output_norm and dec.output_norm of pre-norm models.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/model_file.h"

namespace outboard::formats {

// One for the encoder, one for the decoder.
struct MarianSide {
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t feed_forward = 0;
};

struct MarianConfig {
  int64_t width = 0;
  int64_t positions = 512;
  MarianSide encoder;
  MarianSide decoder;
  std::string activation;
  bool normalize_before = false;
  bool final_norms = false;
  bool scale_embedding = true;
  int64_t start = 0;  // the token before the first
  int64_t eos = 0;
  int64_t unknown = 0;
  int64_t padding = 0;
  std::vector<int64_t> never;  // tokens that are never chosen
  // What people get who ask for nothing else.
  std::optional<int64_t> beams;
  std::optional<double> length_penalty;
  std::optional<bool> early_stopping;
  std::optional<int64_t> max_length;
};

struct MarianText {
  std::vector<std::string> tokens;  // by id
  std::span<const std::byte> source_spm;
  std::span<const std::byte> target_spm;
};

// The sinusoidal table [positions, width]: sines in the first half of the columns, cosines in the
// second; column i of a half turns once in 2 pi * 10000^(2i / width) positions.
std::vector<float> marian_positions(int64_t positions, int64_t width);

// Collects what a model asks for and Outboard lacks, and refuses all of it at once.
class Refusals {
 public:
  void check(bool accepted, std::string reason);
  // Throws Error with every reason, if there are any.
  void done(std::string_view source) const;

 private:
  std::vector<std::string> reasons_;
};

// What a layout's reader collects: tensors by their GGUF name, bytes kept alive by the model.
class MarianWeights {
 public:
  struct Source {
    std::string name;  // in the file
    Tensor tensor;     // F32, F16 or BF16; shape as in the file but for transposing
  };
  // Throws Error when the name is taken.
  void add(std::string gguf_name, const Source& source);
  const Source* find(std::string_view gguf_name) const;

 private:
  friend void finish_marian(Model& model, const MarianConfig& config, const MarianText& text,
                            MarianWeights weights);
  std::map<std::string, Source, std::less<>> sources_;
};

// Sets the model's metadata and adds its tensors, always in the same order: matrices as stored,
// vectors, positions and output.bias as float32. Without an output.bias it is zero before `never`
// applies. Checked: the config's numbers; that every tensor is there, has the config's shape and
// floats, and that none is left over; that both .spm files are SentencePiece models. Throws Error
// naming the field, file or tensor.
void finish_marian(Model& model, const MarianConfig& config, const MarianText& text,
                   MarianWeights weights);

// The token's id. Throws Error when there is none.
int64_t marian_token_id(const std::vector<std::string>& tokens, std::string_view token);

}  // namespace outboard::formats
