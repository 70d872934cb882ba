#include "engine/translator.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <utility>

#include "devices/sampler.h"
#include "engine/beam_pages.h"
#include "engine/not_finite.h"
#include "support/error.h"
#include "support/mapped_file.h"
#include "text/sentences.h"

namespace outboard::engine {
namespace {

// Small pages: beams part ways at every step, and each parting copies a page.
constexpr int kPageTokens = 8;
constexpr int kStepTokens = 512;
// So often the device may fail again before anything was computed.
constexpr int kPatience = 2;
// Models are trained on sentences: longer lines are split into theirs.
constexpr size_t kLongSource = 128;

// One sentence, or a part of a long one, on its way.
struct Sentence {
  LineId line = 0;
  size_t part = 0;
  std::vector<int32_t> source;
  BeamPages::Pages source_pages;
  std::optional<BeamSearch> search;
  std::vector<BeamPages::Pages> pages;  // by beam
};

struct Line {
  Translation translation;
  std::vector<std::vector<BeamSearch::Hypothesis>> parts;
  size_t open = 0;  // parts not done yet
};

// "fra, deu"
std::string language_names(const std::vector<std::string>& tokens) {
  std::string list;
  for (const std::string& name : tokens)
    list += fmt::format("{}{}", list.empty() ? "" : ", ", name.substr(2, name.size() - 4));
  return list;
}

std::string key(std::string_view name) { return fmt::format("marian.generation.{}", name); }

BeamOptions complete(const TranslatorOptions& options, const Model& model) {
  const formats::Metadata& metadata = model.file().metadata;
  const auto context = static_cast<int>(model.program().context_length);
  BeamOptions made;
  made.beams = options.beams > 0
                   ? options.beams
                   : static_cast<int>(std::clamp<int64_t>(metadata.get_int(key("num_beams"), 4), 1,
                                                          devices::kMaxBest / 2));
  made.length_penalty = options.length_penalty.value_or(
      static_cast<float>(metadata.get_float(key("length_penalty"), 1)));
  made.early_stopping = options.early_stopping.value_or(
      metadata.get_bool(key("early_stopping"), false) ? EarlyStopping::kYes : EarlyStopping::kNo);
  // Hugging Face counts the start token.
  const int64_t longest =
      options.max_tokens > 0 ? options.max_tokens : metadata.get_int(key("max_length"), 512) - 1;
  made.max_tokens = static_cast<int>(std::clamp<int64_t>(longest, 1, context));
  if (options.beams < 0 || made.beams > devices::kMaxBest / 2)
    throw Error(fmt::format("translate: {} beams", made.beams),
                fmt::format("Ask for 1 to {}.", devices::kMaxBest / 2));
  if (options.best < 1 || options.best > made.beams)
    throw Error(fmt::format("translate: the {} best of {} beams", options.best, made.beams),
                "Ask for at least one, and at most as many as there are beams.");
  if (options.batch < 1) fail("translate: a batch of {} sentences", options.batch);
  return made;
}

}  // namespace

struct Translator::State {
  State(std::shared_ptr<const Model> m, devices::Device& d, const TranslatorOptions& o)
      : model(std::move(m)),
        device(d),
        tokenizer(model->translation_tokenizer()),
        options(o),
        beam_options(complete(o, *model)),
        longest_source(std::min(kLongSource, static_cast<size_t>(model->program().context_length))),
        pages(page_count(), kPageTokens) {
    start = static_cast<int32_t>(model->file().metadata.get_int("marian.decoder_start_token_id"));
    if (start < 0 || start >= model->program().vocabulary)
      fail("marian.decoder_start_token_id: {}, but the vocabulary has {} tokens", start,
           model->program().vocabulary);
    choose_language();
    devices::CompileOptions compile;
    compile.max_tokens = std::max(kStepTokens, options.batch * beam_options.beams);
    compile.max_rows = options.batch * beam_options.beams;
    compile.pages = page_count();
    compile.page_tokens = kPageTokens;
    executable = device.compile(model->program(), model->shared_file(), compile);
  }

  int pages_a_sentence() const {
    return pages_for(static_cast<int>(longest_source), kPageTokens) +
           beam_options.beams * pages_for(beam_options.max_tokens, kPageTokens);
  }
  int page_count() const { return options.batch * pages_a_sentence(); }

  void choose_language();
  std::string take_language(std::string_view& line);
  void tell(const std::string& about, const std::string& text);
  std::vector<std::vector<int32_t>> split(std::string_view line);
  void admit();
  void encode(std::span<Sentence* const> sentences);
  void decode();
  void check(std::span<const devices::Candidate> candidates);
  void advance(Sentence& sentence, std::span<const devices::Candidate> candidates);
  void finish(Sentence& sentence);
  void join(Line& line);
  std::vector<float> logits(const std::vector<int32_t>& source, const std::vector<int32_t>& target);
  void start_again();

  std::shared_ptr<const Model> model;
  devices::Device& device;
  const text::MarianTokenizer& tokenizer;
  TranslatorOptions options;
  BeamOptions beam_options;
  size_t longest_source;
  BeamPages pages;
  int32_t start = 0;
  std::string language;  // ">>fra<<", or empty
  std::set<std::string> told;
  bool languages = false;  // the model knows several
  std::unique_ptr<devices::Executable> executable;
  LineId next_id = 1;
  std::map<LineId, Line> lines;
  std::deque<std::unique_ptr<Sentence>> waiting;
  std::vector<std::unique_ptr<Sentence>> active;
  // Of the step under way; kept to reuse memory.
  std::vector<devices::Run> runs;
  std::vector<int32_t> tokens;
  std::vector<devices::PageCopy> copies;
  int failures = 0;  // of the device, since the last step that went well
  Work work;
};

Translator::Translator(std::shared_ptr<const Model> model, devices::Device& device,
                       const TranslatorOptions& options)
    : state_(std::make_unique<State>(std::move(model), device, options)) {}

Translator::~Translator() = default;

const Translator::Work& Translator::work() const { return state_->work; }

const BeamOptions& Translator::beam_options() const { return state_->beam_options; }

devices::MemoryUse Translator::memory() const { return state_->executable->memory(); }

size_t Translator::waiting() const { return state_->waiting.size(); }

void Translator::State::choose_language() {
  const std::vector<std::string> known = tokenizer.target_languages();
  languages = !known.empty();
  if (options.to.empty()) return;
  language = options.to.starts_with(">>") ? options.to : fmt::format(">>{}<<", options.to);
  if (std::ranges::find(known, language) != known.end()) return;
  throw Error(fmt::format("{} has no language \"{}\"", model->program().name, options.to),
              known.empty() ? "It translates to one language only: leave --to out."
                            : fmt::format("It knows: {}.", language_names(known)));
}

// The language that a line asks for at its beginning, which is taken off: its token, or none.
std::string Translator::State::take_language(std::string_view& line) {
  std::string_view text = line;
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  const std::string token(text::language_token(text));
  if (token.empty()) return {};
  const std::vector<std::string> known = tokenizer.target_languages();
  if (std::ranges::find(known, token) != known.end()) {
    line = text.substr(token.size());
    return token;
  }
  const std::string asked =
      fmt::format("a line begins with {}, but {}", token, model->program().name);
  if (known.empty()) {
    tell(token, fmt::format("{} translates to one language only: it is taken as text", asked));
  } else if (language.empty()) {
    throw Error(fmt::format("{} does not know that language", asked),
                fmt::format("It knows: {}.", language_names(known)));
  } else {
    tell(token, fmt::format("{} does not know that language (it knows {}): it is taken as text",
                            asked, language_names(known)));
  }
  return {};
}

void Translator::State::tell(const std::string& about, const std::string& text) {
  if (told.insert(about).second && options.on_notice) options.on_notice(text);
}

// The ids of a line's parts, none of them longer than longest_source.
std::vector<std::vector<int32_t>> Translator::State::split(std::string_view line) {
  std::string prefix = take_language(line);
  if (prefix.empty()) prefix = language;
  if (text::is_blank(line)) return {};
  if (languages && prefix.empty())
    throw Error(fmt::format("{} knows several languages to translate to", model->program().name),
                "Name one with --to, or begin each line with its token, such as >>fra<<.");
  std::vector<std::vector<int32_t>> parts;
  const auto ids_of = [&](std::string_view text) {
    return tokenizer.encode(fmt::format("{}{}", prefix, text));
  };
  // What the model knows nothing of says nothing; words are missed.
  const auto add = [&](std::string_view text, std::vector<int32_t> ids) {
    if (!tokenizer.says_nothing(ids)) {
      parts.push_back(std::move(ids));
    } else if (text::has_words(text)) {
      tell("no piece", "a line holds nothing that the model knows, and nothing is said for it");
    }
  };
  if (auto whole = ids_of(line); whole.size() <= longest_source) {
    add(line, std::move(whole));
    return parts;
  }
  std::vector<std::string_view> texts = text::split_sentences(line);
  std::ranges::reverse(texts);
  while (!texts.empty()) {
    const std::string_view text = texts.back();
    texts.pop_back();
    if (text.empty()) continue;
    auto ids = ids_of(text);
    if (ids.size() <= longest_source) {
      add(text, std::move(ids));
      continue;
    }
    const auto [first, second] = text::cut_in_two(text);
    if (second.empty())
      fail("a character of {} tokens: the model takes {}", ids.size(), longest_source);
    texts.push_back(second);
    texts.push_back(first);
  }
  return parts;
}

LineId Translator::add(std::string line) {
  State& s = *state_;
  const std::vector<std::vector<int32_t>> parts = s.split(line);
  const LineId id = s.next_id++;
  Line& made = s.lines[id];
  made.translation.source = std::move(line);
  made.parts.resize(parts.size());
  made.open = parts.size();
  for (size_t i = 0; i < parts.size(); ++i) {
    auto sentence = std::make_unique<Sentence>();
    sentence->line = id;
    sentence->part = i;
    sentence->source = parts[i];
    made.translation.source_tokens += static_cast<int>(parts[i].size());
    s.waiting.push_back(std::move(sentence));
  }
  if (made.open == 0) s.join(made);
  return id;
}

bool Translator::step() {
  State& s = *state_;
  try {
    s.admit();
    if (!s.active.empty()) s.decode();
    s.failures = 0;
  } catch (const devices::DeviceReset&) {
    if (++s.failures > kPatience) throw;
    s.start_again();
  }
  return !s.active.empty() || !s.waiting.empty();
}

// New sentences come in together, so that the encoder has many tokens a step.
void Translator::State::admit() {
  const size_t room = static_cast<size_t>(options.batch) - active.size();
  const size_t count = std::min(room, waiting.size());
  const bool few = count < static_cast<size_t>(options.batch + 3) / 4;
  if (count == 0 || (few && count < waiting.size() && !active.empty())) return;
  std::vector<Sentence*> entering;
  size_t step_tokens = 0;
  for (size_t i = 0; i < count; ++i) {
    active.push_back(std::move(waiting.front()));
    waiting.pop_front();
    Sentence& sentence = *active.back();
    if (step_tokens + sentence.source.size() > kStepTokens) {
      encode(entering);
      entering.clear();
      step_tokens = 0;
    }
    sentence.source_pages = pages.take(static_cast<int>(sentence.source.size()));
    sentence.search.emplace(beam_options, start, tokenizer.eos());
    sentence.pages.resize(1);
    entering.push_back(&sentence);
    step_tokens += sentence.source.size();
  }
  encode(entering);
}

void Translator::State::encode(std::span<Sentence* const> sentences) {
  runs.clear();
  for (const Sentence* sentence : sentences)
    runs.push_back(
        {sentence->source, 0, sentence->source_pages, devices::Run::Logits::kNone, nullptr});
  devices::Step step{runs, {}};
  step.encode = true;
  executable->wait(executable->submit(step));
  ++work.encodes;
}

void Translator::State::decode() {
  runs.clear();
  copies.clear();
  tokens.clear();
  for (const auto& sentence : active)
    for (const BeamSearch::Beam& beam : sentence->search->beams()) tokens.push_back(beam.token);
  size_t row = 0;
  for (const auto& sentence : active) {
    const std::vector<BeamSearch::Beam>& beams = sentence->search->beams();
    const auto position = static_cast<int>(beams.front().tokens.size());
    for (size_t i = 0; i < beams.size(); ++i, ++row) {
      pages.extend(sentence->pages[i], position, copies);
      devices::Run run{std::span(tokens).subspan(row, 1), position, sentence->pages[i],
                       devices::Run::Logits::kLast, nullptr};
      run.best = sentence->search->candidates();
      run.source_pages = sentence->source_pages;
      run.source_tokens = static_cast<int>(sentence->source.size());
      runs.push_back(run);
    }
  }
  const devices::StepResult result = executable->wait(executable->submit({runs, copies}));
  MappedFile::check_all();
  ++work.searches;
  check(result.best);
  size_t first = 0;
  for (const auto& sentence : active) {
    const size_t count =
        sentence->search->beams().size() * static_cast<size_t>(sentence->search->candidates());
    advance(*sentence, result.best.subspan(first, count));
    first += count;
  }
  std::erase_if(active, [](const auto& sentence) { return sentence->search->done(); });
}

void Translator::State::check(std::span<const devices::Candidate> candidates) {
  std::vector<Broken> broken;
  size_t first = 0;
  for (const auto& sentence : active)
    for (const BeamSearch::Beam& beam : sentence->search->beams()) {
      if (candidates[first].token == devices::kNotFinite) {
        broken.push_back({{start}, sentence->source});
        broken.back().tokens.insert(broken.back().tokens.end(), beam.tokens.begin(),
                                    beam.tokens.end());
      }
      first += static_cast<size_t>(sentence->search->candidates());
    }
  if (!broken.empty()) throw not_finite(*model, device.description(), broken).error;
}

void Translator::State::advance(Sentence& sentence,
                                std::span<const devices::Candidate> candidates) {
  sentence.search->advance(candidates);
  std::vector<BeamPages::Pages> next;
  for (const BeamSearch::Beam& beam : sentence.search->beams())
    next.push_back(pages.share(sentence.pages[static_cast<size_t>(beam.parent)]));
  for (BeamPages::Pages& old : sentence.pages) pages.release(old);
  sentence.pages = std::move(next);
  if (sentence.search->done()) finish(sentence);
}

void Translator::State::finish(Sentence& sentence) {
  pages.release(sentence.source_pages);
  Line& line = lines.at(sentence.line);
  line.parts[sentence.part] = sentence.search->hypotheses();
  if (--line.open == 0) join(line);
}

// Puts the parts' hypotheses together: best with best, second with second.
void Translator::State::join(Line& line) {
  auto choices = static_cast<size_t>(options.best);
  for (const auto& part : line.parts) choices = std::min(choices, part.size());
  if (line.parts.empty()) choices = 1;
  for (size_t i = 0; i < choices; ++i) {
    Translation::Choice choice;
    double weighted = 0, weight = 0;
    for (const auto& part : line.parts) {
      const BeamSearch::Hypothesis& hypothesis = part[i];
      const std::string text = tokenizer.decode(hypothesis.tokens);
      if (!choice.text.empty() && !text.empty()) choice.text += ' ';
      choice.text += text;
      for (const int32_t token : hypothesis.tokens)
        choice.tokens.emplace_back(tokenizer.token_text(token));
      choice.cut |= !hypothesis.ended;
      const auto length =
          static_cast<double>(hypothesis.tokens.size() + (hypothesis.ended ? 1 : 0));
      weighted += length * static_cast<double>(hypothesis.score);
      weight += length;
    }
    if (line.parts.size() == 1) {
      choice.score = line.parts[0][i].score;
    } else if (weight > 0) {
      choice.score = static_cast<float>(weighted / weight);
    }
    line.translation.choices.push_back(std::move(choice));
  }
  line.translation.tokens = static_cast<int>(line.translation.choices.front().tokens.size());
}

// The device has lost all pages: the sentences under way begin anew.
void Translator::State::start_again() {
  pages = BeamPages(page_count(), kPageTokens);
  for (auto sentence = active.rbegin(); sentence != active.rend(); ++sentence) {
    (*sentence)->search.reset();
    (*sentence)->pages.clear();
    (*sentence)->source_pages.clear();
    waiting.push_front(std::move(*sentence));
  }
  active.clear();
}

std::optional<Translation> Translator::take(LineId id) {
  const auto line = state_->lines.find(id);
  if (line == state_->lines.end() || line->second.open > 0) return std::nullopt;
  Translation translation = std::move(line->second.translation);
  state_->lines.erase(line);
  return translation;
}

Translation Translator::translate(std::string line) {
  const LineId id = add(std::move(line));
  for (;;) {
    if (auto done = take(id)) return std::move(*done);
    step();
  }
}

std::vector<float> Translator::logits(const std::vector<int32_t>& source,
                                      const std::vector<int32_t>& target) {
  State& s = *state_;
  if (!s.active.empty()) fail("translator: logits were asked for while sentences are under way");
  for (int failures = 0;;) {
    try {
      return s.logits(source, target);
    } catch (const devices::DeviceReset&) {
      if (++failures > kPatience) throw;
      s.start_again();
    }
  }
}

std::vector<float> Translator::State::logits(const std::vector<int32_t>& source,
                                             const std::vector<int32_t>& target) {
  BeamPages::Pages source_pages = pages.take(static_cast<int>(source.size()));
  BeamPages::Pages target_pages = pages.take(static_cast<int>(target.size() + 1));
  const devices::Run encoded{source, 0, source_pages, devices::Run::Logits::kNone, nullptr};
  devices::Step step{{&encoded, 1}, {}};
  step.encode = true;
  executable->wait(executable->submit(step));
  std::vector<float> rows;
  for (size_t i = 0; i <= target.size(); ++i) {
    const int32_t token = i == 0 ? start : target[i - 1];
    devices::Run run{
        {&token, 1}, static_cast<int>(i), target_pages, devices::Run::Logits::kLast, nullptr};
    run.source_pages = source_pages;
    run.source_tokens = static_cast<int>(source.size());
    const devices::StepResult result = executable->wait(executable->submit({{&run, 1}, {}}));
    if (!devices::can_choose(result.logits)) {
      Broken broken{{start}, source};
      broken.tokens.insert(broken.tokens.end(), target.begin(),
                           target.begin() + static_cast<ptrdiff_t>(i));
      throw not_finite(*model, device.description(), {&broken, 1}).error;
    }
    rows.insert(rows.end(), result.logits.begin(), result.logits.end());
  }
  pages.release(source_pages);
  pages.release(target_pages);
  return rows;
}

}  // namespace outboard::engine
