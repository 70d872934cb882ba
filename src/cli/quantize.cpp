// outboard quantize: a model in another type.
#include <optional>

#include "cli/commands.h"
#include "cli/model_output.h"
#include "cli/options.h"
#include "formats/importance.h"
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
  std::string imatrix;
  bool allow_requantize = false;
  bool force = false;
  bool ignore_unknown = false;
};

// Rounding what is rounded already costs more than the better of the two types alone would.
void refuse_rounding_twice(const QuantizeOptions& options, const formats::Model& model,
                           formats::Mix mix) {
  const auto twice = formats::rounded_twice(model, mix, !options.imatrix.empty());
  if (options.allow_requantize || twice.empty()) return;
  throw Error(fmt::format("quantize: {} is in {} already: {} of its {} tensors would be rounded a "
                          "second time",
                          options.in, type_of_model(model), twice.size(), model.tensors().size()),
              "Start from the model in F16, BF16 or F32, or say --allow-requantize.");
}

void quantize(const QuantizeOptions& options) {
  const formats::Mix mix = mix_of("quantize", options.type);
  std::optional<formats::ImportanceMatrix> importances;
  if (!options.imatrix.empty()) importances = formats::read_importances(options.imatrix);
  check_output(options.out, options.force);
  const formats::Model model = models::open_model(hub::find_model(options.in));
  judge_unknown(model, options.ignore_unknown);
  refuse_rounding_twice(options, model, mix);
  formats::QuantizeOptions how;
  how.threads = options.threads;
  if (importances) how.importances = &*importances;
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
  command->add_option("--imatrix", options->imatrix,
                      "importances, as `outboard imatrix` or llama.cpp's writes them: what matters "
                      "more is kept better");
  command->add_flag("--allow-requantize", options->allow_requantize,
                    "also where IN is rounded already, which loses twice");
  command->add_flag("--force", options->force, "replace OUT if it exists");
  command->footer("Types:\n" + types_help() +
                  "Example: outboard quantize model-f16.gguf model-q4.gguf Q4_K_M");
  command->callback([options] { quantize(*options); });
}

}  // namespace outboard::cli
