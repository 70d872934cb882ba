// outboard pull: get a model.
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "hub/hub.h"
#include "support/notice.h"

namespace outboard::cli {

void add_pull(CLI::App& app) {
  auto what = std::make_shared<std::string>();
  auto options = std::make_shared<hub::PullOptions>();
  options->on_notice = [](std::string_view text) { notice("outboard: {}\n", text); };
  CLI::App* command = app.add_subcommand("pull", "Get a model, or the card's firmware");
  command->add_option("WHAT", *what, "a name, a URL, or hf:OWNER/REPO/FILE")->required();
  command->add_flag("--force", options->force,
                    "get it anew and replace what is here under its name");
  std::string names;
  for (const hub::CatalogEntry& entry : hub::catalog())
    names += fmt::format("  {:<14} {}\n", entry.name, entry.description);
  command->footer("Names:\n" + names + "Example: outboard pull smollm2");
  command->callback([what, options] { print(hub::pull(*what, *options).string() + "\n"); });
}

}  // namespace outboard::cli
