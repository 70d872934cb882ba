// outboard convert: a model folder as one GGUF file.
#include "cli/commands.h"
#include "cli/model_output.h"
#include "cli/options.h"
#include "formats/quantize_model.h"
#include "models/models.h"
#include "support/error.h"
#include "support/notice.h"
#include "support/progress.h"

namespace outboard::cli {
namespace {

struct ConvertOptions {
  std::string in;
  std::string out;
  std::string type = "f16";
  std::string name;
  int threads = 0;
  bool force = false;
  bool ignore_unknown = false;
};

// "opus-2020-02-26" of models/opus-2020-02-26/ and of opus-2020-02-26.zip.
std::string name_of(std::filesystem::path path) {
  path = std::filesystem::absolute(path).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  return (std::filesystem::is_directory(path) ? path.filename() : path.stem()).string();
}

void convert(const ConvertOptions& options) {
  const formats::Mix mix = mix_of("convert", options.type);
  check_output(options.out, options.force);
  formats::Model model = models::open_model(options.in);
  judge_unknown(model, options.ignore_unknown);
  if (!options.name.empty()) {
    model.metadata.set("general.name", options.name);
  } else if (!model.metadata.contains("general.name")) {
    model.metadata.set("general.name", name_of(options.in));
  }
  formats::QuantizeOptions how;
  how.threads = options.threads;
  uint64_t bytes = 0;
  {
    Progress bar("converting", model.tensor_bytes());
    const InterruptGuard guard;
    how.progress = [&](uint64_t done, uint64_t) {
      stop_if_interrupted("convert");
      bar.update(done);
    };
    bytes = formats::quantize_model(model, options.out, mix, how);
  }
  notice("{}: {}, {} tensors\n", options.out, format_bytes(bytes), model.tensors().size());
}

}  // namespace

void add_convert(CLI::App& app) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = app.add_subcommand("convert", "Write a model folder as one GGUF file");
  command->add_option("IN", options->in, "model folder, or a ZIP archive of one, see below")
      ->required();
  command->add_option("OUT", options->out, "the GGUF file to write")->required();
  command->add_option("--type", options->type, "type of most tensors, see below")
      ->capture_default_str();
  command->add_option("--name", options->name, "the model's name (default: IN's)");
  add_threads_option(*command, options->threads);
  add_ignore_option(*command, options->ignore_unknown);
  command->add_flag("--force", options->force, "replace OUT if it exists");
  command->footer(
      "Folders: Hugging Face's (config.json, model.safetensors or pytorch_model.bin) of Llama, "
      "Mistral,\nQwen 2 and 3, Gemma 3, GPT-2 and Marian (opus-mt); Marian's own (decoder.yml, "
      "*.npz, *.spm).\nTypes:\n" +
      types_help() + "Example: outboard convert opus-2020-02-26.zip en-fr.gguf --type q8_0");
  command->callback([options] { convert(*options); });
}

}  // namespace outboard::cli
