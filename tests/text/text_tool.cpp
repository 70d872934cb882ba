// The text room behind a pipe, for tests that compare it with the Python originals: one JSON
// request a line on stdin, one JSON answer a line on stdout. Any failure answers {"error": ...}.
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "formats/gguf.h"
#include "support/error.h"
#include "text/chat_template.h"
#include "text/jinja/jinja.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace {

using outboard::formats::Metadata;
using outboard::formats::MetadataArray;
using outboard::text::Tokenizer;
using Json = nlohmann::ordered_json;

Metadata metadata_of(const Json& values) {
  Metadata metadata;
  for (const auto& [key, value] : values.items()) {
    if (value.is_string()) {
      metadata.set(key, value.get<std::string>());
    } else if (value.is_boolean()) {
      metadata.set(key, value.get<bool>());
    } else if (value.is_number_integer()) {
      metadata.set(key, value.get<int64_t>());
    } else if (value.is_number()) {
      metadata.set(key, value.get<float>());
    } else if (value.empty() || value[0].is_string()) {
      metadata.set(key, MetadataArray{value.get<std::vector<std::string>>()});
    } else if (value[0].is_number_integer()) {
      metadata.set(key, MetadataArray{value.get<std::vector<int32_t>>()});
    } else {
      metadata.set(key, MetadataArray{value.get<std::vector<float>>()});
    }
  }
  return metadata;
}

std::string to_hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    hex.push_back(kDigits[static_cast<uint8_t>(c) >> 4]);
    hex.push_back(kDigits[static_cast<uint8_t>(c) & 15]);
  }
  return hex;
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

class Tool {
 public:
  Json answer(const Json& request) {
    const std::string operation = request.at("op");
    if (operation == "load") return load(request);
    if (operation == "encode") return encode(request);
    if (operation == "decode") return decode(request);
    if (operation == "stream") return stream(request);
    if (operation == "info") return info(request);
    if (operation == "render") return render(request);
    if (operation == "jinja") return jinja(request);
    outboard::fail("unknown op {}", operation);
  }

 private:
  Json load(const Json& request) {
    tokenizer_ = nullptr;
    metadata_ = request.contains("gguf")
                    ? outboard::formats::open_gguf(request.at("gguf").get<std::string>()).metadata
                    : metadata_of(request.at("metadata"));
    const auto begin = std::chrono::steady_clock::now();
    tokenizer_ = Tokenizer::from_metadata(metadata_);
    const std::chrono::duration<double, std::milli> taken =
        std::chrono::steady_clock::now() - begin;
    return {{"vocabulary_size", tokenizer_->vocabulary_size()},
            {"milliseconds", taken.count()},
            {"notes", tokenizer_->notes()}};
  }

  const Tokenizer& tokenizer() const {
    if (tokenizer_ == nullptr) outboard::fail("no tokenizer is loaded");
    return *tokenizer_;
  }

  Json encode(const Json& request) const {
    const std::string text = request.contains("hex") ? from_hex(request.at("hex"))
                                                     : request.at("text").get<std::string>();
    const auto begin = std::chrono::steady_clock::now();
    const std::vector<int32_t> ids = tokenizer().encode(text, request.value("add_special", false),
                                                        request.value("parse_special", false));
    const std::chrono::duration<double, std::milli> taken =
        std::chrono::steady_clock::now() - begin;
    return {{"ids", ids}, {"milliseconds", taken.count()}};
  }

  Json decode(const Json& request) const {
    const std::vector<int32_t> ids = request.at("ids");
    return {{"hex", to_hex(tokenizer().decode(ids, request.value("show_special", false)))}};
  }

  Json stream(const Json& request) const {
    outboard::text::StreamDecoder decoder(tokenizer(), request.value("show_special", false));
    std::vector<std::string> parts;
    for (const int32_t id : request.at("ids").get<std::vector<int32_t>>())
      parts.push_back(decoder.feed(id));
    parts.push_back(decoder.flush());
    return {{"parts", parts}};
  }

  Json info(const Json& /*request*/) const {
    std::vector<int32_t> ends;
    for (size_t i = 0; i < tokenizer().vocabulary_size(); ++i)
      if (tokenizer().is_end_of_generation(static_cast<int32_t>(i)))
        ends.push_back(static_cast<int32_t>(i));
    return {{"bos", tokenizer().bos()},           {"eos", tokenizer().eos()},
            {"unk", tokenizer().unk()},           {"adds_bos", tokenizer().adds_bos()},
            {"adds_eos", tokenizer().adds_eos()}, {"ends", ends}};
  }

  Json render(const Json& request) const {
    const auto make = [&] {
      if (request.contains("template"))
        return outboard::text::ChatTemplate(request.at("template").get<std::string>(),
                                            request.value("bos", ""), request.value("eos", ""));
      return outboard::text::ChatTemplate::from_metadata(metadata_, tokenizer());
    };
    const outboard::text::ChatTemplate chat = make();
    std::vector<outboard::text::Message> messages;
    for (const Json& fields : request.at("messages")) {
      outboard::text::Message message;
      for (const auto& [key, value] : fields.items()) {
        if (key == "role") {
          message.role = value;
        } else if (key == "content" && value.is_string()) {
          message.content = value;
        } else {
          message.extra[key] = value;
        }
      }
      messages.push_back(std::move(message));
    }
    outboard::text::ChatOptions options;
    options.add_generation_prompt = request.value("add_generation_prompt", true);
    if (request.contains("tools")) options.tools = request.at("tools");
    if (request.contains("variables")) options.variables = request.at("variables");
    options.trust_markers = request.value("trust_markers", false);
    const outboard::text::TracedText prompt = chat.render(messages, options);
    Json answer = {{"text", prompt.bytes()}};
    if (request.value("encode", false)) {
      answer["ids"] = tokenizer().encode(prompt, false);
      answer["trusted_ids"] = tokenizer().encode(prompt.bytes(), false, true);
    }
    return answer;
  }

  static Json jinja(const Json& request) {
    const outboard::text::jinja::Template source(request.at("source").get<std::string>());
    return {{"text", source.render(request.value("variables", Json::object()))}};
  }

  Metadata metadata_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

}  // namespace

int main() {
  Tool tool;
  std::string line;
  while (std::getline(std::cin, line)) {
    Json answer;
    try {
      answer = tool.answer(Json::parse(line));
    } catch (const outboard::Error& error) {
      answer = {{"error", error.message()}, {"hint", error.hint()}};
    } catch (const Json::exception& error) {
      answer = {{"error", std::string("request: ") + error.what()}};
    }
    std::cout << answer.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  }
  return 0;
}
