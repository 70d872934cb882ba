// What a model family's Hugging Face folders are, as a table: src/models/FAMILY.cpp fills it, the
// readers of folders follow it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/json_file.h"
#include "formats/metadata.h"

namespace outboard::formats {

// A field of a JSON file that is known. `values` is a JSON list of those that ask for nothing
// special; empty: all, since the field is read elsewhere or changes no answer. A name may end in
// '*': any that begins so. `fits`, where given, decides instead, from the whole object and the
// field's value.
struct KnownField {
  std::string_view name;
  std::string_view values = {};
  bool (*fits)(const Json& object, const Json& value) = nullptr;
};

struct HfRename {
  std::string_view from;
  std::string_view to;
};

// What config.json says of positions. Families with rotary ones have Llama's names of fields
// (hidden_size, num_hidden_layers, rope_theta ...), which every such family then knows.
enum class HfPositions : uint8_t { kLearned, kRotary, kRotaryByLayerType };

// What a config.json may leave out; 0: it may not, or, where said, what follows from the rest.
struct HfDefaults {
  int64_t vocabulary = 0;
  int64_t context = 2048;
  int64_t heads = 0;
  int64_t kv_heads = 0;   // 0: as many as heads
  int64_t head_dim = 0;   // 0: width / heads, and no key is written
  double rope_theta = 0;  // 0: no key is written
  double epsilon = 1e-6;  // of norms
  double turned = 0;  // partial_rotary_factor; 0: the family turns whole heads, and has no other
  bool has_dense = true;  // intermediate_size may not be left out
};

// Which norms the family has, by config.json's name of their epsilon.
struct HfEpsilon {
  std::string_view field = "rms_norm_eps";
  std::string_view key = "attention.layer_norm_rms_epsilon";
};
inline constexpr std::string_view kLayerNormEpsilon = "attention.layer_norm_epsilon";

class HfConfigWriter;

// One model_type. All spans point to what lives as long as the program.
struct HfFamily {
  std::string_view model_type;            // config.json's
  std::string_view text_model_type = {};  // of a model that also sees: its text_config's, or alone
  std::string_view architecture;          // GGUF's general.architecture
  // Where a model_type stands for several: whether a config.json is of this one; null: it is.
  bool (*applies)(const Json& config) = nullptr;

  // Sets the architecture's keys.
  void (*write)(HfConfigWriter& writer) = nullptr;
  HfPositions positions = HfPositions::kRotary;
  HfDefaults defaults = {};
  HfEpsilon epsilon = {};
  // YaRN's magnitude (mscale_all_dim) is of the scores, not of what turns (DeepSeek).
  bool yarn_of_scores = false;
  bool long_rope = false;        // LongRoPE's two tables of factors are among its scalings
  bool tied_embeddings = false;  // where config.json does not say
  // Fields of config.json beyond those that all families have.
  std::span<const KnownField> fields = {};
  // Fields of its rope_parameters (or rope_scaling) beyond those that HfConfigWriter reads.
  std::span<const KnownField> rope_fields = {};
  // Other names of fields: they may stand beside the own one with the same value.
  std::span<const HfRename> field_aliases = {};

  // Tensors' names in GGUF, without ".weight" or ".bias". `tensors` are those outside of layers,
  // `layer_tensors` those within one, after LAYERS and its number. A '*' stands for a number: those
  // tensors, counted from 0, are rows of one, or, where they are matrices of experts ("_exps" in
  // GGUF's name), one after the other. Names that end in neither stand in the table whole,
  // and GGUF's, too. One of GGUF's that ends in '.' has no ".weight" behind it.
  std::string_view layers = "layers.";
  std::span<const HfRename> tensors = {};
  std::span<const HfRename> layer_tensors = {};
  // Layers behind num_hidden_layers predict further tokens; texts come out without.
  bool further_layers = false;
  // Tensors that a text model does not need: what ends in one of these, or, where it ends in '.',
  // has it anywhere in its name.
  std::span<const std::string_view> unneeded_tensors = {};
  // Linear layers (GGUF's names within a layer) that are stored as [inputs, outputs]; those of
  // MXFP4 never are.
  std::span<const std::string_view> transposed_layer_tensors = {};
  // Matrices (GGUF's names within a layer) whose second half of rows is another's.
  std::span<const HfRename> halved_layer_tensors = {};
  // Those whose rows are alternately their own and another's.
  std::span<const HfRename> alternating_layer_tensors = {};
  bool norms_plus_1 = false;         // the model multiplies by 1 + weight, but of a recurrence's
  bool rows_beyond_tokens = false;   // the embedding has rows for no token, which are cut off
  bool never_spaces_prefix = false;  // no space before a text, whatever tokenizer.model says
  // Pairs of characters' pieces are merged in the order of tokenizer.json's list ("gemma4"), not by
  // scores of what they make.
  bool merges_pieces_in_order = false;
};

// What the rows of a matrix are to be multiplied by: one number, or one of each row.
struct HfFactors {
  std::string_view name;  // GGUF's, without "blk.N."
  std::vector<float> values;
};

// A tensor that config.json has the numbers of.
struct HfConfigTensor {
  std::string_view name;  // GGUF's
  std::vector<float> values;
};

// config.json as GGUF's metadata: what a family's `write` is handed. Errors name the field.
class HfConfigWriter {
 public:
  // All three must outlive it. `config` is that of the text model.
  HfConfigWriter(const HfFamily& family, const Json& config, Metadata& metadata)
      : family_(family), config_(config), metadata_(metadata) {}

  const Json& config() const { return config_; }
  // A size: a positive integer below 2^31. Throws Error for anything else.
  int64_t size(std::string_view key) const;
  std::optional<int64_t> optional_size(std::string_view key) const;

  // The key "ARCHITECTURE.KEY".
  void set(std::string_view key, int64_t value);
  void set(std::string_view key, double value);
  void set(std::string_view key, const std::vector<bool>& layers);
  void set(std::string_view key, const std::vector<int64_t>& layers);
  void set_flag(std::string_view key, bool value);
  void set_any(std::string_view key, bool value);  // the key as it is
  void add_tensor(std::string_view name, std::vector<float> values) {
    tensors_.push_back({name, std::move(values)});
  }
  // Folded into the tensors of that name. An output matrix that is the embedding's becomes one of
  // its own by it.
  void add_factors(std::string_view name, std::vector<float> values) {
    factors_.push_back({name, std::move(values)});
  }
  // block_count, after a check.
  void set_layers(int64_t layers);
  // From vocab_size, after a check, or the family's default; a key of its own only some have.
  int64_t read_vocabulary();

  // Sizes of a decoder whose fields have Llama's names; gives back the elements of a head.
  int64_t write_sizes();
  // The part of a head that turns, as rope.dimension_count; gives back its elements.
  int64_t write_turned(int64_t head_dim);
  // attention.sliding_window (of null 0, where the field is absent `usual`), and which layers have
  // it: those of layer_types, else all but every `period`th.
  void write_windows(int64_t usual, int64_t period);
  // Rotary positions and their scaling. Old configs: rope_theta, rope_local_base_freq and
  // rope_scaling side by side; new ones: all in rope_parameters, by layer type where layers differ.
  void write_rope(int64_t rotated);

  int64_t vocabulary() const { return vocabulary_; }
  // What llama.cpp's converter stores as rope_freqs.weight (Llama 3.1's scaling), or as
  // rope_factors_short.weight and rope_factors_long.weight (LongRoPE).
  const std::vector<HfConfigTensor>& tensors() const { return tensors_; }
  const std::vector<HfFactors>& factors() const { return factors_; }
  // rope_parameters, or what older configs have; an empty object without. By layer type where
  // layers differ: those of the layers that see everything.
  const Json& rotation() const;

 private:
  void write_scaling(const char* type, double factor);
  void write_yarn(const Json& rope, double factor);
  void write_long_rope(const Json& rope, int64_t rotated);
  int64_t original_context(const Json& rope) const;

  const HfFamily& family_;
  const Json& config_;
  Metadata& metadata_;
  int64_t vocabulary_ = 0;
  std::vector<HfConfigTensor> tensors_;
  std::vector<HfFactors> factors_;
};

// "sliding_attention" layers: true, as a list of config.json's layer_types; nothing where it is
// absent or no list of names.
std::optional<std::vector<bool>> sliding_layers(const Json& config);

// Every nth layer sees everything, the others a window: n, when the layers are so; a number above
// their count when none sees everything.
std::optional<int64_t> window_pattern(const std::vector<bool>& sliding);

// For KnownField::fits of layer_types: whether it lists all layers, with (or without) a window.
bool all_layers_slide(const Json& config, bool slide, std::string_view layers_field);
// The same: whether it lists each of num_hidden_layers, in whatever order.
bool lists_layers(const Json& config, const Json& layer_types);
// For those of lowest and highest values: whether it is from 0 to infinity, which as Python writes
// it is no number (read_json()), or an object.
bool has_no_limit(const Json& config, const Json& limits);

}  // namespace outboard::formats
