#include <algorithm>
#include <array>
#include <string>

#include "support/error.h"
#include "text/pre_tokenizer.h"

namespace outboard::text {
namespace {

// \s of the engines that trained these vocabularies is Unicode's White_Space. PCRE2's also has
// U+180E, so the class is written out (without its brackets).
#define SPACES \
  R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})"
#define SPACE "[" SPACES "]"
#define NOT_SPACE "[^" SPACES "]"
#define CONTRACTIONS R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
#define REST SPACE R"(*[\r\n]+|)" SPACE "+(?!" NOT_SPACE ")|" SPACE "+"
// The words of llama 3 and of all that took their pattern from it; they differ in the digits.
#define WORDS(DIGITS) \
  CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|)" DIGITS "| ?[^" SPACES R"(\p{L}\p{N}]+[\r\n]*|)" REST
// Words split where lower case turns to upper case (o200k, tekken).
#define UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define CASED_WORDS(SUFFIX, DIGITS)                                                           \
  R"([^\r\n\p{L}\p{N}]?)" UPPER "*" LOWER "+" SUFFIX R"(|[^\r\n\p{L}\p{N}]?)" UPPER "+" LOWER \
  "*" SUFFIX "|" DIGITS "| ?[^" SPACES R"(\p{L}\p{N}]+[\r\n/]*|)" REST

constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^)" SPACES
                                   R"(\p{L}\p{N}]+|)" SPACE "+(?!" NOT_SPACE ")|" SPACE "+";
constexpr std::string_view kDigit = R"(\p{N})";
constexpr std::string_view kLlama3 = WORDS(R"(\p{N}{1,3})");
constexpr std::string_view kQwen2 = WORDS(R"(\p{N})");
constexpr std::string_view kQwen35 = CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^)" SPACES R"(\p{L}\p{M}\p{N}]+[\r\n]*|)" REST;
// Marks do not take line ends along.
constexpr std::string_view kSeedCoder =
    CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^)" SPACES R"(\p{L}\p{N}\r\n]+|)" REST;
constexpr std::string_view kTekken = CASED_WORDS("", R"(\p{N})");
constexpr std::string_view kGpt4o = CASED_WORDS(CONTRACTIONS "?", R"(\p{N}{1,3})");

constexpr std::string_view kLineBreak = R"([\r\n])";
constexpr std::string_view kCjk = "[一-龥ࠀ-一가-퟿]+";
// The upper and lower case letters of Unicode 14's alphabets with case, as deepseek-llm lists them.
constexpr std::string_view kCasedLetters = SPACE
    "?["
    R"(A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293})"
    R"(\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A})"
    R"(\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556})"
    R"(\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF})"
    R"(\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D})"
    R"(\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-)"
    R"(\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC})"
    R"(\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC})"
    R"(\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128})"
    R"(\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E})"
    R"(\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3})"
    R"(\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E})"
    R"(\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A})"
    R"(\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-)"
    R"(\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943})"
    "]+";
constexpr std::string_view kMarks = SPACE "?[!-/:-~！-／：-～‘-‟　-。]+";
// The lookbehind and the possessive + change no match and keep long runs of space linear.
constexpr std::string_view kFinalSpace = "(?<!" SPACE ")" SPACE "++$";
constexpr std::string_view kDeepseekV3Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|)" REST;

const std::array kFamilies = {
    PreTokenizerFamily{"default", {kGpt2}},
    PreTokenizerFamily{"gpt-2", {kGpt2}},
    PreTokenizerFamily{"mpt", {kGpt2}},
    PreTokenizerFamily{"olmo", {kGpt2}},
    PreTokenizerFamily{"phi-2", {kGpt2}},
    PreTokenizerFamily{"smollm", {kDigit, kGpt2}},
    PreTokenizerFamily{"starcoder", {kDigit, kGpt2}},
    PreTokenizerFamily{"refact", {kDigit, kGpt2}},
    PreTokenizerFamily{"codeshell", {kDigit, kGpt2}},
    PreTokenizerFamily{"command-r", {kDigit, kGpt2}, false, false, true, "<|START_OF_TURN_TOKEN|>"},
    PreTokenizerFamily{"llama-bpe", {kLlama3}, true, true, false, "<|begin_of_text|>"},
    PreTokenizerFamily{"llama3", {kLlama3}, true, true, false, "<|begin_of_text|>"},
    PreTokenizerFamily{"llama-v3", {kLlama3}, true, true, false, "<|begin_of_text|>"},
    PreTokenizerFamily{"smaug-bpe", {kLlama3}},
    PreTokenizerFamily{"dbrx", {kLlama3}},
    PreTokenizerFamily{"qwen2", {kQwen2}, false, false, true},
    PreTokenizerFamily{
        "deepseek-r1-qwen", {kQwen2}, false, false, false, "<｜begin▁of▁sentence｜>"},
    PreTokenizerFamily{"stablelm2", {kQwen2}},
    PreTokenizerFamily{"qwen35", {kQwen35}, false, false, false, {}, "qwen2"},
    PreTokenizerFamily{"tekken", {kTekken}, true, true},
    PreTokenizerFamily{"gpt-4o", {kGpt4o}},
    PreTokenizerFamily{"llama4", {kGpt4o}},
    PreTokenizerFamily{"falcon", {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, "[0-9][0-9][0-9]"}},
    PreTokenizerFamily{"deepseek-llm",
                       {kLineBreak, kCasedLetters, kMarks, kFinalSpace, kCjk, kDigit}},
    PreTokenizerFamily{"deepseek-coder",
                       {kLineBreak, SPACE R"(?\p{L}+)", SPACE R"(?\p{P}+)", kCjk, kDigit}},
    PreTokenizerFamily{"deepseek-v3",
                       {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kDeepseekV3Words}},
    // Those below split as one above does (llama.cpp, src/llama-vocab.cpp).
    PreTokenizerFamily{"hunyuan-dense",
                       {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kDeepseekV3Words}},
    PreTokenizerFamily{"hunyuan", {kQwen2}},
    PreTokenizerFamily{"megrez", {kQwen2}},
    PreTokenizerFamily{"seed-coder", {kSeedCoder}},
    PreTokenizerFamily{"chatglm-bpe", {kLlama3}},
    PreTokenizerFamily{"glm4", {kLlama3}, true},
    PreTokenizerFamily{"glm5", {kLlama3}, true},
    PreTokenizerFamily{"pixtral", {kLlama3}, true, true},
    PreTokenizerFamily{"falcon3", {kLlama3}, true, true},
    PreTokenizerFamily{"kanana2", {kGpt4o}},
    PreTokenizerFamily{"gigachat", {kGpt2}},
    PreTokenizerFamily{"exaone4", {kGpt2}},
    PreTokenizerFamily{"exaone", {kDigit, kGpt2}},
};

}  // namespace

const PreTokenizerFamily& find_pre_tokenizer(std::string_view name) {
  std::string known;
  for (const PreTokenizerFamily& family : kFamilies) {
    if (family.name == name) return family;
    known += known.empty() ? "" : ", ";
    known += family.name;
  }
  throw Error(
      fmt::format("tokenizer.ggml.pre: unknown pre-tokenizer \"{}\", expected one of {}", name,
                  known),
      "This model splits words in a way that is not supported; choose a model of one of the "
      "families named.");
}

const PreTokenizerFamily* recognise_pre_tokenizer(
    std::span<const std::string> merged, const std::function<bool(std::string_view)>& has_token) {
  constexpr size_t kFew = 2000, kLooks = 10'000, kOneBrokenIn = 1000;
  // What rules differ in: digits, contractions, capitals, marks beside letters and line ends,
  // spaces, scripts.
  constexpr std::string_view kProbe =
      "It's WE'LL (foo) 1234567 x=3.14; camelCase HTTPServer  two   spaces\n\nnext\r\n\t.end!!\n"
      " $5 #tag _a_b /path/ a-b ...?! 你好世界 日本語です 한국어 привет Привет e\u0301a\u0308 नमस्ते "
      "½²³ ";
  if (merged.size() < kFew) return nullptr;
  const size_t stride = merged.size() / kLooks + 1;
  const size_t bearable = merged.size() / stride / kOneBrokenIn;
  const PreTokenizerFamily* best = nullptr;
  size_t most = 0;
  for (const PreTokenizerFamily& family : kFamilies) {
    const PreTokenizer rule(family.patterns);
    const size_t pieces = rule.split(kProbe).size();
    if (pieces <= most) continue;  // a family with the same patterns, say
    size_t broken = 0;
    for (size_t at = 0; at < merged.size() && broken <= bearable; at += stride)
      if (rule.split(merged[at]).size() > 1) ++broken;
    if (broken > bearable) continue;
    best = &family;
    most = pieces;
  }
  if (best == nullptr) return nullptr;
  const PreTokenizerFamily* unmarked = nullptr;
  for (const PreTokenizerFamily& family : kFamilies) {
    if (family.patterns != best->patterns) continue;
    if (!family.marker.empty() && has_token(family.marker)) return &family;
    if (family.marker.empty() && unmarked == nullptr) unmarked = &family;
  }
  if (unmarked != nullptr) best = unmarked;
  // Files that name no rule are old ones.
  return best->predecessor.empty() ? best : &find_pre_tokenizer(best->predecessor);
}

}  // namespace outboard::text
