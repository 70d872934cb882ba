// outboard quantize: a model in another type.
#include "cli/commands.h"
#include "cli/model_output.h"
#include "cli/options.h"
#include "formats/quantize_model.h"
#include "hub/hub.h"
#include "models/models.h"
#include "support/error.h"
#include "support/notice.h"
#include "support/progress.h"

namespace outboard::cli {
namespace {

struct QuantizeOptions {
  std::string in;
  std::string out;
  std::string type;
  int threads = 0;
  bool force = false;
  bool ignore_unknown = false;
};

void quantize(const QuantizeOptions& options) {
  const formats::Mix mix = mix_of("quantize", options.type);
  check_output(options.out, options.force);
  const formats::Model model = models::open_model(hub::find_model(options.in));
  judge_unknown(model, options.ignore_unknown);
  formats::QuantizeOptions how;
  how.threads = options.threads;
  uint64_t bytes = 0;
  {
    Progress bar(options.type, model.tensor_bytes());
    const InterruptGuard guard;
    how.progress = [&](uint64_t done, uint64_t total) {
      stop_if_interrupted("quantize");
      bar.set_total(total);
      bar.update(done);
    };
    bytes = formats::quantize_model(model, options.out, mix, how);
  }
  notice("{}: {} (tensors were {})\n", options.out, format_bytes(bytes),
         format_bytes(model.tensor_bytes()));
}

}  // namespace

void add_quantize(CLI::App& app) {
  auto options = std::make_shared<QuantizeOptions>();
  CLI::App* command = app.add_subcommand("quantize", "Write a model in another type");
  command->add_option("IN", options->in, "model file, folder or pulled name")->required();
  command->add_option("OUT", options->out, "the GGUF file to write")->required();
  command->add_option("TYPE", options->type, "type of most tensors, see below")->required();
  add_threads_option(*command, options->threads);
  add_ignore_option(*command, options->ignore_unknown);
  command->add_flag("--force", options->force, "replace OUT if it exists");
  command->footer("Types:\n" + types_help() +
                  "Example: outboard quantize smollm2 smollm2-q8.gguf Q8_0");
  command->callback([options] { quantize(*options); });
}

}  // namespace outboard::cli
