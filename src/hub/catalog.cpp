#include "hub/catalog.h"

#include <array>

namespace outboard::hub {
namespace {

// By family, small ones first. Repositories and types as their pages of 2025 and 2026 name them.
constexpr std::array kEntries = {
    HubEntry{"qwen3-0.6b", "Qwen 3 0.6B", "Qwen/Qwen3-0.6B-GGUF", "Q8_0", 0.6, 0.6},
    HubEntry{"qwen3-1.7b", "Qwen 3 1.7B", "Qwen/Qwen3-1.7B-GGUF", "Q8_0", 1.7, 1.8},
    HubEntry{"qwen3-4b", "Qwen 3 4B", "Qwen/Qwen3-4B-GGUF", "Q4_K_M", 4.0, 2.5},
    HubEntry{"qwen3-8b", "Qwen 3 8B", "Qwen/Qwen3-8B-GGUF", "Q4_K_M", 8.2, 5.0},
    HubEntry{"qwen3-14b", "Qwen 3 14B", "Qwen/Qwen3-14B-GGUF", "Q4_K_M", 14.8, 9.0},
    HubEntry{"qwen3-32b", "Qwen 3 32B", "Qwen/Qwen3-32B-GGUF", "Q4_K_M", 32.8, 19.8},
    HubEntry{"qwen3-30b-a3b", "Qwen 3 30B-A3B", "Qwen/Qwen3-30B-A3B-GGUF", "Q4_K_M", 30.5, 18.6},
    HubEntry{"qwen3-coder-30b", "Qwen 3 Coder 30B-A3B", "unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF",
             "Q4_K_M", 30.5, 18.6},
    HubEntry{"qwen3.5-4b", "Qwen 3.5 4B", "unsloth/Qwen3.5-4B-GGUF", "Q4_K_M", 4.2, 2.7},
    HubEntry{"qwen3.5-9b", "Qwen 3.5 9B", "unsloth/Qwen3.5-9B-GGUF", "Q4_K_M", 9.0, 5.7},
    HubEntry{"qwen3.6-27b", "Qwen 3.6 27B", "unsloth/Qwen3.6-27B-GGUF", "Q4_K_M", 27.0, 16.8},
    HubEntry{"qwen3.6-35b-a3b", "Qwen 3.6 35B-A3B", "unsloth/Qwen3.6-35B-A3B-GGUF", "UD-Q4_K_M",
             35.0, 22.1},
    HubEntry{"gemma3-1b", "Gemma 3 1B", "ggml-org/gemma-3-1b-it-GGUF", "Q4_K_M", 1.0, 0.8},
    HubEntry{"gemma3-4b", "Gemma 3 4B", "ggml-org/gemma-3-4b-it-GGUF", "Q4_K_M", 3.9, 2.5},
    HubEntry{"gemma3-12b", "Gemma 3 12B", "ggml-org/gemma-3-12b-it-GGUF", "Q4_K_M", 11.8, 7.3},
    HubEntry{"gemma3-27b", "Gemma 3 27B", "ggml-org/gemma-3-27b-it-GGUF", "Q4_K_M", 27.0, 16.5},
    HubEntry{"gemma4-e4b", "Gemma 4 E4B", "unsloth/gemma-4-E4B-it-GGUF", "Q4_K_M", 7.5, 5.0},
    HubEntry{"gemma4-26b-a4b", "Gemma 4 26B-A4B", "unsloth/gemma-4-26B-A4B-it-GGUF", "UD-Q4_K_M",
             25.2, 16.9},
    HubEntry{"gemma4-31b", "Gemma 4 31B", "unsloth/gemma-4-31B-it-GGUF", "Q4_K_M", 30.7, 18.3},
    HubEntry{"gpt-oss-20b", "gpt-oss 20B", "ggml-org/gpt-oss-20b-GGUF", "mxfp4", 20.9, 12.1},
    HubEntry{"gpt-oss-120b", "gpt-oss 120B", "ggml-org/gpt-oss-120b-GGUF", "mxfp4", 116.8, 63.4},
    HubEntry{"llama3.2-1b", "Llama 3.2 1B", "bartowski/Llama-3.2-1B-Instruct-GGUF", "Q4_K_M", 1.2,
             0.8},
    HubEntry{"llama3.2-3b", "Llama 3.2 3B", "bartowski/Llama-3.2-3B-Instruct-GGUF", "Q4_K_M", 3.2,
             2.0},
    HubEntry{"llama3.1-8b", "Llama 3.1 8B", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q4_K_M",
             8.0, 4.9},
    HubEntry{"llama3.3-70b", "Llama 3.3 70B", "bartowski/Llama-3.3-70B-Instruct-GGUF", "Q4_K_M",
             70.6, 42.5},
    HubEntry{"mistral-small-3.2", "Mistral Small 3.2 24B",
             "bartowski/mistralai_Mistral-Small-3.2-24B-Instruct-2506-GGUF", "Q4_K_M", 23.6, 14.3},
    HubEntry{"phi4-mini", "Phi 4 mini", "bartowski/microsoft_Phi-4-mini-instruct-GGUF", "Q4_K_M",
             3.8, 2.5},
    HubEntry{"phi4", "Phi 4", "bartowski/phi-4-GGUF", "Q4_K_M", 14.7, 9.1},
    HubEntry{"smollm3", "SmolLM 3 3B", "ggml-org/SmolLM3-3B-GGUF", "Q4_K_M", 3.1, 1.9},
    HubEntry{"glm-4.7-flash", "GLM 4.7 Flash 30B-A3B", "unsloth/GLM-4.7-Flash-GGUF", "Q4_K_M", 29.9,
             18.3},
};

}  // namespace

std::span<const HubEntry> hub_entries() { return kEntries; }

}  // namespace outboard::hub
