// Documents as what is text in them, to be translated, and the rest, which stays as it is.
//
//   for (const Part& part : parts_of_html(page)) {
//     std::vector<std::string> answers;
//     for (const std::string& question : part.questions) answers.push_back(translate(question));
//     out << part.write(answers);
//   }
//
// With every question answered by itself a document comes out as it went in, byte for byte. Text is
// UTF-8.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace outboard::documents {

// A part of a document. All of its parts, written one after the other, are the whole.
struct Part {
  // What is to be translated: one line each, no blanks around it. None: the part has no text.
  std::vector<std::string> questions;
  // REQUIRES: as many answers as questions. An empty one leaves the text as it was.
  std::function<std::string(std::span<const std::string> answers)> write;
};

// One line of plain text, without its end: tabs stay, and blanks at its ends. A token of a language
// at its beginning (">>fra<<") counts for each piece. An empty answer leaves nothing.
Part part_of_line(std::string line);

// A table: cells between tabs, lines. columns: those to translate, from 1; none: all. Cells without
// letters, and addresses (https://...), stay.
std::vector<Part> parts_of_tsv(std::string_view table, std::span<const int> columns);

// Subtitles (SubRip): the lines of each caption are one text, and are broken into as many again;
// those of a dialogue (they begin with "-") are apart. Tags (<i>, {\an8}) stay where their text is.
std::vector<Part> parts_of_srt(std::string_view subtitles);

// HTML, parsed as browsers do (gumbo): sentences with the tags in them, the attributes alt, title,
// placeholder and aria-label. Not: scripts, styles, code, and what says translate="no" or has the
// class notranslate. Where a tag within a sentence belongs is found by the translation of what it
// encloses; where that is not in the translation of the whole once, the pieces are translated
// apart.
std::vector<Part> parts_of_html(std::string_view page);

}  // namespace outboard::documents
