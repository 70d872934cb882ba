// outboard: language models on the GPU outside your Mac.
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "cli/commands.h"
#include "link/guard.h"
#include "support/error.h"
#include "support/files_in_use.h"
#include "support/lost_mappings.h"
#include "support/notice.h"

namespace {

int run(int argc, char** argv) {
  CLI::App app(
      "Outboard runs language models on the GPU outside your Mac, or on the CPU.\n"
      "MODEL is a file, a Hugging Face folder, or a name that `outboard list` shows.",
      "outboard");
  app.set_version_flag("--version", OUTBOARD_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Example: outboard run smollm2 -p \"Why is the sky blue?\"\n"
      "`outboard COMMAND --help` says more about each.");
  using namespace outboard::cli;  // NOLINT: the list below reads as the help does
  add_run(app);
  add_chat(app);
  add_serve(app);
  add_translate(app);
  add_pull(app);
  add_list(app);
  add_inspect(app);
  add_tokenize(app);
  add_perplexity(app);
  add_bench(app);
  add_quantize(app);
  add_convert(app);
  add_sim(app);
  add_doctor(app);
  add_guard(app);
  add_describe(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {  // --help, --version
    return app.exit(e);
  } catch (const CLI::RuntimeError& e) {  // a command that has said all and failed
    return e.get_exit_code();
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "outboard: %s\n", e.what());
    std::fputs("Run `outboard --help` for the commands and their options.\n", stderr);
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  outboard::hold_standard_streams();
  // A reader that goes away (| head) ends output with an error that is reported, not a signal.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    outboard::watch_files();
    outboard::survive_lost_mappings();
    outboard::link::set_guard_program(outboard::link::own_path());
    return run(argc, argv);
  } catch (const outboard::Error& e) {
    std::fprintf(stderr, "outboard: %s\n", e.what());
    if (!e.hint().empty()) std::fprintf(stderr, "%s\n", e.hint().c_str());
  } catch (const std::bad_alloc&) {
    std::fputs("outboard: out of memory\n", stderr);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "outboard: %s\n", e.what());
  }
  return 1;
}
