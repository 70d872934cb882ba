// outboard tokenize: text to token ids.
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "hub/hub.h"
#include "models/models.h"
#include "support/error.h"
#include "support/notice.h"

namespace outboard::cli {
namespace {

struct TokenizeOptions {
  std::string model;
  std::string text;
  std::string file;
  bool json = false;
  bool no_special = false;
  bool ignore_unknown = false;
};

void tokenize(const TokenizeOptions& options) {
  const std::string text = options.file.empty() ? options.text : read_text(options.file);
  const formats::Model model = models::open_model(hub::find_model(options.model));
  const auto tokenizer = text::Tokenizer::from_metadata(model.metadata);
  judge_unknown(model, options.ignore_unknown, text::Tokenizer::unheard(model.metadata));
  for (const std::string& note : tokenizer->notes()) notice("outboard: {}\n", note);
  const std::vector<int32_t> ids =
      tokenizer->encode(text, !options.no_special, !options.no_special);
  if (options.json) {
    nlohmann::ordered_json tokens = nlohmann::ordered_json::array();
    for (const int32_t id : ids)
      tokens.push_back({{"id", id}, {"token", tokenizer->token_text(id)}});
    const nlohmann::ordered_json json = {{"count", ids.size()}, {"ids", ids}, {"tokens", tokens}};
    print(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    return;
  }
  std::string lines;
  for (const int32_t id : ids) lines += fmt::format("{:>8}  {}\n", id, tokenizer->token_text(id));
  print(lines);
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Show the tokens of a text");
  command->add_option("MODEL", options->model, "model file, folder or pulled name")->required();
  CLI::Option* text = command->add_option("TEXT", options->text, "the text");
  command->add_option("-f,--file", options->file, "read the text from a file; - for standard input")
      ->excludes(text);
  command->add_flag("--no-special", options->no_special,
                    "no beginning token, and none for control tokens spelled in the text");
  add_ignore_option(*command, options->ignore_unknown);
  command->add_flag("--json", options->json, "ids and tokens as JSON");
  command->footer("Example: outboard tokenize smollm2 \"Hello world\" --json");
  command->callback([options] { tokenize(*options); });
}

}  // namespace outboard::cli
