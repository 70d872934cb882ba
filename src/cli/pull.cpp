// outboard pull: get a model.
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "hub/hub.h"

namespace outboard::cli {

void add_pull(CLI::App& app) {
  auto what = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("pull", "Get a model, or the card's firmware");
  command->add_option("WHAT", *what, "a name, a URL, or hf:OWNER/REPO/FILE")->required();
  std::string names;
  for (const hub::CatalogEntry& entry : hub::catalog())
    names += fmt::format("  {:<14} {}\n", entry.name, entry.description);
  command->footer("Names:\n" + names + "Example: outboard pull smollm2");
  command->callback([what] { print(hub::pull(*what).string() + "\n"); });
}

}  // namespace outboard::cli
