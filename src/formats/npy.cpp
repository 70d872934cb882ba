#include "formats/npy.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "support/error.h"

namespace outboard::formats {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::string_view kExtension = ".npy";
constexpr size_t kMaxHeaderBytes = 64 * 1024;
constexpr size_t kMaxDimensions = 32;  // NumPy's own limit was that for long

// The header's Python literal: a dict of strings to a string, a bool and a tuple of integers.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : rest_(text) {}

  NpyArray parse() {
    NpyArray array;
    bool has_descr = false;
    bool has_order = false;
    bool has_shape = false;
    expect('{');
    while (!take('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr" && !has_descr) {
        skip_spaces();
        if (rest_.starts_with('[')) fail("descr: found a structure, expected numbers");
        array.descr = string();
        has_descr = true;
      } else if (key == "fortran_order" && !has_order) {
        array.fortran_order = boolean();
        has_order = true;
      } else if (key == "shape" && !has_shape) {
        array.shape = tuple();
        has_shape = true;
      } else {
        fail("header: found the key '{}', expected descr, fortran_order and shape once each", key);
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (!rest_.empty()) fail("header: found more after its end");
    if (!has_descr || !has_order || !has_shape) {
      fail("header: expected descr, fortran_order and shape");
    }
    return array;
  }

 private:
  void skip_spaces() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n')) rest_.remove_prefix(1);
  }
  bool take(char c) {
    skip_spaces();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail("header: expected '{}'", c);
  }
  bool take_word(std::string_view word) {
    skip_spaces();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  std::string string() {
    skip_spaces();
    const char quote = rest_.empty() ? '\0' : rest_[0];
    if (quote != '\'' && quote != '"') fail("header: expected a string");
    const size_t end = rest_.find(quote, 1);
    if (end == std::string_view::npos) fail("header: found a string without an end");
    std::string text(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return text.substr(0, 40);  // names are short; this one goes into messages
  }
  bool boolean() {
    if (take_word("True")) return true;
    if (take_word("False")) return false;
    fail("fortran_order: expected True or False");
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> sizes;
    expect('(');
    while (!take(')')) {
      skip_spaces();
      int64_t size = 0;
      const auto number = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
      if (number.ec != std::errc() || size < 0) fail("shape: expected integers of at least 0");
      rest_.remove_prefix(static_cast<size_t>(number.ptr - rest_.data()));
      if (rest_.starts_with('L')) rest_.remove_prefix(1);  // as Python 2 wrote them
      sizes.push_back(size);
      if (sizes.size() > kMaxDimensions) fail("shape: found more than {} sizes", kMaxDimensions);
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return sizes;
  }

  std::string_view rest_;
};

size_t element_bytes(const std::string& descr) {
  const bool shaped = descr.size() == 3 && descr[2] >= '1' && descr[2] <= '8';
  const char order = shaped ? descr[0] : '?';
  const char kind = shaped ? descr[1] : '?';
  const auto bytes = static_cast<size_t>(shaped ? descr[2] - '0' : 0);
  const bool known =
      (kind == 'f' && (bytes == 2 || bytes == 4 || bytes == 8)) ||
      ((kind == 'i' || kind == 'u') && (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8)) ||
      (kind == 'b' && bytes == 1);
  if (!known || !(order == '<' || (order == '|' && bytes == 1))) {
    fail("descr: found '{}', expected little-endian numbers such as '<f4'", descr);
  }
  return bytes;
}

}  // namespace

NpyArray parse_npy(std::span<const std::byte> file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (!text.starts_with(kMagic) || text.size() < kMagic.size() + 4) {
    fail("found no NumPy array, expected \"\\x93NUMPY\" at the start");
  }
  const int version = static_cast<unsigned char>(text[kMagic.size()]);
  if (version < 1 || version > 3) fail("version: found {}, expected 1 to 3", version);
  const size_t length_bytes = version == 1 ? 2 : 4;
  size_t header = kMagic.size() + 2;
  if (text.size() < header + length_bytes) fail("header length: the file ends before it");
  uint32_t length = 0;
  std::memcpy(&length, file.data() + header, length_bytes);
  header += length_bytes;
  const size_t limit = std::min(text.size() - header, kMaxHeaderBytes);
  if (length > limit) fail("header length: found {}, expected at most {}", length, limit);

  NpyArray array = HeaderParser(text.substr(header, length)).parse();
  array.offset = header + length;
  array.bytes = element_bytes(array.descr);
  for (const int64_t size : array.shape) {
    if (__builtin_mul_overflow(array.bytes, static_cast<size_t>(size), &array.bytes)) {
      fail("shape: the product of its sizes overflows 64 bits");
    }
  }
  if (array.bytes != text.size() - array.offset) {
    throw Error(fmt::format("found {} bytes of elements, expected {} for this shape",
                            text.size() - array.offset, array.bytes),
                "The file is incomplete or damaged: get it again.");
  }
  return array;
}

std::vector<std::string> NpzFile::names() const {
  std::vector<std::string> names;
  for (const ZipArchive::Member& member : archive_.members()) {
    if (!member.name.ends_with(kExtension)) {
      fail("member {}: expected arrays (*.npy) only", member.name);
    }
    names.push_back(member.name.substr(0, member.name.size() - kExtension.size()));
  }
  return names;
}

bool NpzFile::contains(std::string_view name) const {
  return archive_.find(std::string(name).append(kExtension)) != nullptr;
}

NpzArray NpzFile::read(std::string_view name) const {
  const ZipArchive::Member* member = archive_.find(std::string(name).append(kExtension));
  if (member == nullptr) fail("array {}: it is missing", name);
  try {
    NpzArray array{{}, archive_.read(*member)};
    array.header = parse_npy(array.file);
    return array;
  } catch (Error& error) {
    error.add_context(fmt::format("array {}", name));
    throw;
  }
}

}  // namespace outboard::formats
