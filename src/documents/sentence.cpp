#include "documents/sentence.h"

#include <algorithm>
#include <cctype>
#include <memory>
#include <optional>
#include <utility>

#include "text/sentences.h"

namespace outboard::documents {
namespace {

using Kind = Fragment::Kind;

constexpr std::string_view kBlanks = " \t\r\n\f\v";

bool is_piece(const Fragment& fragment) {
  return fragment.kind == Kind::kText || fragment.kind == Kind::kKept;
}

bool is_word(char c) {
  constexpr unsigned char kAscii = 0x80;
  const auto byte = static_cast<unsigned char>(c);
  return std::isalnum(byte) != 0 || byte >= kAscii;
}

// The only place of the words in the text, at the ends of words; none: they are not there, or more
// than once. A first letter may be a capital in one and not in the other.
std::optional<std::pair<size_t, size_t>> only_place(std::string_view text, std::string_view words) {
  std::optional<std::pair<size_t, size_t>> found;
  if (words.empty()) return found;
  for (size_t at = 0; at + words.size() <= text.size(); ++at) {
    const size_t end = at + words.size();
    const bool begins = std::tolower(static_cast<unsigned char>(text[at])) ==
                        std::tolower(static_cast<unsigned char>(words[0]));
    if (!begins || text.substr(at + 1, words.size() - 1) != words.substr(1)) continue;
    const bool is_whole = (at == 0 || !is_word(text[at - 1]) || !is_word(text[at])) &&
                          (end == text.size() || !is_word(text[end]) || !is_word(text[end - 1]));
    if (!is_whole) continue;
    if (found) return std::nullopt;
    found = {at, end};
  }
  return found;
}

// A translator ends what it takes for a sentence.
std::string_view without_end(std::string_view answer, std::string_view question) {
  constexpr std::string_view kEnds = ".!?";
  while (!answer.empty() && kEnds.find(answer.back()) != std::string_view::npos &&
         (question.empty() || kEnds.find(question.back()) == std::string_view::npos))
    answer.remove_suffix(1);
  return answer;
}

class Sentence {
 public:
  Sentence(std::vector<Fragment> fragments, Escape escape)
      : fragments_(std::move(fragments)), escape_(escape) {
    for (size_t i = 0; i < fragments_.size(); ++i)
      if (is_piece(fragments_[i])) pieces_.push_back(i);
    match_tags();
  }

  std::vector<std::string> questions() {
    std::vector<std::string> list;
    const auto ask = [&](std::string question) {
      list.push_back(std::move(question));
      return list.size() - 1;
    };
    const bool has_text =
        std::ranges::any_of(fragments_, [](const Fragment& f) { return f.kind == Kind::kText; });
    if (has_text) {
      if (is_simple_) whole_ = ask(one_line(all_text()));
      const bool needs_pieces = !is_simple_ || !units_.empty();
      answers_of_.assign(fragments_.size(), std::nullopt);
      for (const size_t at : pieces_)
        if (needs_pieces && fragments_[at].kind == Kind::kText)
          answers_of_[at] = ask(one_line(fragments_[at].text));
    }
    for (const Fragment& fragment : fragments_)
      for (const Attribute& attribute : fragment.attributes) ask(one_line(attribute.text));
    return list;
  }

  std::string write(std::span<const std::string> answers) const {
    std::vector<std::string> raw = markup(answers);
    if (whole_) {
      if (auto text = placed(answers, raw)) return *text;
    }
    std::string out;
    for (size_t i = 0; i < fragments_.size(); ++i) {
      const Fragment& fragment = fragments_[i];
      const std::string question = one_line(fragment.text);
      if (fragment.kind != Kind::kText || !answers_of_[i] || answers[*answers_of_[i]].empty() ||
          answers[*answers_of_[i]] == question) {
        out += raw[i];
        continue;
      }
      const Ends ends = blanks_around(fragment.raw);
      out += std::string(ends.begin) + escape_(without_end(answers[*answers_of_[i]], question)) +
             std::string(ends.end);
    }
    return out;
  }

 private:
  // A piece alone between tags.
  struct Unit {
    size_t piece;              // number
    std::vector<size_t> tags;  // its fragments
  };

  // Which tags enclose what. Where that is more than one piece and not all of them, or where markup
  // belongs to none, the pieces are apart.
  void match_tags() {
    std::vector<size_t> open;
    std::vector<std::pair<size_t, size_t>> pairs;
    std::vector<bool> is_matched(fragments_.size(), false);
    for (size_t i = 0; i < fragments_.size(); ++i) {
      if (fragments_[i].kind == Kind::kOpen) open.push_back(i);
      if (fragments_[i].kind != Kind::kClose || open.empty() ||
          fragments_[open.back()].name != fragments_[i].name)
        continue;
      pairs.emplace_back(open.back(), i);
      is_matched[open.back()] = is_matched[i] = true;
      open.pop_back();
    }
    if (pieces_.empty()) return;
    for (size_t i = pieces_.front(); i <= pieces_.back(); ++i) {
      const Kind kind = fragments_[i].kind;
      const bool is_markup = kind == Kind::kOpen || kind == Kind::kClose || kind == Kind::kOther;
      if (is_markup && !is_matched[i]) is_simple_ = false;
    }
    for (const auto& [begin, end] : pairs) {
      const auto from = std::ranges::upper_bound(pieces_, begin);
      const auto to = std::ranges::lower_bound(pieces_, end);
      const auto first = static_cast<size_t>(from - pieces_.begin());
      const auto count = static_cast<size_t>(to - from);
      if (count == pieces_.size()) continue;  // around all of it
      const bool is_within = begin > pieces_.front() && end < pieces_.back();
      if (count == 1) {
        add_unit(first, begin, end);
      } else if (count > 1 || is_within) {
        is_simple_ = false;
      }
    }
  }
  void add_unit(size_t piece, size_t begin, size_t end) {
    // Tags around one piece come one after the other.
    if (units_.empty() || units_.back().piece != piece) units_.push_back({piece, {}});
    units_.back().tags.push_back(begin);
    units_.back().tags.push_back(end);
  }

  std::string all_text() const {
    std::string text;
    for (const Fragment& fragment : fragments_) {
      if (is_piece(fragment)) text += fragment.text;
      if (fragment.kind == Kind::kBlank || fragment.kind == Kind::kBreak) text += ' ';
    }
    return text;
  }

  // Each fragment as it is written, where it is not text.
  std::vector<std::string> markup(std::span<const std::string> answers) const {
    std::vector<std::string> out;
    size_t count = 0;
    for (const Fragment& fragment : fragments_) count += fragment.attributes.size();
    size_t next = answers.size() - count;
    for (const Fragment& fragment : fragments_) {
      std::string raw;
      size_t at = 0;
      for (const Attribute& attribute : fragment.attributes) {
        const std::string& answer = answers[next++];
        raw += fragment.raw.substr(at, attribute.begin - at);
        if (answer.empty() || answer == one_line(attribute.text)) {
          raw += fragment.raw.substr(attribute.begin, attribute.end - attribute.begin);
        } else {
          const bool is_bare = attribute.quote == ' ';
          raw += (is_bare ? "\"" : "") + escaped_html(answer) + (is_bare ? "\"" : "");
        }
        at = attribute.end;
      }
      out.push_back(raw + fragment.raw.substr(at));
    }
    return out;
  }

  // The whole's translation with its tags in it; none: they find no place.
  std::optional<std::string> placed(std::span<const std::string> answers,
                                    const std::vector<std::string>& raw) const {
    const std::string& whole = answers[*whole_];
    if (whole.empty() || whole == one_line(all_text())) {  // nothing is said otherwise: all stays
      std::string out;
      for (const std::string& one : raw) out += one;
      return out;
    }
    struct Place {
      size_t begin, end;
      const Unit* unit;
    };
    std::vector<Place> places;
    std::vector<bool> is_of_unit(fragments_.size(), false);
    for (const Unit& unit : units_) {
      const Fragment& piece = fragments_[pieces_[unit.piece]];
      const std::string question = one_line(piece.text);
      const std::string& answer =
          piece.kind == Kind::kText ? answers[*answers_of_[pieces_[unit.piece]]] : question;
      const auto place = only_place(whole, without_end(answer, question));
      if (!place) return std::nullopt;
      places.push_back({place->first, place->second, &unit});
      for (const size_t tag : unit.tags) is_of_unit[tag] = true;
    }
    std::ranges::sort(places, {}, &Place::begin);
    for (size_t i = 0; i + 1 < places.size(); ++i)
      if (places[i].end > places[i + 1].begin) return std::nullopt;
    std::string front, back, text;
    for (size_t i = 0; i < fragments_.size(); ++i) {
      if (is_of_unit[i] || is_piece(fragments_[i])) continue;
      if (i < pieces_.front()) front += raw[i];
      if (i > pieces_.back()) back += raw[i];
    }
    size_t at = 0;
    for (const Place& place : places) {
      text += escape_(std::string_view(whole).substr(at, place.begin - at));
      std::vector<size_t> tags = place.unit->tags;
      std::ranges::sort(tags);
      for (const size_t tag : tags)
        if (tag < pieces_[place.unit->piece]) text += raw[tag];
      text += escape_(std::string_view(whole).substr(place.begin, place.end - place.begin));
      for (const size_t tag : tags)
        if (tag > pieces_[place.unit->piece]) text += raw[tag];
      at = place.end;
    }
    text += escape_(std::string_view(whole).substr(at));
    const std::string_view first = fragments_[pieces_.front()].raw;
    const std::string_view last = fragments_[pieces_.back()].raw;
    return front + std::string(blanks_around(first).begin) + broken(text) +
           std::string(blanks_around(last).end) + back;
  }

  // In as many lines as it had, of about the same length.
  std::string broken(std::string text) const {
    std::vector<const Fragment*> breaks;
    for (size_t i = pieces_.front(); i < pieces_.back(); ++i)
      if (fragments_[i].kind == Kind::kBreak) breaks.push_back(&fragments_[i]);
    if (breaks.empty()) return text;
    // Spaces outside of tags, each with the characters before it.
    std::vector<std::pair<size_t, size_t>> spaces;
    size_t seen = 0;
    bool is_in_tag = false;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '<' || text[i] == '{') is_in_tag = true;
      if (!is_in_tag && text[i] == ' ') spaces.emplace_back(i, seen);
      if (!is_in_tag && (static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U) ++seen;
      if (text[i] == '>' || text[i] == '}') is_in_tag = false;
    }
    std::vector<size_t> chosen;
    size_t from = 0;
    for (size_t line = 1; line <= breaks.size() && from < spaces.size(); ++line) {
      const size_t wanted = seen * line / (breaks.size() + 1);
      size_t best = from;
      const auto away = [&](size_t i) {
        return std::max(spaces[i].second, wanted) - std::min(spaces[i].second, wanted);
      };
      for (size_t i = from; i < spaces.size(); ++i)
        if (away(i) < away(best)) best = i;
      chosen.push_back(spaces[best].first);
      from = best + 1;
    }
    for (size_t i = chosen.size(); i > 0; --i) text.replace(chosen[i - 1], 1, breaks[i - 1]->raw);
    return text;
  }

  std::vector<Fragment> fragments_;
  Escape escape_;
  std::vector<size_t> pieces_;  // fragments that are text
  std::vector<Unit> units_;
  bool is_simple_ = true;        // the whole can be translated, and its tags put in again
  std::optional<size_t> whole_;  // which question is the whole
  std::vector<std::optional<size_t>> answers_of_;  // by fragment
};

}  // namespace

std::string escaped_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Part part_of_sentence(std::vector<Fragment> fragments, Escape escape) {
  const auto sentence = std::make_shared<Sentence>(std::move(fragments), escape);
  Part part;
  part.questions = sentence->questions();
  part.write = [sentence](std::span<const std::string> answers) {
    return sentence->write(answers);
  };
  return part;
}

Part part_as_it_is(std::string raw) {
  return {{}, [raw = std::move(raw)](std::span<const std::string>) { return raw; }};
}

bool has_letters(std::string_view text) {
  constexpr unsigned char kAscii = 0x80;
  return text::has_words(text) && std::ranges::any_of(text, [](char c) {
           const auto byte = static_cast<unsigned char>(c);
           return std::isalpha(byte) != 0 || byte >= kAscii;
         });
}

std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (kBlanks.find(c) == std::string_view::npos) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  while (out.ends_with(' ')) out.pop_back();
  return out;
}

Ends blanks_around(std::string_view text) {
  const size_t begin = std::min(text.find_first_not_of(kBlanks), text.size());
  if (begin == text.size()) return {text, {}};
  return {text.substr(0, begin), text.substr(text.find_last_not_of(kBlanks) + 1)};
}

}  // namespace outboard::documents
