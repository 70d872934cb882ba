#include "cli/bench_rows.h"

#include <algorithm>
#include <ctime>

#include "cli/model_output.h"
#include "program/cost.h"
#include "support/machine.h"
#include "support/progress.h"
#include "text/unicode.h"

namespace outboard::cli {
namespace {

// "2026-11-30T14:54:09Z", as llama-bench writes it.
std::string now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::string text(32, '\0');
  text.resize(std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc));
  return text;
}

// "llama 135M Q4_1".
std::string type_line(const LoadedModel& loaded) {
  const auto parameters = static_cast<double>(program::parameters(loaded.model()->program()));
  constexpr double kMillion = 1e6, kBillion = 1e9;
  return fmt::format("{} {} {}", loaded.model()->program().architecture,
                     parameters < kBillion ? fmt::format("{:.0f}M", parameters / kMillion)
                                           : fmt::format("{:.1f}B", parameters / kBillion),
                     type_of_model(loaded.model()->file()));
}

// As RFC 4180 has it: quotes double.
std::string csv_cell(const nlohmann::ordered_json& value) {
  if (value.is_array()) {
    std::string list;
    for (const auto& one : value) list += (list.empty() ? "" : ";") + one.dump();
    return '"' + list + '"';
  }
  if (!value.is_string()) return '"' + value.dump() + '"';
  std::string cell = "\"";
  for (const char c : value.get<std::string>()) cell += c == '"' ? "\"\"" : std::string(1, c);
  return cell + '"';
}

// Columns that a text takes: it may hold a sign such as ±.
size_t width_of(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace

BenchRow describe_for_bench(const LoadedModel& loaded, int threads) {
  const engine::Model& model = *loaded.model();
  return {{"outboard", OUTBOARD_VERSION},
          {"test_time", now()},
          {"model", model.program().name},
          {"model_type", type_line(loaded)},
          {"model_size", model.file().tensor_bytes()},
          {"model_n_params", program::parameters(model.program())},
          {"backends", loaded.device().description()},
          {"cpu_info", processor_name()},
          {"n_threads", threads}};
}

std::vector<BenchColumn> model_columns(const LoadedModel& loaded, int threads) {
  const engine::Model& model = *loaded.model();
  const std::string device = loaded.device().description();
  const auto parameters = static_cast<double>(program::parameters(model.program()));
  return {{"model", type_line(loaded)},
          {"size", format_bytes(model.file().tensor_bytes()), true},
          {"params", fmt::format("{:.2f} M", parameters / 1e6), true},
          {"backend", device.substr(0, device.find(','))},
          {"threads", std::to_string(threads), true}};
}

std::string markdown(const std::vector<std::vector<BenchColumn>>& rows) {
  if (rows.empty()) return "";
  std::vector<size_t> widths;
  for (const BenchColumn& column : rows.front()) widths.push_back(width_of(column.title));
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i].cell));
  const auto padded = [&](const std::string& text, size_t i, bool is_number) {
    const std::string blanks(widths[i] - width_of(text), ' ');
    return is_number ? blanks + text : text + blanks;
  };
  std::string titles, lines, cells;
  for (size_t i = 0; i < widths.size(); ++i) {
    const BenchColumn& column = rows.front()[i];
    titles += "| " + padded(column.title, i, column.is_number) + " ";
    lines += "| " + std::string(widths[i] - (column.is_number ? 1 : 0), '-') +
             (column.is_number ? ": " : " ");
  }
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i)
      cells += "| " + padded(row[i].cell, i, row[i].is_number) + " ";
    cells += "|\n";
  }
  return titles + "|\n" + lines + "|\n" + cells;
}

std::string formatted(BenchFormat format, const std::vector<BenchRow>& rows) {
  if (format == BenchFormat::kJson) return nlohmann::ordered_json(rows).dump(2) + "\n";
  std::string out;
  if (format == BenchFormat::kJsonLines) {
    for (const BenchRow& row : rows) out += row.dump() + "\n";
    return out;
  }
  if (rows.empty()) return out;
  for (const auto& [name, value] : rows.front().items()) out += (out.empty() ? "" : ",") + name;
  out += "\n";
  for (const BenchRow& row : rows) {
    std::string line;
    for (const auto& [name, value] : row.items())
      line += (line.empty() ? "" : ",") + csv_cell(value);
    out += line + "\n";
  }
  return out;
}

}  // namespace outboard::cli
