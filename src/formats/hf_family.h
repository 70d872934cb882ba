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
};

class HfConfigWriter;

// One model_type. All spans point to what lives as long as the program.
struct HfFamily {
  std::string_view model_type;            // config.json's
  std::string_view text_model_type = {};  // of a model that also sees: its text_config's, or alone
  std::string_view architecture;          // GGUF's general.architecture

  // Sets the architecture's keys.
  void (*write)(HfConfigWriter& writer) = nullptr;
  HfPositions positions = HfPositions::kRotary;
  HfDefaults defaults = {};
  bool tied_embeddings = false;  // where config.json does not say
  // Fields of config.json beyond those that all families have.
  std::span<const KnownField> fields = {};
  // Other names of fields: they may stand beside the own one with the same value.
  std::span<const HfRename> field_aliases = {};

  // Tensors' names in GGUF, without ".weight" or ".bias". `tensors` are those outside of layers,
  // `layer_tensors` those within one, after LAYERS and its number.
  std::string_view layers = "layers.";
  std::span<const HfRename> tensors = {};
  std::span<const HfRename> layer_tensors = {};
  // Tensors that a text model does not need: what ends in one of these, or, where it ends in '.',
  // has it anywhere in its name.
  std::span<const std::string_view> unneeded_tensors = {};
  // Linear layers (GGUF's names within a layer) that are stored as [inputs, outputs].
  std::span<const std::string_view> transposed_layer_tensors = {};
  bool norms_plus_1 = false;         // the model multiplies by 1 + weight
  bool rows_beyond_tokens = false;   // the embedding has rows for no token, which are cut off
  bool never_spaces_prefix = false;  // no space before a text, whatever tokenizer.model says
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
  void set_any(std::string_view key, bool value);  // the key as it is
  // block_count, after a check.
  void set_layers(int64_t layers);
  // From vocab_size, after a check, or the family's default; a key of its own only some have.
  int64_t read_vocabulary();

  // Sizes of a decoder whose fields have Llama's names; gives back the elements of a head.
  int64_t write_sizes();
  // Rotary positions and their scaling. Old configs: rope_theta, rope_local_base_freq and
  // rope_scaling side by side; new ones: all in rope_parameters, by layer type where layers differ.
  void write_rope(int64_t rotated);

  int64_t vocabulary() const { return vocabulary_; }
  // What llama.cpp's converter stores as rope_freqs.weight (Llama 3.1's scaling); empty without.
  const std::vector<float>& rope_factors() const { return rope_factors_; }

 private:
  void write_scaling(const char* type, double factor);

  const HfFamily& family_;
  const Json& config_;
  Metadata& metadata_;
  int64_t vocabulary_ = 0;
  std::vector<float> rope_factors_;
};

// "sliding_attention" layers: true, as a list of config.json's layer_types; nothing where it is
// absent or no list of names.
std::optional<std::vector<bool>> sliding_layers(const Json& config);

// Every nth layer sees everything, the others a window: n, when the layers are so; a number above
// their count when none sees everything.
std::optional<int64_t> window_pattern(const std::vector<bool>& sliding);

// For KnownField::fits of layer_types: whether it lists all layers, with (or without) a window.
bool all_layers_slide(const Json& config, bool slide, std::string_view layers_field);

}  // namespace outboard::formats
