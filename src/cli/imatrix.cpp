// outboard imatrix: what matters in a model, for quantize.
#include <algorithm>

#include "cli/commands.h"
#include "cli/model_output.h"
#include "cli/options.h"
#include "engine/importances.h"
#include "hub/hub.h"
#include "support/error.h"
#include "support/notice.h"
#include "support/progress.h"

namespace outboard::cli {
namespace {

struct ImatrixOptions {
  std::string model;
  std::string file;
  std::string out;
  int context = 512;
  int threads = 0;
  bool force = false;
  bool ignore_unknown = false;
};

void imatrix(const ImatrixOptions& options) {
  const std::string text = read_text(options.file);
  check_output(options.out, options.force);
  engine::LoadOptions how;
  how.ignore_unknown = options.ignore_unknown;
  how.on_notice = [](std::string_view what) { notice("outboard: {}\n", what); };
  const std::filesystem::path path = hub::find_model(options.model);
  const auto model = engine::Model::load(path, how);
  hub::note_use(path);
  const std::vector<int32_t> tokens = model->tokenizer().encode(text, true, false);
  formats::CollectedInputs inputs;
  {
    Progress bar("imatrix", 0, "chunks");
    const InterruptGuard guard;
    inputs = engine::collect_inputs(*model, tokens, options.context, options.threads,
                                    [&](size_t done, size_t all) {
                                      stop_if_interrupted("imatrix");
                                      bar.set_total(all);
                                      bar.update(done);
                                    });
  }
  inputs.text = std::filesystem::path(options.file).filename().string();
  formats::write_importances(inputs, options.out);
  notice("{}: what goes into {} weights, over {} chunks of {} tokens\n", options.out,
         inputs.weights.size(), inputs.chunks, inputs.chunk_tokens);
}

}  // namespace

void add_imatrix(CLI::App& app) {
  auto options = std::make_shared<ImatrixOptions>();
  CLI::App* command =
      app.add_subcommand("imatrix", "Measure what matters in a model, for quantize");
  command->add_option("MODEL", options->model, "model file, folder or pulled name")->required();
  command->add_option("-f,--file", options->file, "the text; - for standard input")->required();
  command->add_option("-o,--output", options->out, "the file to write")->required();
  command->add_option("--ctx", options->context, "tokens a chunk")
      ->capture_default_str()
      ->check(CLI::Range(8, 1 << 20));
  add_threads_option(*command, options->threads);
  add_ignore_option(*command, options->ignore_unknown);
  command->add_flag("--force", options->force, "replace the file if it exists");
  command->footer(
      "A text of some hundred thousand tokens, of the kinds that the model is to be good at, is "
      "enough. Computed on the CPU; best from the model in F16.\n"
      "Example: outboard imatrix model-f16.gguf -f text.txt -o model.imatrix");
  command->callback([options] { imatrix(*options); });
}

}  // namespace outboard::cli
