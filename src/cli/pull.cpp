// outboard pull: get a model, or see which there are.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/table.h"
#include "hub/hub.h"
#include "support/error.h"
#include "support/notice.h"
#include "support/progress.h"

namespace outboard::cli {
namespace {

// What a card of 24 GB (2^30) has for a model: weights, and beside them some gigabytes of keys,
// values and activations.
enum class Fit { kYes, kTight, kNo };
Fit fit_of(uint64_t bytes) {
  constexpr uint64_t kCard = uint64_t{24} << 30U;
  constexpr uint64_t kBeside = uint64_t{2} << 30U, kLeast = uint64_t{1} << 29U;
  if (bytes + kBeside <= kCard) return Fit::kYes;
  return bytes + kLeast <= kCard ? Fit::kTight : Fit::kNo;
}

void list_catalog(bool json) {
  const std::vector<hub::CatalogEntry> entries = hub::catalog();
  constexpr const char* kFits[] = {"yes", "tight", "no"};
  const auto fits = [&](uint64_t bytes) { return kFits[static_cast<size_t>(fit_of(bytes))]; };
  if (json) {
    nlohmann::ordered_json out = nlohmann::ordered_json::array();
    for (const hub::CatalogEntry& entry : entries) {
      nlohmann::ordered_json row = {{"name", entry.name}, {"description", entry.description}};
      if (entry.parameters > 0) row["parameters"] = entry.parameters;
      if (entry.bytes > 0) row["bytes"] = entry.bytes;
      if (entry.bytes > 0) row["fits_24_gb"] = fits(entry.bytes);
      if (!entry.from.empty()) row["from"] = entry.from;
      row["is_here"] = hub::installed_path(entry.name).has_value();
      out.push_back(std::move(row));
    }
    return print(out.dump(2) + "\n");
  }
  Table table({{"NAME"}, {"PARAMETERS", true}, {"SIZE", true}, {"24 GB"}, {"WHAT"}});
  for (const hub::CatalogEntry& entry : entries)
    table.add({entry.name, short_number(entry.parameters),
               entry.bytes > 0 ? format_bytes(entry.bytes) : "",
               entry.bytes > 0 ? fits(entry.bytes) : "", entry.description});
  print(table.text());
  notice(
      "Counts and sizes are about right; 24 GB: whether it fits a card of so much. Any other: "
      "`outboard pull hf:OWNER/REPO`.\n");
}

}  // namespace

void add_pull(CLI::App& app) {
  auto what = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  auto options = std::make_shared<hub::PullOptions>();
  options->on_notice = [](std::string_view text) { notice("outboard: {}\n", text); };
  CLI::App* command = app.add_subcommand("pull", "Get a model, or the card's firmware");
  command->add_option("WHAT", *what,
                      "a name, a URL, hf:OWNER/REPO, hf:OWNER/REPO:TYPE or hf:OWNER/REPO/FILE; "
                      "without it the names are listed");
  command->add_flag("--force", options->force,
                    "get it anew and replace what is here under its name");
  command->add_flag("--json", *json, "the list of names as JSON");
  command->footer(
      "Of a repository with several models Q4_K_M is taken, or what comes nearest to it, unless "
      "TYPE says which. Of what is here already a newer version is fetched if there is one.\n"
      "Example: outboard pull hf:bartowski/Llama-3.2-1B-Instruct-GGUF:Q8_0");
  command->callback([what, json, options] {
    if (what->empty()) {
      if (options->force) throw Error("pull: --force needs a name");
      return list_catalog(*json);
    }
    if (*json) throw Error("pull: --json is for the list of names, which stands without WHAT");
    print(hub::pull(*what, *options).string() + "\n");
  });
}

}  // namespace outboard::cli
