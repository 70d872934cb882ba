// Folders of Marian translation models. Internal to formats; use open_model().
#pragma once

#include <filesystem>

#include "formats/json_file.h"
#include "formats/model_file.h"

namespace outboard::formats {

// Hugging Face's layout: config.json (model_type "marian"), vocab.json, source.spm, target.spm,
// optional generation_config.json and tokenizer_config.json, and the weights
// (open_hf_weights()). Options that change the translations and that Outboard does not support are
// refused together, by name. Sources of facts: transformers' modeling_marian.py,
// tokenization_marian.py and configuration_marian.py.
Model open_marian_hf(const std::filesystem::path& folder, const Json& config);

// Marian's own layout, as OPUS-MT's archives hold it: decoder.yml, which names the model (*.npz,
// its options inside as "special:model.yml") and the vocabulary (*.yml); source.spm, target.spm.
// Without a decoder.yml the names are model.npz and vocab.yml. What Marian lacks is added as
// transformers' convert_marian_to_pytorch.py does: a <pad> token with a zero embedding, which
// starts the decoder and is never chosen. Sources of facts: that script and marian-dev's
// transformer.h.
Model open_marian_npz(const std::filesystem::path& folder);
bool is_marian_npz(const std::filesystem::path& folder);

}  // namespace outboard::formats
