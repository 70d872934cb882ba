// Answers in which markers stand around the thinking and around each call. What is in no markers is
// content.
#include <algorithm>
#include <optional>

#include "chat/readers.h"

namespace outboard::chat {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

size_t blanks_at(std::string_view text, size_t at) {
  return std::min(text.find_first_not_of(kBlanks, at), text.size()) - at;
}

// Markers by their number for MarkerFinder, whose bits say which are looked for.
enum Mark : unsigned { kThinkOpen, kThinkClose, kSectionOpen, kSectionClose, kCallOpen, kDropped };
constexpr uint64_t bit(unsigned mark) { return uint64_t{1} << mark; }

std::vector<std::string> markers_of(const Format& format) {
  std::vector<std::string> markers = {
      format.thinking ? format.thinking->open : "", format.thinking ? format.thinking->close : "",
      format.calls.section_open, format.calls.section_close, format.calls.open};
  markers.insert(markers.end(), format.dropped.begin(), format.dropped.end());
  return markers;
}

class MarkedReader : public Reader {
 public:
  MarkedReader(const Format& answer_format, ReaderOptions reader_options)
      : Reader(answer_format, std::move(reader_options)),
        finder_(format, markers_of(format)),
        part_(options.thinking_open ? Part::kThinking : Part::kContent),
        reads_calls_(options.parse_tools && format.has_calls()) {
    for (size_t i = 0; i < format.dropped.size(); ++i) all_dropped_ |= bit(kDropped) << i;
  }

  void read(bool last) override {
    while (step(last)) {
    }
  }
  bool thinking() const override { return part_ == Part::kThinking; }

 private:
  enum class Part { kThinking, kContent, kCall };

  // True where something changed, so that there may be more to tell.
  bool step(bool last) {
    if (held.size() == 0) return false;
    switch (part_) {
      case Part::kThinking:
        return think(last);
      case Part::kContent:
        return tell(last);
      case Part::kCall:
        return call(last);
    }
    return false;
  }

  bool think(bool last) {
    if (fresh_) {
      // Blanks behind the marker are layout; so is the marker once more, where the prompt had
      // written it already.
      const size_t blanks = blanks_at(held.text(), 0);
      if (blanks == held.size() && !last) return false;
      const auto again = finder_.first(held, blanks, bit(kThinkOpen), last);
      if (again.at == blanks && again.marker == MarkerFinder::kNone && again.at < held.size())
        return false;
      if (again.at == blanks && again.marker != MarkerFinder::kNone) {
        held.remove(blanks + again.length);
        return true;
      }
      held.remove(blanks);
      fresh_ = false;
      return true;
    }
    const auto found = finder_.first(held, 0, bit(kThinkClose), last);
    const std::string_view text = held.text().substr(0, found.at);
    if (found.marker != MarkerFinder::kNone) {
      events.reasoning(without_controls(text.substr(0, last_text(text))));
      held.remove(found.at + found.length);
      part_ = Part::kContent;
      fresh_ = behind_marker_ = true;
      return true;
    }
    return give(found.at, last, &Events::reasoning);
  }

  bool tell(bool last) {
    uint64_t wanted = all_dropped_;
    // A control token begins thinking wherever it comes; text that is spelled so only in its place.
    if (format.thinking && !format.control_token(format.thinking->open).empty())
      wanted |= bit(kThinkOpen);
    if (reads_calls_) wanted |= bit(kSectionOpen) | bit(kCallOpen);
    if (in_section_ && fresh_) wanted |= bit(kSectionClose);
    if (fresh_) {
      const size_t blanks = blanks_at(held.text(), 0);
      if (blanks == held.size() && !last) return false;
      uint64_t first = wanted;
      if (format.thinking) first |= bit(kThinkOpen) | bit(kThinkClose);
      const auto found = finder_.first(held, blanks, first, last);
      if (found.at == blanks && found.at < held.size()) {
        if (found.marker == MarkerFinder::kNone) return false;
        if (found.marker == kThinkOpen) {
          held.remove(blanks + found.length);
          part_ = Part::kThinking;
          return true;
        }
        if (found.marker == kThinkClose) {  // without thinking, or once too often
          held.remove(blanks + found.length);
          behind_marker_ = true;
          return true;
        }
      } else if (reads_calls_ && format.calls.bare && !began_ && blanks < held.size() &&
                 held.text()[blanks] == '{') {
        begin_call(blanks, 0, false);
        return true;
      }
      const bool marker_next = found.at == blanks && found.marker != MarkerFinder::kNone;
      if (!marker_next) {
        // Text. The blanks in front of it are the layout's where a marker was.
        if (behind_marker_) held.remove(blanks);
        fresh_ = false;
        return true;
      }
    }
    const auto found = finder_.first(held, 0, wanted, last);
    if (found.marker == MarkerFinder::kNone) return give(found.at, last, &Events::content);
    const std::string_view text = held.text().substr(0, found.at);
    const size_t end = last_text(text);
    if (found.marker == kSectionOpen || found.marker == kCallOpen) {
      if (end > 0) {
        began_ = true;
        events.content(without_controls(text.substr(0, end)));
        held.remove(end);
      }
      begin_call(found.at - end, found.length, found.marker == kSectionOpen);
      return true;
    }
    events.content(without_controls(text.substr(0, end)));
    held.remove(found.at + found.length);
    if (found.marker == kSectionClose) in_section_ = false;
    if (found.marker == kThinkOpen) part_ = Part::kThinking;
    fresh_ = behind_marker_ = true;
    return true;
  }

  // Gives out what lies before `end`, without blanks at its end while a marker may follow them.
  bool give(size_t end, bool last, void (Events::*to)(std::string_view)) {
    const std::string_view text = held.text().substr(0, end);
    const size_t count = last ? end : last_text(text);
    if (count == 0) return false;
    began_ = began_ || to == &Events::content;
    (events.*to)(without_controls(text.substr(0, count)));
    held.remove(count);
    return !last;
  }

  void begin_call(size_t blanks, size_t marker, bool section) {
    part_ = Part::kCall;
    call_blanks_ = blanks;
    call_at_ = blanks + marker;
    scanner_ = std::make_unique<CallScanner>(format.calls, tools, section);
  }

  bool call(bool last) {
    const auto state = scanner_->scan(held.text().substr(call_at_), last);
    if (state == CallScanner::State::kMore) {
      if (tells_calls_early()) tell_calls(scanner_->written());
      return false;
    }
    part_ = Part::kContent;
    if (told_calls_ > 0 || told_arguments_) return end_told_call(state);
    const bool bare = call_at_ == call_blanks_;
    // JSON without any marker is a call only where it names a tool; else it is an answer.
    const bool is_call = state == CallScanner::State::kDone &&
                         (!bare || std::ranges::all_of(scanner_->calls(), [&](const Call& c) {
                           return tools.has(c.name);
                         }));
    if (!is_call) {
      // The marker is content, and what comes behind it may be anything. Where the text has come to
      // its end within the call, all of it is content.
      const bool cut = last && state == CallScanner::State::kBroken && !bare;
      const size_t count = bare ? call_at_ + 1 : (cut ? held.size() : call_at_);
      const size_t from = behind_marker_ && fresh_ ? call_blanks_ : 0;
      events.content(held.text().substr(from, count - from));
      held.remove(count);
      fresh_ = false;
      began_ = true;
      return held.size() > 0;
    }
    for (const Call& c : scanner_->calls()) events.call(c);
    held.remove(call_at_ + scanner_->length());
    in_section_ = true;  // also where the model forgot to open it
    fresh_ = behind_marker_ = began_ = true;
    return true;
  }

  // An id that stands behind the arguments is not known in time.
  bool tells_calls_early() const {
    const CallSyntax& s = format.calls;
    return options.calls_are_held && !(s.keeps_ids && s.body == CallBody::kJson);
  }

  void tell_calls(const std::vector<CallsInJson::Written>& calls) {
    for (size_t i = told_calls_; i < calls.size(); ++i) {
      const CallsInJson::Written& call = calls[i];
      if (call.name.empty()) return;
      if (!told_arguments_) {
        events.begin_call({call.name, scanner_->call_id(), ""});
        told_arguments_ = 0;
      }
      // What is a call's whole text in the end may be written in another way than its beginning.
      if (call.arguments.size() > *told_arguments_) {
        events.more_arguments(std::string_view(call.arguments).substr(*told_arguments_));
        told_arguments_ = call.arguments.size();
      }
      if (!call.ended) return;
      events.end_call();
      told_arguments_.reset();
      ++told_calls_;
    }
  }

  // The call's end has come, or the answer's, in the middle of it.
  bool end_told_call(CallScanner::State state) {
    if (state == CallScanner::State::kDone) {
      tell_calls(scanner_->written());
      held.remove(call_at_ + scanner_->length());
    } else {
      held.remove(held.size());
    }
    if (told_arguments_) events.end_call();
    told_arguments_.reset();
    told_calls_ = 0;
    in_section_ = true;
    fresh_ = behind_marker_ = began_ = true;
    return held.size() > 0;
  }

  // The end of what is no blank.
  static size_t last_text(std::string_view text) { return text.find_last_not_of(kBlanks) + 1; }

  // Control tokens that belong to no marker are nobody's words. `text` is the beginning of what is
  // held.
  std::string without_controls(std::string_view text) const {
    const auto begin = static_cast<size_t>(text.data() - held.text().data());
    std::string plain;
    for (size_t i = 0; i < text.size(); ++i)
      if (!held.is_control(begin + i)) plain += text[i];
    return plain;
  }

  const MarkerFinder finder_;
  Part part_;
  const bool reads_calls_;
  uint64_t all_dropped_ = 0;
  // Nothing but blanks came since the beginning, or since the last marker.
  bool fresh_ = true;
  bool behind_marker_ = false;            // the last of these two
  bool began_ = false;                    // content came, or a call
  bool in_section_ = false;               // a call came, and the end of its section has not
  size_t call_blanks_ = 0, call_at_ = 0;  // in `held`: blanks, marker, then the call
  std::unique_ptr<CallScanner> scanner_;
  // Of the scanner's calls, those that were told whole, and how much of the next one's arguments.
  size_t told_calls_ = 0;
  std::optional<size_t> told_arguments_;
};

}  // namespace

std::unique_ptr<Reader> make_marked_reader(const Format& format, ReaderOptions options) {
  return std::make_unique<MarkedReader>(format, std::move(options));
}

}  // namespace outboard::chat
