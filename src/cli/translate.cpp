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
#include "cli/model_output.h"
#include "cli/options.h"
#include "cli/translate_input.h"
#include "cli/translate_journal.h"
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
  std::string format_name = "text";
  TextFormat format = TextFormat::kText;
  std::string encoding;
  std::vector<int> columns;
  float length_penalty = NAN;
  std::string early_stopping;
  bool json = false;
  bool force = false;
  bool resume = false;
};

// Items that are read and not written: a document may have many without text.
constexpr size_t kMostOpen = 4096;

std::string described(const engine::Translation& translation, int best) {
  Json json = {{"source", text::to_valid_utf8(translation.source)}};
  json.update(to_json(translation.choices.front()));
  json["source_tokens"] = translation.source_tokens;
  if (best > 1) {
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

// Texts in, translations out. What the journal has is not asked again.
class Translating {
 public:
  Translating(engine::Translator& translator, TranslateJournal* journal)
      : translator_(translator), journal_(journal) {}

  // An item whose texts are on their way.
  struct Pending {
    TranslateItem item;
    std::vector<engine::LineId> lines;  // 0: done
    std::vector<engine::Translation> done;
  };

  Pending begin(TranslateItem item) {
    Pending pending{std::move(item), {}, {}};
    for (const std::string& question : pending.item.questions) {
      const engine::Translation* known = journal_ != nullptr ? journal_->find(question) : nullptr;
      pending.done.push_back(known != nullptr ? *known : engine::Translation{});
      pending.lines.push_back(known != nullptr ? 0 : translator_.add(question));
    }
    return pending;
  }
  // Whether all of its texts are done.
  bool is_done(Pending& pending) {
    for (size_t i = 0; i < pending.lines.size(); ++i) {
      if (pending.lines[i] == 0) continue;
      auto done = translator_.take(pending.lines[i]);
      if (!done) return false;
      tokens_ += static_cast<uint64_t>(done->tokens);
      pending.done[i] = std::move(*done);
      pending.lines[i] = 0;
      if (journal_ != nullptr) journal_->add(pending.done[i]);
    }
    return true;
  }
  bool has_room(size_t ahead) const { return translator_.waiting() < ahead; }
  uint64_t tokens() const { return tokens_; }

 private:
  engine::Translator& translator_;
  TranslateJournal* journal_;
  uint64_t tokens_ = 0;
};

// What makes the translations of a run what they are.
Json made_by(const LoadedModel& loaded, const TranslateOptions& options) {
  const engine::TranslatorOptions& t = options.translator;
  return {{"outboard_translate", 1},
          {"model", loaded.model()->identity()},
          {"to", t.to},
          {"beams", t.beams},
          {"length_penalty", t.length_penalty ? Json(*t.length_penalty) : Json()},
          {"early_stopping", options.early_stopping},
          {"max_tokens", t.max_tokens},
          {"nbest", t.best}};
}

void refuse_meaningless(const TranslateOptions& options) {
  if (!options.texts.empty() && !options.in.empty())
    throw Error("translate: both texts and a file", "Give one of them.");
  if (options.json && options.format != TextFormat::kText)
    throw Error("translate: --json and --format: JSON is of lines", "Leave one of them out.");
  if (!options.columns.empty() && options.format != TextFormat::kTsv)
    throw Error("translate: --columns is for tables", "Use it with --format tsv.");
  if (!options.texts.empty() && !options.encoding.empty())
    throw Error("translate: --encoding is for files and pipes", "Leave it out.");
  const bool has_file =
      !options.out.empty() && options.out != "-" && output_place(options.out).is_replaced();
  if (options.resume && !has_file)
    throw Error("translate: --resume: only what goes to a file can go on", "Name it with -o FILE.");
  if (options.force && options.out.empty())
    throw Error("translate: --force is for -o FILE", "Leave it out.");
}

void translate(TranslateOptions options) {
  const std::map<std::string, TextFormat> formats = {{"text", TextFormat::kText},
                                                     {"html", TextFormat::kHtml},
                                                     {"srt", TextFormat::kSrt},
                                                     {"tsv", TextFormat::kTsv}};
  options.format = formats.at(options.format_name);
  refuse_meaningless(options);
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
  const bool has_file = !options.out.empty() && options.out != "-";
  const bool goes_on = options.resume && TranslateJournal::is_there(options.out);
  if (has_file && TranslateJournal::is_there(options.out) && !goes_on && !options.force)
    throw Error(fmt::format("an earlier run to {} stopped before its end", options.out),
                "--resume goes on where it stopped, --force begins anew.");
  if (has_file) check_output(options.out, options.force || goes_on);
  TranslateInputOptions from;
  from.texts = options.texts;
  from.file = options.in;
  from.format = options.format;
  from.encoding = options.encoding;
  from.columns = options.columns;
  if (options.json)
    from.describe = [best = options.translator.best](const engine::Translation& translation) {
      return described(translation, best);
    };
  TranslateInput input(std::move(from));
  const LoadedModel loaded(options.model);
  engine::Translator translator(loaded.model(), loaded.device(), options.translator);
  const InterruptGuard guard;
  std::optional<TranslateJournal> journal;
  if (has_file && output_place(options.out).is_replaced())
    journal.emplace(options.out, made_by(loaded, options), goes_on);
  if (journal && journal->known() > 0)
    notice("outboard: goes on: {} texts are translated already\n", journal->known());
  Output output(options.out);
  const bool has_lines = options.format == TextFormat::kText;
  Progress bar("translate", input.total(), has_lines ? "lines" : "texts");
  // Nothing of a progress line between lines on one terminal.
  const bool shows_progress = !options.out.empty() || isatty(STDOUT_FILENO) == 0;
  Translating translating(translator, journal ? &*journal : nullptr);
  std::deque<Translating::Pending> open;
  uint64_t lines = 0;
  const auto start = std::chrono::steady_clock::now();
  const size_t ahead = 2 * static_cast<size_t>(options.translator.batch);
  const std::string more = journal ? "\nThe same command with --resume goes on there." : "";
  try {
    while (!InterruptGuard::flag()) {
      while (translating.has_room(ahead) && open.size() < kMostOpen) {
        auto item = input.next(open.empty());
        if (!item) break;
        open.push_back(translating.begin(std::move(*item)));
      }
      if (open.empty() && input.ended()) break;
      while (!open.empty() && translating.is_done(open.front())) {
        const Translating::Pending& done = open.front();
        output.write(done.item.write(done.done));
        lines += has_lines || !done.lines.empty() ? 1 : 0;
        open.pop_front();
        if (shows_progress) bar.update(lines);
      }
      if (!open.empty()) translator.step();
    }
  } catch (Error& e) {
    if (lines == 0) throw;
    throw Error(
        fmt::format("{} (after {} {})", e.message(), lines, has_lines ? "lines" : "texts"),
        fmt::format("{}{}{}.{}", e.hint(), e.hint().empty() ? "" : "\n", output.keep(), more));
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (InterruptGuard::flag() && !(open.empty() && input.ended()))
    throw Interrupted(
        fmt::format("translate: stopped after {} {}", lines, has_lines ? "lines" : "texts"),
        fmt::format("{}; the rest of the input was not translated.{}", output.keep(), more));
  output.finish();
  if (journal) journal->remove();
  const char* unit = has_lines ? "lines" : "texts";
  notice("[{}: {} {}, {:.1f} {}/s, {:.1f} tokens/s]\n", loaded.device().description(), lines, unit,
         per_second(static_cast<int>(lines), seconds), unit,
         per_second(static_cast<int>(translating.tokens()), seconds));
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
  command->add_flag("--force", options->force, "replace what is at -o");
  command->add_flag("--resume", options->resume,
                    "-o: go on where the same command stopped, by what lies in OUT.resume");
  command
      ->add_option("--format", options->format_name,
                   "text (lines), html, srt (subtitles), tsv (a table): what is text is "
                   "translated, the rest stays")
      ->check(CLI::IsMember({"text", "html", "srt", "tsv"}))
      ->capture_default_str();
  command
      ->add_option("--columns", options->columns, "--format tsv: these columns, as 2,4; else all")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--encoding", options->encoding,
                      "of the input: UTF-8, Latin-1, Windows-1252, UTF-16; without it found. Pages "
                      "stay in theirs, all else is written as UTF-8");
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
