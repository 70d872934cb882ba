// outboard rm, outboard cp: the models on this machine.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "hub/hub.h"
#include "support/notice.h"
#include "support/progress.h"

namespace outboard::cli {

void add_rm(CLI::App& app) {
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("rm", "Remove pulled models");
  command->add_option("NAME", *names, "as `outboard list` shows it")->required();
  command->footer("Example: outboard rm smollm2");
  command->callback([names] {
    // All names are looked at before the first is gone.
    std::vector<hub::Installed> models;
    for (const std::string& name : *names) models.push_back(hub::installed_model("rm", name));
    for (const hub::Installed& model : models) {
      hub::remove_model(model);
      notice("{} is removed: {}\n", model.name, format_bytes(model.bytes));
    }
  });
}

void add_cp(CLI::App& app) {
  auto from = std::make_shared<std::string>(), to = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("cp", "Give a pulled model a second name");
  command->add_option("NAME", *from, "as `outboard list` shows it")->required();
  command->add_option("NEW", *to, "the second name")->required();
  command->footer(
      "Both names lead to the same bytes, which stay until the last name is removed.\n"
      "Example: outboard cp smollm2 mine");
  command->callback([from, to] {
    hub::copy_model(hub::installed_model("cp", *from), *to);
    notice("{} is {}, too\n", *from, *to);
  });
}

}  // namespace outboard::cli
