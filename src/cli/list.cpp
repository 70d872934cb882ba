// outboard list: models on this machine.
#include <fmt/format.h>
#include <algorithm>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "hub/hub.h"
#include "support/notice.h"
#include "support/progress.h"

namespace outboard::cli {
namespace {

void list(bool json) {
  const std::vector<hub::Installed> models = hub::installed();
  if (json) {
    nlohmann::ordered_json out = nlohmann::ordered_json::array();
    for (const hub::Installed& m : models)
      out.push_back(
          {{"name", m.name}, {"path", m.path.string()}, {"bytes", m.bytes}, {"from", m.from}});
    return print(out.dump(2) + "\n");
  }
  if (models.empty()) {
    notice("No models yet. `outboard pull smollm2` gets one of 98 MB.\n");
    return;
  }
  size_t width = 0;
  for (const hub::Installed& m : models) width = std::max(width, m.name.size());
  std::string out;
  for (const hub::Installed& m : models)
    out +=
        fmt::format("{:<{}}  {:>9}  {}\n", m.name, width, format_bytes(m.bytes), m.path.string());
  print(out);
}

}  // namespace

void add_list(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("list", "Show the models on this machine");
  command->add_flag("--json", *json, "as JSON");
  command->footer("Example: outboard list --json");
  command->callback([json] { list(*json); });
}

}  // namespace outboard::cli
