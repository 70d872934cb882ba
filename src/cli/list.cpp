// outboard list: models on this machine.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/model_output.h"
#include "cli/options.h"
#include "cli/table.h"
#include "hub/hub.h"
#include "hub/opus.h"
#include "models/models.h"
#include "support/notice.h"
#include "support/progress.h"

namespace outboard::cli {
namespace {

// What a model's file says.
struct Described {
  std::string family = "?";
  std::string type;
  uint64_t parameters = 0;
};

Described describe(const std::filesystem::path& path) {
  Described out;
  try {
    const formats::Model model = models::open_model(path);
    out.family = model.metadata.get_string("general.architecture", "?");
    out.type = type_of_model(model);
    for (const formats::Tensor& tensor : model.tensors())
      out.parameters += static_cast<uint64_t>(tensor.elements());
  } catch (const Error&) {  // whoever uses it is told what is wrong
    out.family = "damaged";
  }
  return out;
}

std::string date(std::filesystem::file_time_type time) {
  // Between the two clocks, which no function of C++20 is on every machine for.
  using System = std::chrono::system_clock;
  const auto system = System::now() + std::chrono::duration_cast<System::duration>(
                                          time - std::filesystem::file_time_type::clock::now());
  const std::time_t seconds = System::to_time_t(system);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  std::string text(32, '\0');
  text.resize(std::strftime(text.data(), text.size(), "%Y-%m-%d", &local));
  return text;
}

void list(bool json) {
  const std::vector<hub::Installed> models = hub::installed();
  if (json) {
    nlohmann::ordered_json out = nlohmann::ordered_json::array();
    for (const hub::Installed& m : models) {
      const Described about = describe(m.path);
      out.push_back({{"name", m.name},
                     {"path", m.path.string()},
                     {"bytes", m.bytes},
                     {"from", m.from},
                     {"family", about.family},
                     {"parameters", about.parameters},
                     {"type", about.type},
                     {"date", date(m.since)},
                     {"last_use", m.used ? date(*m.used) : ""}});
    }
    return print(out.dump(2) + "\n");
  }
  if (models.empty()) {
    notice("No models yet. `outboard pull smollm2` gets one of 98 MB.\n");
    return;
  }
  Table table({{"NAME"},
               {"FAMILY"},
               {"PARAMETERS", true},
               {"TYPE"},
               {"SIZE", true},
               {"DATE"},
               {"LAST USE"}});
  for (const hub::Installed& m : models) {
    const Described about = describe(m.path);
    table.add({m.name, about.family, short_number(about.parameters), about.type,
               format_bytes(m.bytes), date(m.since), m.used ? date(*m.used) : "never"});
  }
  print(table.text());
}

// What the hub has for two languages, both ways.
void list_pairs(const std::string& pair, bool json) {
  const size_t dash = pair.find('-');
  const bool are_letters = std::ranges::all_of(
      pair, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
  if (dash == 0 || dash == std::string::npos || dash + 1 == pair.size() || !are_letters)
    throw Error(fmt::format("list --pairs {}: no two languages", pair),
                "Write them as models' names have them: --pairs en-fr.");
  const std::string from = pair.substr(0, dash), to = pair.substr(dash + 1);
  std::vector<std::string> here;
  for (const hub::Installed& model : hub::installed()) here.push_back(model.name);
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  Table table({{"NAME"}, {"FROM"}, {"TO"}, {"DOWNLOADS", true}, {""}});
  for (const auto& [source, target] : {std::pair(from, to), std::pair(to, from)})
    for (const hub::OpusModel& model : hub::opus_models(source, target)) {
      const bool is_here = std::ranges::find(here, model.name) != here.end();
      table.add(
          {model.name, source, target, std::to_string(model.downloads), is_here ? "pulled" : ""});
      list.push_back({{"name", model.name},
                      {"from", source},
                      {"to", target},
                      {"downloads", model.downloads},
                      {"pulled", is_here}});
    }
  if (json) return print(list.dump(2) + "\n");
  if (list.empty())
    throw Error(fmt::format("{} has no model of Helsinki-NLP's for {} and {}", hub::hugging_face(),
                            from, to),
                "Languages are mostly named by two letters; models of several languages have names "
                "such as opus-mt-en-ROMANCE.");
  print(table.text());
}

}  // namespace

void add_list(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  auto pair = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("list", "Show the models on this machine");
  command->alias("ls");
  command
      ->add_option("--pairs", *pair,
                   "instead of those: what the hub has to translate between two languages, both "
                   "ways, as en-fr")
      ->type_name("FROM-TO");
  command->add_flag("--json", *json, "as JSON, with paths and where they came from");
  command->footer(
      "Example: outboard list --json\n"
      "Example: outboard list --pairs en-fr");
  command->callback([json, pair] {
    if (pair->empty()) return list(*json);
    list_pairs(*pair, *json);
  });
}

}  // namespace outboard::cli
