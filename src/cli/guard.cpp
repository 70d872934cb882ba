// outboard guard: what a program with a card leaves behind when it dies (link/guard.h). Started by
// Outboard itself, so it is in no list of commands.
#include "link/guard.h"

#include "cli/commands.h"
#include "devices/amd/driver/rest.h"

namespace outboard::cli {

void add_guard(CLI::App& app) {
  auto arguments = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("guard", "Keeps the card's connection; not for people");
  command->group("");
  command->add_option("ARGUMENTS", *arguments)->required();
  command->callback([arguments] {
    const int status = link::run_guard(*arguments, [](link::Link& link) {
      return std::string(devices::amd::driver::words(devices::amd::driver::put_to_rest(link)));
    });
    if (status != 0) throw CLI::RuntimeError(status);
  });
}

}  // namespace outboard::cli
