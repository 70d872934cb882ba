// What bytes a text file is written in.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace outboard::documents {

enum class Encoding : uint8_t { kUtf8, kLatin1, kWindows1252, kUtf16LittleEndian, kUtf16BigEndian };

// "UTF-8", "Latin-1", "Windows-1252", "UTF-16LE", "UTF-16BE".
std::string_view name_of(Encoding encoding);
// By these and other usual names, in capitals or not: "latin1", "ISO-8859-1", "cp1252", "utf-16"
// (with a byte order mark as that says, else little endian, see decode()).
std::optional<Encoding> encoding_by_name(std::string_view name);

// By a byte order mark; else UTF-8 where the bytes are that; else UTF-16 where every second byte is
// often zero; else Windows-1252 where it has one of its characters beyond Latin-1, or Latin-1.
Encoding find_encoding(std::string_view bytes);
// What an HTML page says of itself within its first 1024 bytes (<meta charset>); empty: nothing.
std::string declared_charset(std::string_view html);

struct Decoded {
  std::string text;       // UTF-8; of ill-formed UTF-8 the bytes as they are
  Encoding encoding;      // a byte order mark of UTF-16 says which of the two
  bool has_mark = false;  // a byte order mark, which is not in the text
};
// Throws Error, with the place, for what is no UTF-16.
Decoded decode(std::string_view bytes, Encoding encoding);

// The text in another encoding. missing: what to write (in characters that it has) for one that it
// lacks. Ill-formed UTF-8 goes to UTF-8 as it is.
std::string encode(std::string_view text, Encoding encoding, bool with_mark,
                   const std::function<std::string(char32_t)>& missing);

}  // namespace outboard::documents
