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
constexpr std::string_view kTekken = CASED_WORDS("", R"(\p{N})");
constexpr std::string_view kGpt4o = CASED_WORDS(CONTRACTIONS "?", R"(\p{N}{1,3})");

constexpr std::string_view kLineBreak = R"([\r\n])";
constexpr std::string_view kCjk = "[一-龥ࠀ-一가-퟿]+";
// The upper and lower case letters of Unicode 14's alphabets with case, as deepseek-llm lists them.
constexpr std::string_view kCasedLetters = SPACE
    "?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-"
    "ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-"
    "ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-"
    "𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]"
    "+";
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
    PreTokenizerFamily{"command-r", {kDigit, kGpt2}, false, false, true},
    PreTokenizerFamily{"llama-bpe", {kLlama3}, true, true},
    PreTokenizerFamily{"llama3", {kLlama3}, true, true},
    PreTokenizerFamily{"llama-v3", {kLlama3}, true, true},
    PreTokenizerFamily{"smaug-bpe", {kLlama3}},
    PreTokenizerFamily{"dbrx", {kLlama3}},
    PreTokenizerFamily{"qwen2", {kQwen2}, false, false, true},
    PreTokenizerFamily{"deepseek-r1-qwen", {kQwen2}},
    PreTokenizerFamily{"stablelm2", {kQwen2}},
    PreTokenizerFamily{"qwen35", {kQwen35}, false, false, true},
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

}  // namespace outboard::text
