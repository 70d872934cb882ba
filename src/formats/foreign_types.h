// Tensor types that GGUF files may hold and Outboard does not run.
#pragma once

#include <cstdint>

#include "support/error.h"

namespace outboard::formats {

// For a number that tensor_type() does not know: an Error that calls the type by its name where it
// has one (types that GGML dropped, newer ones, those of ik_llama.cpp) and says what to do.
Error unknown_type(uint32_t ggml_number);

}  // namespace outboard::formats
