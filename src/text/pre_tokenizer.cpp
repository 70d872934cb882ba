#include "text/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <span>

#include "support/error.h"
#include "text/unicode.h"

namespace outboard::text {
namespace {

template <auto Free>
struct Releaser {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Code = std::unique_ptr<pcre2_code, Releaser<pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Releaser<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Releaser<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Releaser<pcre2_jit_stack_free>>;

// Steps of one match; the patterns need at most a few for each character of a word.
constexpr uint32_t kMatchLimit = 200'000'000;
constexpr uint32_t kHeapLimitKib = 1 << 20;
constexpr size_t kJitStackMost = 4 << 20;

std::string error_text(int code) {
  std::string text(256, '\0');
  const int length =
      pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(text.data()), text.size());
  text.resize(length > 0 ? static_cast<size_t>(length) : 0);
  return text;
}

// The text with each ill-formed byte replaced by U+FFFD, and where its bytes were.
struct Repaired {
  std::string text;
  std::vector<uint32_t> origin;  // of each byte of text, and of its end
};

Repaired repair(std::string_view text) {
  Repaired repaired;
  repaired.text.reserve(text.size() * 2);
  repaired.origin.reserve(text.size() * 2);
  for (size_t at = 0; at < text.size();) {
    const size_t length = decode_character(text, at).length;
    const std::string_view part = length != 0 ? text.substr(at, length) : kReplacementCharacter;
    repaired.text += part;
    repaired.origin.resize(repaired.origin.size() + part.size(), static_cast<uint32_t>(at));
    at += length != 0 ? length : 1;
  }
  repaired.origin.push_back(static_cast<uint32_t>(text.size()));
  return repaired;
}

// What matching needs besides the pattern, for one split().
struct Workspace {
  MatchContext context{pcre2_match_context_create(nullptr)};
  JitStack stack{pcre2_jit_stack_create(32 << 10, kJitStackMost, nullptr)};

  Workspace() {
    if (context == nullptr) throw std::bad_alloc();
    pcre2_set_match_limit(context.get(), kMatchLimit);
    pcre2_set_heap_limit(context.get(), kHeapLimitKib);
    if (stack != nullptr) pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
};

}  // namespace

struct PreTokenizer::Stage {
  Code code;

  explicit Stage(std::string_view pattern) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                             PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
    if (code == nullptr)
      fail("pre-tokenizer pattern: {} at {} of {}", error_text(error), offset, pattern);
    // Where there is no compiler for the machine, or memory may not be made executable, the
    // interpreter does the same work slower.
    static_cast<void>(pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE));
  }

  // Splits one piece, text[begin, end), and appends the ends of its parts.
  void split(std::string_view text, size_t begin, size_t end, const Workspace& workspace,
             pcre2_match_data* data, std::vector<uint32_t>& ends) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data() + begin);
    const size_t length = end - begin;
    size_t done = 0;
    for (size_t at = 0; at < length;) {
      const int found =
          pcre2_match(code.get(), subject, length, at, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data,
                      workspace.context.get());
      if (found == PCRE2_ERROR_NOMATCH) break;
      if (found < 0)
        throw Error(fmt::format("text can not be split into words: {}", error_text(found)),
                    "Try a shorter text, or break up its longest words.");
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data);
      if (range[0] > done) ends.push_back(static_cast<uint32_t>(begin + range[0]));
      ends.push_back(static_cast<uint32_t>(begin + range[1]));
      done = at = range[1];
    }
    if (done < length) ends.push_back(static_cast<uint32_t>(end));
  }
};

PreTokenizer::PreTokenizer(const std::vector<std::string_view>& patterns) {
  for (const std::string_view pattern : patterns)
    stages_.push_back(std::make_unique<Stage>(pattern));
}

PreTokenizer::~PreTokenizer() = default;

std::vector<uint32_t> PreTokenizer::split(std::string_view text) const {
  if (text.empty()) return {};
  if (!is_valid_utf8(text)) {
    const Repaired repaired = repair(text);
    std::vector<uint32_t> ends = split(repaired.text);
    for (uint32_t& end : ends) end = repaired.origin[end];
    return ends;
  }
  const Workspace workspace;
  std::vector<uint32_t> ends = {static_cast<uint32_t>(text.size())};
  std::vector<uint32_t> parts;
  for (const std::unique_ptr<Stage>& stage : stages_) {
    const MatchData data(pcre2_match_data_create_from_pattern(stage->code.get(), nullptr));
    if (data == nullptr) throw std::bad_alloc();
    parts.clear();
    parts.reserve(text.size() / 4 + 1);
    size_t begin = 0;
    for (const uint32_t end : ends) {
      stage->split(text, begin, end, workspace, data.get(), parts);
      begin = end;
    }
    ends.swap(parts);
  }
  return ends;
}

}  // namespace outboard::text
