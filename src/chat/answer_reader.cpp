#include "chat/answer_reader.h"

#include <algorithm>
#include <random>

#include "chat/readers.h"

namespace outboard::chat {
namespace {

std::string random_id(size_t length) {
  static constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  static thread_local std::mt19937_64 generator{std::random_device{}()};
  std::uniform_int_distribution<size_t> letter(0, kLetters.size() - 1);
  std::string id;
  while (id.size() < length) id += kLetters[letter(generator)];
  return id;
}

}  // namespace

void Events::add(Event::Kind kind, std::string_view text) {
  if (text.empty()) return;
  if (!events_.empty() && events_.back().kind == kind)
    events_.back().text += text;
  else
    events_.push_back({kind, std::string(text), 0, "", ""});
}

std::string Events::id_for(const Call& call) const {
  const size_t length = syntax_->id_length;
  const bool fits =
      length == 0 || (call.id.size() == length && std::ranges::all_of(call.id, [](char c) {
                        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                               (c >= '0' && c <= '9');
                      }));
  if (syntax_->keeps_ids && fits && !call.id.empty() && !ids_.contains(call.id)) return call.id;
  std::string id;
  do {
    id = length == 0 ? "call_" + random_id(24) : random_id(length);
  } while (ids_.contains(id));
  return id;
}

void Events::begin_call(const Call& call) {
  const std::string id = id_for(call);
  events_.push_back({Event::Kind::kCallBegin, "", ids_.size(), id, call.name});
  ids_.insert(id);
}

void Events::more_arguments(std::string_view text) {
  if (text.empty()) return;
  events_.push_back({Event::Kind::kCallArguments, std::string(text), ids_.size() - 1, "", ""});
}

void Events::end_call() { events_.push_back({Event::Kind::kCallEnd, "", ids_.size() - 1, "", ""}); }

MarkerFinder::MarkerFinder(const Format& format, std::vector<std::string> markers) {
  for (std::string& text : markers) {
    const size_t control = format.control_token(text).size();
    markers_.push_back({std::move(text), control});
  }
}

MarkerFinder::Found MarkerFinder::first(const HeldText& held, size_t from, uint64_t wanted,
                                        bool last) const {
  const std::string_view text = held.text();
  for (size_t at = from; at < text.size(); ++at) {
    const std::string_view rest = text.substr(at);
    Found found{at, kNone, 0};
    bool perhaps = false;
    for (size_t i = 0; i < markers_.size(); ++i) {
      const Marker& m = markers_[i];
      if ((wanted >> i & 1) == 0 || m.text.empty() || m.text[0] != rest[0]) continue;
      // Tokens come whole: one that is asked for lies here in full, or not at all.
      if (m.control > 0 && !held.is_control(at)) continue;
      if (rest.starts_with(m.text)) {
        if (m.text.size() > found.length) found = {at, i, m.text.size()};
      } else if (!last && m.text.starts_with(rest)) {
        perhaps = true;
      }
    }
    if (perhaps) return {at, kNone, 0};
    if (found.marker != kNone) return found;
  }
  return {text.size(), kNone, 0};
}

AnswerReader::AnswerReader(const Format& format, ReaderOptions options)
    : reader_(format.calls.body == CallBody::kChannels
                  ? make_channel_reader(format, std::move(options))
                  : make_marked_reader(format, std::move(options))) {}
AnswerReader::AnswerReader(AnswerReader&&) noexcept = default;
AnswerReader& AnswerReader::operator=(AnswerReader&&) noexcept = default;
AnswerReader::~AnswerReader() = default;

std::vector<Event> AnswerReader::feed(std::string_view text, bool is_marker) {
  reader_->held.append(text, is_marker);
  reader_->read(false);
  return reader_->events.take();
}

std::vector<Event> AnswerReader::finish() {
  reader_->read(true);
  return reader_->events.take();
}

size_t AnswerReader::calls() const { return reader_->events.calls(); }
bool AnswerReader::thinking() const { return reader_->thinking(); }

}  // namespace outboard::chat
