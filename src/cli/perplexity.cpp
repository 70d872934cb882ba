// outboard perplexity: how well a model predicts a text.
#include "engine/perplexity.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/recording.h"
#include "support/error.h"
#include "support/notice.h"
#include "support/output_file.h"
#include "support/progress.h"

namespace outboard::cli {
namespace {

struct PerplexityOptions {
  ModelOptions model;
  std::string file;
  std::string logits;
  bool json = false;
};

// The first tokens of the text through the model once, every row of logits as a .npy file (numpy's
// format 1.0, float32 [tokens, vocabulary]).
void write_logits(engine::Session& session, const engine::Model& model,
                  std::span<const int32_t> tokens, const std::string& path) {
  OutputFile file(path);
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", tokens.size(),
                  model.program().vocabulary);
  header.append(63 - (header.size() + 10) % 64, ' ');
  header += '\n';
  const auto length = static_cast<uint16_t>(header.size());
  file.write(std::string_view("\x93NUMPY\x01\x00", 8));
  file.write(std::string{static_cast<char>(length & 0xFFU), static_cast<char>(length >> 8U)});
  file.write(header);
  session.evaluate(
      tokens, [&](size_t, std::span<const float> logits) { file.write(std::as_bytes(logits)); });
  file.finish();
}

void perplexity(PerplexityOptions options) {
  if (options.model.context == 0) options.model.context = 512;
  if (!options.logits.empty()) check_writable(options.logits, "--logits");
  const LoadedModel loaded(options.model);
  const auto& model = loaded.model();
  const std::vector<int32_t> tokens =
      model->tokenizer().encode(read_text(options.file), true, false);
  engine::SessionOptions session_options;
  session_options.context = options.model.context;
  session_options.max_rows =
      std::min(options.model.context, 128);  // 128 rows of a large vocabulary: 130 MB
  engine::Session session(model, loaded.device(), session_options);
  if (!options.logits.empty()) {
    const size_t count = std::min(tokens.size(), static_cast<size_t>(session.context()));
    write_logits(session, *model, std::span(tokens).first(count), options.logits);
    notice("Logits of {} tokens are in {}.\n", count, options.logits);
    return;
  }
  Progress bar("perplexity", 0, "chunks");
  const engine::PerplexityResult result =
      engine::perplexity(session, *model, tokens, [&](size_t done, size_t all) {
        bar.set_total(all);
        bar.update(done);
      });
  if (options.json) {
    const nlohmann::ordered_json json = {{"perplexity", result.perplexity},
                                         {"error", result.error},
                                         {"tokens", result.tokens},
                                         {"chunks", result.chunks},
                                         {"context", session.context()}};
    return print(json.dump(2) + "\n");
  }
  print(fmt::format("perplexity {:.4f} +/- {:.4f} over {} tokens in {} chunks of {}\n",
                    result.perplexity, result.error, result.tokens, result.chunks,
                    session.context()));
}

}  // namespace

void add_perplexity(CLI::App& app) {
  auto options = std::make_shared<PerplexityOptions>();
  CLI::App* command = app.add_subcommand("perplexity", "Measure how well a model predicts a text");
  add_model_options(*command, options->model);
  command->get_option("--ctx")->description("tokens a chunk; 0: 512");
  command->add_option("-f,--file", options->file, "the text; - for standard input")->required();
  command->add_option("--logits", options->logits,
                      "instead, write the logits of the first --ctx tokens to this .npy file");
  command->add_flag("--json", options->json, "the result as JSON");
  command->footer("Example: outboard perplexity smollm2 -f book.txt");
  command->callback([options] { perplexity(*options); });
}

}  // namespace outboard::cli
