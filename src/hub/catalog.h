// Models that people run, by short names.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace outboard::hub {

// A model of Hugging Face's hub. Sizes and counts are as rounded as they stand here: what is
// fetched is what the hub has.
struct HubEntry {
  std::string_view name;        // "qwen3-8b"
  std::string_view title;       // "Qwen 3 8B"
  std::string_view repository;  // "Qwen/Qwen3-8B-GGUF"
  std::string_view type;        // of the file: "Q4_K_M"
  double parameters;            // in billions
  double gigabytes;             // of the file, 10^9 bytes
};

std::span<const HubEntry> hub_entries();

}  // namespace outboard::hub
