// The grammar room behind a pipe, for tests that compare it with other programs: one JSON request a
// line on stdin, one JSON answer a line on stdout. Any failure answers {"error": ...}.
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>

#include "formats/gguf.h"
#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/matcher.h"
#include "support/error.h"
#include "text/tokenizer.h"

namespace {

using outboard::grammar::Grammar;
using outboard::grammar::Matcher;
using outboard::grammar::Vocabulary;
using Json = nlohmann::ordered_json;

// Every byte, and the end.
std::shared_ptr<const Vocabulary> bytes() {
  std::vector<std::string> pieces;
  for (int byte = 0; byte < 256; ++byte) pieces.emplace_back(1, static_cast<char>(byte));
  pieces.emplace_back();
  return std::make_shared<const Vocabulary>(std::move(pieces), std::vector<int32_t>{256});
}

bool is_set(std::span<const uint32_t> mask, size_t token) {
  return (mask[token / 32] >> (token % 32) & 1) != 0;
}

class Tool {
 public:
  Json answer(const Json& request) {
    const std::string operation = request.at("op");
    if (operation == "gbnf") {
      grammar_ = outboard::grammar::parse_gbnf(request.at("text").get<std::string>());
      return {{"states", grammar_->states()}};
    }
    if (operation == "schema") return schema(request);
    if (operation == "accepts") return accepts(request);
    if (operation == "vocabulary") return vocabulary(request);
    if (operation == "walk") return walk(request);
    outboard::fail("unknown op {}", operation);
  }

 private:
  Json schema(const Json& request) {
    grammar_ = nullptr;
    auto made = outboard::grammar::compile_schema_text(request.at("text").get<std::string>(),
                                                       {request.value("open", false)});
    grammar_ = made.grammar;
    return {{"states", grammar_->states()}, {"notes", made.notes}};
  }

  // For each text: whether all of it is accepted, else how many bytes are.
  Json accepts(const Json& request) const {
    Json out = Json::array();
    for (const Json& text : request.at("texts")) {
      Matcher matcher(grammar_, bytes_);
      const std::string& wanted = text.get_ref<const std::string&>();
      size_t at = 0;
      while (at < wanted.size() && matcher.accept_bytes(std::string_view(wanted).substr(at, 1)))
        ++at;
      if (at == wanted.size() && matcher.can_end())
        out.push_back(true);
      else
        out.push_back(at);
    }
    return {{"accepts", out}};
  }

  Json vocabulary(const Json& request) {
    const auto model = outboard::formats::open_gguf(request.at("gguf").get<std::string>());
    const auto tokenizer = outboard::text::Tokenizer::from_metadata(model.metadata);
    vocabulary_ = std::make_shared<const Vocabulary>(*tokenizer);
    return {{"size", vocabulary_->size()}};
  }

  // A model that has no idea: any token that is allowed, each as likely. After `patience` tokens
  // one that closes something is taken wherever it is allowed, so that texts end.
  Json walk(const Json& request) const {
    const Vocabulary& tokens = vocabulary_ == nullptr ? *bytes_ : *vocabulary_;
    std::mt19937_64 random(request.at("seed").get<uint64_t>());
    Matcher matcher(grammar_, vocabulary_ == nullptr ? bytes_ : vocabulary_);
    const auto patience = request.at("patience").get<size_t>();
    const auto most = request.at("most").get<size_t>();
    std::string text;
    for (size_t n = 0; n < most; ++n) {
      const auto mask = matcher.mask();
      std::vector<int32_t> allowed, closing;
      for (size_t t = 0; t < tokens.size(); ++t) {
        if (!is_set(mask, t)) continue;
        const auto token = static_cast<int32_t>(t);
        allowed.push_back(token);
        const std::string& piece = tokens.piece(token);
        if (tokens.is_end(token) || piece == "\"" || piece == "}" || piece == "]")
          closing.push_back(token);
      }
      if (allowed.empty()) outboard::fail("no token is allowed after {}", text);
      const auto& from = n >= patience && !closing.empty() ? closing : allowed;
      const int32_t token = from[random() % from.size()];
      if (!matcher.accept(token))
        outboard::fail("token {} is in the mask, but not accepted", token);
      if (matcher.ended()) return {{"text", text}, {"ended", true}};
      text += tokens.piece(token);
    }
    return {{"text", text}, {"ended", false}};
  }

  std::shared_ptr<const Vocabulary> bytes_ = bytes();
  std::shared_ptr<const Vocabulary> vocabulary_;
  std::shared_ptr<const Grammar> grammar_;
};

}  // namespace

int main() {
  Tool tool;
  std::string line;
  while (std::getline(std::cin, line)) {
    Json answer;
    try {
      answer = tool.answer(Json::parse(line));
    } catch (const outboard::Error& e) {
      answer = {{"error", e.message()}};
    } catch (const std::exception& e) {
      answer = {{"error", std::string("not an Error: ") + e.what()}};
    }
    std::cout << answer.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
  }
}
