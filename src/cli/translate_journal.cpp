#include "cli/translate_journal.h"

#include <cerrno>
#include <utility>

#include "cli/options.h"
#include "support/error.h"
#include "support/notice.h"

namespace outboard::cli {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

fs::path path_for(const std::string& output) { return output + ".resume"; }

Json to_json(const engine::Translation& translation) {
  Json choices = Json::array();
  for (const auto& choice : translation.choices) choices.push_back(cli::to_json(choice));
  return {{"source", translation.source},
          {"source_tokens", translation.source_tokens},
          {"count", translation.tokens},
          {"choices", std::move(choices)}};
}

engine::Translation from_json(const Json& json) {
  engine::Translation translation;
  translation.source = json.at("source").get<std::string>();
  translation.source_tokens = json.at("source_tokens").get<int>();
  translation.tokens = json.at("count").get<int>();
  for (const Json& choice : json.at("choices"))
    translation.choices.push_back({choice.at("text").get<std::string>(),
                                   choice.at("tokens").get<std::vector<std::string>>(),
                                   choice.at("score").get<float>(), choice.at("cut").get<bool>()});
  if (translation.choices.empty()) fail("no choices");
  return translation;
}

}  // namespace

Json to_json(const engine::Translation::Choice& choice) {
  return {{"text", choice.text},
          {"tokens", choice.tokens},
          {"score", choice.score},
          {"cut", choice.cut}};
}

bool TranslateJournal::is_there(const std::string& output) { return fs::exists(path_for(output)); }

TranslateJournal::TranslateJournal(const std::string& output, const Json& made_by, bool goes_on)
    : path_(path_for(output)) {
  if (goes_on) {
    read(made_by);
  } else {
    file_.open(path_, std::ios::binary | std::ios::trunc);
    file_ << made_by.dump() << '\n' << std::flush;
  }
  if (!file_) throw system_error("write", path_.string());
}

TranslateJournal::~TranslateJournal() {
  if (is_empty_) remove();
}

void TranslateJournal::read(const Json& made_by) {
  const std::string text = read_whole(path_.string());
  size_t whole = 0;  // bytes of whole lines: the last may have been cut
  for (size_t end; (end = text.find('\n', whole)) != std::string::npos; whole = end + 1) {
    const Json line = Json::parse(text.begin() + static_cast<ptrdiff_t>(whole),
                                  text.begin() + static_cast<ptrdiff_t>(end), nullptr, false);
    if (whole == 0) {
      if (line == made_by) continue;
      throw Error(fmt::format("{}: that run had another model or other options", path_.string()),
                  "Repeat the command as it was, with --resume; or begin anew with --force.");
    }
    try {
      engine::Translation translation = from_json(line);
      std::string source = translation.source;
      known_.insert_or_assign(std::move(source), std::move(translation));
      is_empty_ = false;
    } catch (const std::exception&) {  // a line that a crash has left half: from there on anew
      break;
    }
  }
  fs::resize_file(path_, whole);
  file_.open(path_, std::ios::binary | std::ios::app);
  if (whole == 0) file_ << made_by.dump() << '\n' << std::flush;
}

const engine::Translation* TranslateJournal::find(const std::string& source) const {
  const auto found = known_.find(source);
  return found == known_.end() ? nullptr : &found->second;
}

void TranslateJournal::add(const engine::Translation& translation) {
  if (path_.empty()) return;
  is_empty_ = false;
  file_ << to_json(translation).dump(-1, ' ', false, Json::error_handler_t::replace) << '\n'
        << std::flush;
  if (file_) return;
  notice("outboard: {}: this run can't be resumed\n",
         system_error("write", path_.string()).message());
  remove();
}

void TranslateJournal::remove() {
  if (path_.empty()) return;
  file_.close();
  std::error_code ignored;  // it is in nobody's way
  fs::remove(path_, ignored);
  path_.clear();
}

}  // namespace outboard::cli
