// A sentence with markup in it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "documents/document.h"

namespace outboard::documents {

// A value within markup that is text, too: of title="..." and such.
struct Attribute {
  size_t begin, end;  // bytes of the fragment's raw text
  std::string text;
  char quote;  // that it stands between; ' ' for none
};

struct Fragment {
  enum class Kind {
    kText,   // to be translated
    kKept,   // text that stays: code, numbers
    kOpen,   // <b>
    kClose,  // </b>
    kOther,  // a comment
    kBlank,  // between words
    kBreak,  // the end of a line, kept in number
  };
  Kind kind;
  std::string raw;                         // as it stands in the document
  std::string text = {};                   // kText, kKept: what it says
  std::string name = {};                   // kOpen, kClose: "b"
  std::vector<Attribute> attributes = {};  // kOpen
};

// How a text is written between the markup: '<' becomes "&lt;" in HTML.
using Escape = std::string (*)(std::string_view text);
// The same within an attribute's quotes.
std::string escaped_html(std::string_view text);

// The fragments as one part. Nothing is asked where none of them is kText and none has attributes.
Part part_of_sentence(std::vector<Fragment> fragments, Escape escape);
// One that is written as it is.
Part part_as_it_is(std::string raw);

// Whether there is something that a translator could say otherwise: a letter.
bool has_letters(std::string_view text);
// Without blanks at its ends, those within as one space each.
std::string one_line(std::string_view text);
// The blanks that a text begins and ends with; of nothing but blanks all are the first.
struct Ends {
  std::string_view begin, end;
};
Ends blanks_around(std::string_view text);

}  // namespace outboard::documents
