// outboard tokenize: text to token ids.
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "hub/hub.h"
#include "models/models.h"
#include "support/error.h"
#include "support/notice.h"
#include "text/marian_tokenizer.h"
#include "text/tokenizer.h"

namespace outboard::cli {
namespace {

struct TokenizeOptions {
  std::string model;
  std::string text;
  bool has_text = false;
  std::string file;
  bool json = false;
  bool no_special = false;
  bool ignore_unknown = false;
};

struct Token {
  int32_t id;
  std::string text;
};

std::vector<Token> tokens_of_answers(const formats::Model& model, const std::string& text,
                                     const TokenizeOptions& options) {
  const auto tokenizer = text::Tokenizer::from_metadata(model.metadata);
  judge_unknown(model, options.ignore_unknown, text::Tokenizer::unheard(model.metadata));
  for (const std::string& note : tokenizer->notes()) notice("outboard: {}\n", note);
  std::vector<Token> tokens;
  for (const int32_t id : tokenizer->encode(text, !options.no_special, !options.no_special))
    tokens.push_back({id, std::string(tokenizer->token_text(id))});
  return tokens;
}

// Line by line, as they are translated.
std::vector<Token> tokens_of_lines(const formats::Model& model, std::string_view text,
                                   const TokenizeOptions& options) {
  if (options.no_special)
    throw Error("tokenize: --no-special has no meaning with a model that translates",
                "Its lines always end with a token, and may begin with that of a language.");
  judge_unknown(model, options.ignore_unknown);
  const text::MarianTokenizer tokenizer(model.metadata);
  std::vector<Token> tokens;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    for (const int32_t id : tokenizer.encode(line))
      tokens.push_back({id, std::string(tokenizer.token_text(id))});
  }
  return tokens;
}

// What is given on the command line, in a file, or by a pipe.
std::string text_of(const TokenizeOptions& options) {
  if (!options.file.empty()) return read_text(options.file);
  if (options.has_text) return options.text;
  if (isatty(STDIN_FILENO) == 1)
    throw Error("tokenize: no text",
                "Write it behind MODEL, or give -f FILE (- for standard input), or a pipe.");
  return read_text("-");
}

void tokenize(const TokenizeOptions& options) {
  const std::string text = text_of(options);
  const formats::Model model = models::open_model(hub::find_model(options.model));
  const bool translates = model.metadata.get_string("general.architecture", "") == "marian";
  const std::vector<Token> tokens =
      translates ? tokens_of_lines(model, text, options) : tokens_of_answers(model, text, options);
  if (options.json) {
    std::vector<int32_t> ids;
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Token& token : tokens) {
      ids.push_back(token.id);
      list.push_back({{"id", token.id}, {"token", token.text}});
    }
    const nlohmann::ordered_json json = {{"count", ids.size()}, {"ids", ids}, {"tokens", list}};
    print(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    return;
  }
  std::string lines;
  for (const Token& token : tokens) lines += fmt::format("{:>8}  {}\n", token.id, token.text);
  print(lines);
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Show the tokens of a text");
  command->add_option("MODEL", options->model, "model file, folder or pulled name")->required();
  CLI::Option* text =
      command->add_option("TEXT", options->text, "the text; without it and -f what a pipe brings");
  command->add_option("-f,--file", options->file, "read the text from a file; - for standard input")
      ->excludes(text);
  command->add_flag("--no-special", options->no_special,
                    "no beginning token, and none for control tokens spelled in the text");
  add_ignore_option(*command, options->ignore_unknown);
  command->add_flag("--json", options->json, "ids and tokens as JSON");
  command->footer("Example: outboard tokenize smollm2 \"Hello world\" --json");
  command->callback([options, text] {
    options->has_text = text->count() > 0;
    tokenize(*options);
  });
}

}  // namespace outboard::cli
