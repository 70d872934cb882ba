// tokenizer.ggml.model "gpt2": byte pair encoding over bytes spelled as printable characters
// (Radford et al. 2019, section 2.2).
#pragma once

#include <memory>

#include "text/tokenizer.h"

namespace outboard::text {

std::unique_ptr<Tokenizer> make_byte_level_bpe(const formats::Metadata& metadata);

}  // namespace outboard::text
