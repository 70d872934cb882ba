// The two ways in which answers are laid out, behind AnswerReader.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "chat/answer_reader.h"
#include "chat/call_scanner.h"
#include "chat/tools.h"

namespace outboard::chat {

// What came and is not told apart yet; of every byte, whether it is a control token's.
class HeldText {
 public:
  void append(std::string_view text, bool is_marker) {
    text_ += text;
    from_control_.append(text.size(), is_marker ? '\1' : '\0');
  }
  void remove(size_t count) {
    text_.erase(0, count);
    from_control_.erase(0, count);
  }
  std::string_view text() const { return text_; }
  size_t size() const { return text_.size(); }
  bool is_control(size_t at) const { return from_control_[at] != '\0'; }

 private:
  std::string text_;
  std::string from_control_;
};

// Gathers events, and gives calls their numbers and ids.
class Events {
 public:
  explicit Events(const CallSyntax& syntax) : syntax_(&syntax) {}

  void reasoning(std::string_view text) { add(Event::Kind::kReasoning, text); }
  void content(std::string_view text) { add(Event::Kind::kContent, text); }
  void call(const Call& call) {
    begin_call(call);
    more_arguments(call.arguments);
    end_call();
  }
  // The same bit by bit.
  void begin_call(const Call& call);
  void more_arguments(std::string_view text);
  void end_call();
  std::vector<Event> take() { return std::exchange(events_, {}); }
  size_t calls() const { return ids_.size(); }

 private:
  void add(Event::Kind kind, std::string_view text);
  std::string id_for(const Call& call) const;

  const CallSyntax* syntax_;
  std::vector<Event> events_;
  std::set<std::string> ids_;
};

class Reader {
 public:
  Reader(const Format& answer_format, ReaderOptions reader_options)
      : format(answer_format),
        options(std::move(reader_options)),
        tools(options.tools),
        events(format.calls) {}
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  virtual ~Reader() = default;

  // Tells apart what it can of `held`; last: all of it.
  virtual void read(bool last) = 0;
  virtual bool thinking() const = 0;

  const Format format;
  const ReaderOptions options;
  const Tools tools;
  Events events;
  HeldText held;
};

std::unique_ptr<Reader> make_marked_reader(const Format& format, ReaderOptions options);
std::unique_ptr<Reader> make_channel_reader(const Format& format, ReaderOptions options);

// Where in a text a marker stands, or may begin at the end of it.
class MarkerFinder {
 public:
  // A marker that begins with one of the format's control tokens is found only where that came as
  // a token.
  MarkerFinder(const Format& format, std::vector<std::string> markers);

  struct Found {
    size_t at;      // first byte; of the text's end where there is none
    size_t marker;  // its number; kNone: there is none, but from `at` on there may come one
    size_t length;  // bytes
  };
  static constexpr size_t kNone = ~size_t{0};
  // The first marker of those that `wanted` (bit i: marker i) names, the longest of several at one
  // place. Where a longer one may still come, that is waited for unless last.
  Found first(const HeldText& held, size_t from, uint64_t wanted, bool last) const;
  const std::string& marker(size_t i) const { return markers_[i].text; }

 private:
  struct Marker {
    std::string text;
    size_t control;  // bytes of its control token
  };
  std::vector<Marker> markers_;
};

}  // namespace outboard::chat
