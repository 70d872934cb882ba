// outboard translate: lines in, lines out.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/commands.h"
#include "cli/line_reader.h"
#include "cli/options.h"
#include "cli/recording.h"
#include "engine/translator.h"
#include "support/error.h"
#include "support/files_in_use.h"
#include "support/notice.h"
#include "support/output_file.h"
#include "support/progress.h"
#include "text/unicode.h"

namespace outboard::cli {
namespace {

using Json = nlohmann::ordered_json;

struct TranslateOptions {
  ModelOptions model;
  engine::TranslatorOptions translator;
  std::vector<std::string> texts;
  std::string in;
  std::string out;
  float length_penalty = NAN;
  std::string early_stopping;
  bool json = false;
};

Json to_json(const engine::Translation::Choice& choice) {
  return {{"text", choice.text},
          {"tokens", choice.tokens},
          {"score", choice.score},
          {"cut", choice.cut}};
}

std::string line_of(const engine::Translation& translation, const TranslateOptions& options) {
  if (!options.json) {
    std::string line = translation.choices.front().text;
    std::ranges::replace(line, '\n', ' ');  // one line in, one line out
    return line + "\n";
  }
  Json json = {{"source", text::to_valid_utf8(translation.source)}};
  json.update(to_json(translation.choices.front()));
  json["source_tokens"] = translation.source_tokens;
  if (options.translator.best > 1) {
    json["alternatives"] = Json::array();
    for (size_t i = 1; i < translation.choices.size(); ++i)
      json["alternatives"].push_back(to_json(translation.choices[i]));
  }
  return json.dump() + "\n";
}

// Standard output, or a file beside its name until all is translated.
class Output {
 public:
  explicit Output(const std::string& path) {
    if (path.empty() || path == "-") {
      claim_output(STDOUT_FILENO, "standard output");
    } else {
      file_.emplace(path);
    }
  }

  void write(std::string_view line) {
    if (file_) {
      file_->write(line);
      whole_ = file_->bytes_written();
    } else {
      print(line);
    }
  }
  void finish() {
    if (file_) file_->finish();
  }
  // What was translated when the work ended early is not thrown away. Returns what to tell of it.
  std::string keep() {
    if (!file_) return "What was written is whole";
    if (whole_ == 0) return "Nothing was written";
    return fmt::format("The whole lines that were translated are in {}",
                       file_->keep(whole_).string());
  }

 private:
  std::optional<OutputFile> file_;  // none: standard output
  uint64_t whole_ = 0;              // bytes of whole lines
};

// The lines in order: those of the command line, or those that a file or a pipe brings.
class Input {
 public:
  explicit Input(const TranslateOptions& options)
      : texts_(options.texts.begin(), options.texts.end()) {
    if (texts_.empty()) reader_.emplace(options.in.empty() ? "-" : options.in);
  }
  bool ended() const { return reader_ ? reader_->ended() : texts_.empty(); }
  std::optional<std::string> next(bool wait) {
    if (reader_) return reader_->next(wait);
    if (texts_.empty()) return std::nullopt;
    std::string text = std::move(texts_.front());
    texts_.pop_front();
    // One line in, one line out.
    for (char& c : text)
      if (c == '\n' || c == '\r') c = ' ';
    return text;
  }

 private:
  std::deque<std::string> texts_;
  std::optional<LineReader> reader_;
};

void translate(TranslateOptions options) {
  if (!options.texts.empty() && !options.in.empty())
    throw Error("translate: both texts and a file", "Give one of them.");
  if (!std::isnan(options.length_penalty))
    options.translator.length_penalty = options.length_penalty;
  const std::map<std::string, engine::EarlyStopping> kinds = {
      {"yes", engine::EarlyStopping::kYes},
      {"no", engine::EarlyStopping::kNo},
      {"never", engine::EarlyStopping::kNever}};
  if (!options.early_stopping.empty())
    options.translator.early_stopping = kinds.at(options.early_stopping);
  options.translator.on_notice = [](std::string_view text) { notice("outboard: {}\n", text); };
  // Before the model is loaded: a wrong name is told of at once.
  if (!options.out.empty() && options.out != "-") check_writable(options.out, "--output");
  Input input(options);
  const LoadedModel loaded(options.model);
  engine::Translator translator(loaded.model(), loaded.device(), options.translator);
  const InterruptGuard guard;
  Output output(options.out);
  Progress bar("translate", 0, "lines");
  // Nothing of a progress line between lines on one terminal.
  const bool shows_progress = !options.out.empty() || isatty(STDOUT_FILENO) == 0;
  std::deque<engine::LineId> open;
  uint64_t lines = 0, tokens = 0;
  const auto start = std::chrono::steady_clock::now();
  const size_t ahead = 2 * static_cast<size_t>(options.translator.batch);
  try {
    while (!InterruptGuard::flag()) {
      while (translator.waiting() < ahead) {
        auto line = input.next(open.empty());
        if (!line) break;
        open.push_back(translator.add(std::move(*line)));
      }
      if (open.empty() && input.ended()) break;
      if (!open.empty()) translator.step();
      while (!open.empty()) {
        const auto done = translator.take(open.front());
        if (!done) break;
        output.write(line_of(*done, options));
        open.pop_front();
        ++lines;
        tokens += static_cast<uint64_t>(done->tokens);
        if (shows_progress) bar.update(lines);
      }
    }
  } catch (Error& e) {
    if (lines == 0) throw;
    throw Error(fmt::format("{} (after {} lines)", e.message(), lines),
                fmt::format("{}{}{}.", e.hint(), e.hint().empty() ? "" : "\n", output.keep()));
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (InterruptGuard::flag() && !(open.empty() && input.ended()))
    throw Interrupted(fmt::format("translate: stopped after {} lines", lines),
                      fmt::format("{}; the rest of the input was not translated.", output.keep()));
  output.finish();
  notice("[{}: {} lines, {:.1f} lines/s, {:.1f} tokens/s]\n", loaded.device().description(), lines,
         per_second(static_cast<int>(lines), seconds),
         per_second(static_cast<int>(tokens), seconds));
}

}  // namespace

void add_translate(CLI::App& app) {
  auto options = std::make_shared<TranslateOptions>();
  CLI::App* command = app.add_subcommand("translate", "Translate text, line by line");
  add_model_options(*command, options->model);
  command->remove_option(command->get_option("--ctx"));
  command->add_option("TEXT", options->texts, "texts to translate; none: a file or standard input");
  command->add_option("-f,--file", options->in,
                      "translate the lines of this file; - for standard input");
  command->add_option("-o,--output", options->out, "write to this file; else to standard output");
  command->add_option("--to", options->translator.to,
                      "language to translate to, for models that know several: fra; a line's own "
                      ">>fra<< goes first");
  command
      ->add_option("--beam", options->translator.beams,
                   "beams of the search, 1: greedy; 0: what the model asks for")
      ->check(CLI::Range(0, devices::kMaxBest / 2))
      ->capture_default_str();
  command->add_option("--length-penalty", options->length_penalty,
                      "scores are log probability / length^P; more: longer texts (default: the "
                      "model's)");
  command
      ->add_option("--early-stopping", options->early_stopping,
                   "end a search with as many ends as beams: yes, no (when none can be better), "
                   "never (when none could become better) (default: the model's)")
      ->check(CLI::IsMember({"yes", "no", "never"}));
  command
      ->add_option("--max-tokens", options->translator.max_tokens,
                   "longest translation of a sentence in tokens; 0: the model's")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command->add_option("--batch", options->translator.batch, "sentences under way together")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--nbest", options->translator.best, "with --json: translations of each line")
      ->check(CLI::Range(1, devices::kMaxBest / 2))
      ->capture_default_str();
  command->add_flag("--json", options->json,
                    "a JSON object a line: source, text, tokens, score, alternatives");
  command->footer("Example: outboard translate opus-mt-en-fr \"How are you?\"");
  command->callback([options] { translate(*options); });
}

}  // namespace outboard::cli
