// What bench measured, in the formats that it has: llama-bench's, and its names where they fit.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/options.h"

namespace outboard::cli {

enum class BenchFormat : uint8_t { kMarkdown, kCsv, kJson, kJsonLines };

// A test: names and values that are the same in all of its table. No nested objects.
using BenchRow = nlohmann::ordered_json;

// What a row says of model, device and machine, before the test itself.
BenchRow describe_for_bench(const LoadedModel& loaded, int threads);
struct BenchColumn {
  std::string title, cell;
  bool is_number = false;
};
// llama-bench's first columns: model, size, params, backend, threads.
std::vector<BenchColumn> model_columns(const LoadedModel& loaded, int threads);
// A table in Markdown: of all rows the same titles.
std::string markdown(const std::vector<std::vector<BenchColumn>>& rows);

// Rows as CSV (with a line of names, texts in quotes), as one JSON array, or a JSON object a line.
// REQUIRES: not kMarkdown.
std::string formatted(BenchFormat format, const std::vector<BenchRow>& rows);

}  // namespace outboard::cli
