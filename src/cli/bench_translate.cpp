#include "cli/bench_translate.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <random>

#include "cli/options.h"
#include "engine/translator.h"
#include "machine/launch_watch.h"
#include "program/cost.h"
#include "simulator/cost/card_work.h"
#include "support/error.h"
#include "support/machine.h"
#include "support/progress.h"

namespace outboard::cli {
namespace {

namespace cost = simulator::cost;

constexpr int kBeams = 4;
constexpr int kWords = 20;       // of a line
constexpr int kMostTokens = 32;  // of a translation: a line of random words might never end
constexpr int kBatch = 32;

// Lines of random words of the vocabulary.
std::vector<std::string> random_lines(const engine::Model& model, size_t count, unsigned seed) {
  const text::MarianTokenizer& tokenizer = model.translation_tokenizer();
  std::mt19937 random(seed);
  const std::vector<std::string> languages = tokenizer.target_languages();
  std::vector<std::string> lines;
  while (lines.size() < count) {
    std::vector<int32_t> words(kWords);
    for (int32_t& word : words) word = static_cast<int32_t>(random() % tokenizer.vocabulary_size());
    std::string line = tokenizer.decode(words);
    std::ranges::replace(line, '\n', ' ');
    lines.push_back(languages.empty() ? line : fmt::format("{} {}", languages.front(), line));
  }
  return lines;
}

engine::TranslatorOptions options_for(int batch) {
  engine::TranslatorOptions options;
  options.beams = kBeams;
  options.batch = batch;
  options.max_tokens = kMostTokens;
  return options;
}

int translate_all(engine::Translator& translator, const std::vector<std::string>& lines) {
  std::vector<engine::LineId> ids;
  for (const std::string& line : lines) ids.push_back(translator.add(line));
  while (translator.step()) {
  }
  int tokens = 0;
  for (const engine::LineId id : ids) tokens += translator.take(id).value().tokens;
  return tokens;
}

struct Speed {
  std::string test;
  int batch = 0;
  double lines = 0;   // a second
  double tokens = 0;  // a second
  devices::MemoryUse memory;
};

Speed measure(const LoadedModel& loaded, int batch, int repetitions) {
  engine::Translator translator(loaded.model(), loaded.device(), options_for(batch));
  const std::vector<std::string> lines =
      random_lines(*loaded.model(), static_cast<size_t>(batch), 1);
  translate_all(translator, lines);  // brings the weights into memory
  const auto start = std::chrono::steady_clock::now();
  int tokens = 0;
  for (int i = 0; i < repetitions; ++i) tokens += translate_all(translator, lines);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return {fmt::format("{} line{}, {} beams", batch, batch == 1 ? "" : "s", kBeams), batch,
          per_second(batch * repetitions, seconds), per_second(tokens, seconds),
          translator.memory()};
}

void count(const LoadedModel& loaded, bool as_json) {
  machine::SimDevice* device = loaded.simulated();
  if (device == nullptr)
    throw Error("bench: only the simulated card counts", "Use --device sim with --counters.");
  const auto snapshot = [&] {
    device->card().settle();
    return device->card().counters();
  };
  engine::Translator translator(loaded.model(), loaded.device(), options_for(1));
  const std::vector<std::string> lines = random_lines(*loaded.model(), 1, 1);
  translate_all(translator, lines);  // streams are recorded
  const engine::Translator::Work before_work = translator.work();
  const auto before = snapshot();
  machine::LaunchWatch watch(*device);
  translate_all(translator, lines);
  const engine::Translator::Work& after_work = translator.work();
  const auto searches = static_cast<int>(after_work.searches - before_work.searches);
  const auto encodes = static_cast<int>(after_work.encodes - before_work.encodes);
  cost::CardWork work = cost::difference(*device->card().options().model, before, snapshot(),
                                         searches + encodes, searches + encodes);
  work.launches = watch.take();
  const program::Program& program = loaded.model()->program();
  const auto wanted = static_cast<uint64_t>(searches) * program::weight_bytes_per_token(program);
  if (as_json) {
    nlohmann::ordered_json json = {
        {"model", program.name},    {"device", loaded.device().description()},
        {"beams", kBeams},          {"encode_steps", encodes},
        {"search_steps", searches}, {"steps", to_json(work, wanted)}};
    return print(json.dump(2) + "\n");
  }
  print(fmt::format("{} on the {}. Times are modelled, not measured.\n"
                    "One line, {} beams: encoder steps {}, search steps {}.\n",
                    program.name, loaded.device().description(), kBeams, encodes, searches) +
        to_text("translation", work, wanted, "step"));
}

}  // namespace

void bench_translation(const LoadedModel& loaded, const BenchTranslateOptions& options) {
  if (options.counters) return count(loaded, options.format == BenchFormat::kJson);
  std::vector<Speed> speeds;
  Progress bar("bench", 2, "tests");
  for (const int batch : {kBatch, 1}) {
    speeds.push_back(measure(loaded, batch, options.repetitions));
    bar.update(speeds.size());
  }
  std::vector<BenchRow> rows;
  std::vector<std::vector<BenchColumn>> cells;
  for (const Speed& speed : speeds) {
    BenchRow row = describe_for_bench(loaded, options.threads);
    row.update({{"test", speed.test},
                {"n_lines", speed.batch},
                {"n_beams", kBeams},
                {"avg_ls", speed.lines},
                {"avg_ts", speed.tokens},
                {"kv_bytes", speed.memory.kv},
                {"buffer_bytes", speed.memory.buffers},
                {"peak_memory", peak_memory()}});
    rows.push_back(std::move(row));
    std::vector<BenchColumn>& columns = cells.emplace_back(model_columns(loaded, options.threads));
    columns.push_back({"test", speed.test, true});
    columns.push_back({"lines/s", fmt::format("{:.2f}", speed.lines), true});
    columns.push_back({"t/s", fmt::format("{:.2f}", speed.tokens), true});
  }
  if (options.format != BenchFormat::kMarkdown) return print(formatted(options.format, rows));
  print(
      fmt::format("{}: {}; lines of {} random words, at most {} tokens out; memory at most {}\n\n",
                  loaded.model()->program().name, loaded.device().description(), kWords,
                  kMostTokens, format_bytes(peak_memory())) +
      markdown(cells));
}

}  // namespace outboard::cli
