// outboard: language models on the GPU outside your Mac.
#include <algorithm>
#include <csignal>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/help.h"
#include "cli/options.h"
#include "cli/words.h"
#include "link/guard.h"
#include "support/error.h"
#include "support/files_in_use.h"
#include "support/lost_mappings.h"
#include "support/notice.h"
#include "support/terminal.h"

namespace {

// Options that every command has, so that they may stand behind it.
void add_common_options(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands({})) {
    add_common_options(*command);
    if (command->get_group().empty() || !command->get_subcommands({}).empty()) continue;
    command->add_flag_callback("-q,--quiet", outboard::be_quiet,
                               "the result and errors, nothing beside them");
    command->add_flag_callback("--no-progress", outboard::forbid_redrawing,
                               "no line that is drawn over while it works");
    // `--stop TEXT MODEL`: an option takes what follows it, not all that follows.
    for (CLI::Option* option : command->get_options())
      if (!option->get_positional()) option->allow_extra_args(false);
  }
}

int run(std::vector<std::string> words) {
  CLI::App app(
      "Outboard runs language models on the GPU outside your Mac, or on the CPU. MODEL is a file, "
      "a "
      "Hugging Face folder, or a name that `outboard list` shows.",
      "outboard");
  app.set_version_flag("-v,--version", OUTBOARD_VERSION);
  app.formatter(outboard::cli::help_formatter());
  // An option that is given twice counts as it is given last.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.require_subcommand(1);
  app.footer(
      "Example: outboard run smollm2 \"Why is the sky blue?\"\n"
      "`outboard help COMMAND` says more about each.");
  using namespace outboard::cli;  // NOLINT: the list below reads as the help does
  add_run(app);
  add_chat(app);
  add_serve(app);
  add_ps(app);
  add_translate(app);
  add_pull(app);
  add_list(app);
  add_show(app);
  add_cp(app);
  add_rm(app);
  add_inspect(app);
  add_tokenize(app);
  add_perplexity(app);
  add_bench(app);
  add_quantize(app);
  add_imatrix(app);
  add_convert(app);
  add_sim(app);
  add_doctor(app);
  add_help(app);
  add_guard(app);
  add_describe(app);
  add_common_options(app);
  words = understood(app, std::move(words));
  const std::string help = help_of(*command_of(app, words));
  if (words.empty()) {
    outboard::complain("outboard: which command?\n\n" + app.help());
    return 1;
  }
  try {
    std::ranges::reverse(words);  // as CLI11 takes them
    app.parse(std::move(words));
  } catch (const CLI::CallForHelp&) {  // of the program or of a command
    print(app.help());
  } catch (const CLI::Success& e) {  // --version
    return app.exit(e);
  } catch (const CLI::RuntimeError& e) {  // a command that has said all and failed
    return e.get_exit_code();
  } catch (const CLI::ParseError& e) {
    throw outboard::Error(e.what(), fmt::format("`{}` lists what it takes.", help));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  using outboard::complain;
  outboard::hold_standard_streams();
  // A reader that goes away (| head) ends the program in order: see print().
  std::signal(SIGPIPE, SIG_IGN);
  try {
    outboard::watch_files();
    outboard::survive_lost_mappings();
    outboard::link::set_guard_program(outboard::link::own_path());
    return run({argv + std::min(argc, 1), argv + argc});
  } catch (const outboard::cli::ReaderHasGone&) {
    std::signal(SIGPIPE, SIG_DFL);
    std::raise(SIGPIPE);
  } catch (const outboard::cli::Interrupted& e) {
    complain(fmt::format("outboard: {}\n", e.what()));
    if (!e.hint().empty()) complain(e.hint() + "\n");
    return outboard::cli::kInterrupted;
  } catch (const outboard::Error& e) {
    complain(fmt::format("outboard: {}\n", e.what()));
    if (!e.hint().empty()) complain(e.hint() + "\n");
  } catch (const std::bad_alloc&) {
    complain("outboard: out of memory\n");
  } catch (const std::exception& e) {
    complain(fmt::format("outboard: {}\n", e.what()));
  }
  return 1;
}
