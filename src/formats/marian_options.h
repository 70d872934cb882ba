// The options of Marian's own layout: decoder.yml, and special:model.yml of a model. Internal to
// formats; use open_model().
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "formats/marian_model.h"
#include "formats/yaml_file.h"

namespace outboard::formats {

// What decoder.yml says.
struct MarianDecoder {
  std::filesystem::path model;
  std::filesystem::path source_vocabulary;
  std::filesystem::path target_vocabulary;
  std::optional<int64_t> beams;
  std::optional<double> length_penalty;
};

// Reads decoder.yml; where there is none the files are model.npz and vocab.yml. Adds to the
// refusals what changes translations and is not supported. Throws Error naming file and field.
MarianDecoder read_marian_decoder(const std::filesystem::path& folder, Refusals& refusals);

// The model's options as a config, but for what the vocabulary tells. Throws Error naming the
// option that is missing or of the wrong type.
MarianConfig read_marian_options(const YamlNode& options, Refusals& refusals);

// Weights that are not there must be tied by option, not forgotten: throws Error otherwise.
void check_marian_ties(const YamlNode& options, const MarianWeights& weights);

std::string_view text_of(std::span<const std::byte> bytes);

}  // namespace outboard::formats
