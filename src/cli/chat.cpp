// outboard chat: a conversation.
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/chat.h"
#include "cli/commands.h"
#include "cli/line_editor.h"
#include "cli/options.h"
#include "cli/recording.h"
#include "support/error.h"
#include "support/json.h"
#include "support/notice.h"
#include "support/output_file.h"

namespace outboard::cli {
namespace {

constexpr const char* kHelp =
    "/help             this list\n"
    "/clear            forget the conversation, keep the system message\n"
    "/system TEXT      set the system message and start over\n"
    "/set NAME VALUE   temp, top-k, top-p, min-p, repeat-penalty, seed or n\n"
    "/stats            speed after each answer on or off\n"
    "/save FILE        write the conversation as JSON\n"
    "/load FILE        go on with a saved conversation\n"
    "/exit             leave (so does Ctrl-D)\n"
    "\"\"\"               begin and end a message of several lines\n"
    "Ctrl-C stops an answer, or clears the line; twice in a row it leaves.\n";

// An error that the conversation outlives.
void report(const Error& e) {
  notice("{}\n{}{}", e.message(), e.hint(), e.hint().empty() ? "" : "\n");
}

// What a person types, or what comes through a pipe.
class Input {
 public:
  explicit Input(bool keeps_history) {
    if (isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1)
      editor_.emplace(keeps_history ? history_file() : std::filesystem::path());
  }

  bool terminal() const { return editor_.has_value(); }

  using End = LineEditor::End;
  LineEditor::Typed read(const char* prompt) {
    if (editor_) return editor_->read(prompt);
    std::string line;
    if (!std::getline(std::cin, line)) return {End::kEndOfInput, {}};
    if (line.ends_with('\r')) line.pop_back();
    return {End::kLine, std::move(line)};
  }

 private:
  std::optional<LineEditor> editor_;
};

class Chat {
 public:
  explicit Chat(ChatOptions options)
      : options_(std::move(options)),
        grammar_(read_grammar(options_.grammar)),
        loaded_(options_.model),
        model_(loaded_.model()),
        session_(model_, loaded_.device(), session_options()),
        input_(!options_.no_history) {
    if (!model_->has_chat_template())
      throw Error(
          fmt::format("{} is a base model: it has no chat template", model_->program().name),
          "Use an instruct model, or `outboard run` to continue a text.");
    tell_of_context(options_.model, session_, *model_);
    clear();
  }

  void loop() {
    if (input_.terminal())
      notice("{} on {}. /help lists the commands.\n", model_->program().name,
             loaded_.device().description());
    while (std::optional<std::string> line = read_message()) {
      if (line->empty()) continue;
      if (line->starts_with('/')) {
        if (*line == "/exit" || *line == "/quit" || *line == "/bye") return;
        try {
          command(*line);
        } catch (const Error& e) {  // a wrong file name must not end the conversation
          report(e);
        }
        continue;
      }
      answer(*line);
    }
    if (input_.terminal()) print("\n");
  }

 private:
  engine::SessionOptions session_options() const {
    engine::SessionOptions options;
    options.context = options_.model.context;
    apply(options_.speculation, options_.model.ignore_unknown, engine::Speculation::kAuto, options);
    return options;
  }

  // none: at the end of the input, or after Ctrl-C twice in a row
  std::optional<std::string> read_message() {
    bool before = false;  // Ctrl-C, and nothing since
    for (;;) {
      LineEditor::Typed typed = input_.read(">>> ");
      if (typed.end == Input::End::kLine && typed.line.starts_with("\"\"\""))
        typed = read_lines(typed.line.substr(3));
      if (typed.end == Input::End::kEndOfInput) return std::nullopt;
      if (typed.end == Input::End::kLine) return typed.line;
      if (before && typed.line.empty()) return std::nullopt;
      if (typed.line.empty()) notice("Ctrl-C again, Ctrl-D or /exit ends the conversation.\n");
      before = true;
    }
  }

  // The rest of a message of several lines.
  LineEditor::Typed read_lines(std::string message) {
    while (!message.ends_with("\"\"\"")) {
      const LineEditor::Typed next = input_.read("... ");
      if (next.end == Input::End::kInterrupt) return next;
      if (next.end == Input::End::kEndOfInput) return {Input::End::kLine, std::move(message)};
      message += (message.empty() ? "" : "\n") + next.line;
    }
    message.resize(message.size() - 3);
    return {Input::End::kLine, std::move(message)};
  }

  void clear() {
    messages_.clear();
    if (!options_.system.empty()) messages_.push_back({"system", options_.system});
  }

  void answer(const std::string& message) {
    messages_.push_back({"user", message});
    engine::Request request;
    try {
      text::ChatOptions chat;
      chat.trust_markers = options_.trust_markers;
      if (!options_.trust_markers) tell_of_markers(model_->tokenizer(), message);
      request.prompt = model_->chat_tokens(messages_, chat);
      apply(options_.sampling, *model_, request);
      request.grammar = grammar_;
      const InterruptGuard guard;
      request.cancel = &InterruptGuard::flag();
      request.on_text = [](std::string_view text) { print(text); };
      const engine::Completion c = session_.generate(std::move(request));
      print("\n");
      messages_.push_back({"assistant", c.text});
      if (c.finish == engine::Finish::kContextFull) explain_full_context();
      if (c.finish == engine::Finish::kCancelled) notice("[stopped: the answer is cut here]\n");
      if (stats_) notice("[{}]\n", speed_line(c));
    } catch (const Error& e) {
      // The message that can't be answered is taken back; the conversation goes on.
      messages_.pop_back();
      report(e);
      if (e.message().find("context") != std::string::npos) explain_full_context();
    }
  }

  void explain_full_context() const {
    notice(
        "The context of {} tokens is full. /clear starts over; --ctx makes it larger (this "
        "model can take {}).\n",
        session_.context(), model_->program().context_length);
  }

  void command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "/help" || name == "/?") {
      notice("{}", kHelp);
    } else if (name == "/clear") {
      clear();
    } else if (name == "/system") {
      options_.system = argument;
      clear();
    } else if (name == "/set") {
      set(argument);
    } else if (name == "/stats") {
      stats_ = !stats_;
    } else if (name == "/save") {
      save(argument);
    } else if (name == "/load") {
      load_conversation(argument);
    } else {
      notice("{} is no command. /help lists them.\n", name);
    }
  }

  void set(const std::string& argument) {
    SamplingOptions& s = options_.sampling;
    const size_t space = argument.find(' ');
    const std::string name = argument.substr(0, space);
    const std::string text = space == std::string::npos ? "" : argument.substr(space + 1);
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0') fail("/set {}: \"{}\" is no number", name, text);
    const auto within = [&](double low, double high) {
      if (value < low || value > high)
        fail("/set {}: {}, expected {} to {}", name, value, low, high);
      return value;
    };
    if (name == "temp") {
      s.temperature = static_cast<float>(within(0, 100));
    } else if (name == "top-k") {
      s.top_k = static_cast<int>(within(0, 1e9));
    } else if (name == "top-p") {
      s.top_p = static_cast<float>(within(0, 1));
    } else if (name == "min-p") {
      s.min_p = static_cast<float>(within(0, 1));
    } else if (name == "repeat-penalty") {
      s.repeat_penalty = static_cast<float>(within(0.01, 100));
    } else if (name == "seed") {
      s.seed = static_cast<int64_t>(within(-1, 1e15));
    } else if (name == "n") {
      s.max_tokens = static_cast<int>(within(-1, 1e9));
    } else {
      fail("/set {}: expected temp, top-k, top-p, min-p, repeat-penalty, seed or n", name);
    }
  }

  void save(const std::string& path) const {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const text::Message& m : messages_)
      list.push_back({{"role", m.role}, {"content", m.content}});
    OutputFile file(path);
    file.write(list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    file.finish();
  }

  void load_conversation(const std::string& path) {
    nlohmann::ordered_json list;
    try {
      list = parse_json(read_whole(path));
    } catch (Error& e) {
      e.add_context(path);
      throw;
    }
    std::vector<text::Message> loaded;
    if (list.is_array())
      for (const auto& m : list)
        if (m.is_object() && m.contains("role") && m["role"].is_string() && m.contains("content") &&
            m["content"].is_string())
          loaded.push_back({m["role"], m["content"]});
    if (!list.is_array() || loaded.size() != list.size())
      fail("{}: expected a JSON list of messages with role and content, as /save writes it", path);
    messages_ = std::move(loaded);
  }

  ChatOptions options_;
  std::shared_ptr<const grammar::Grammar> grammar_;  // of every answer; null: any
  LoadedModel loaded_;
  std::shared_ptr<const engine::Model> model_;
  engine::Session session_;
  Input input_;
  std::vector<text::Message> messages_;
  bool stats_ = false;
};

}  // namespace

void chat(ChatOptions options) {
  if (options.model.model.empty()) options.model.model = only_model("chat");
  Chat(std::move(options)).loop();
}

void add_chat(CLI::App& app) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App* command = app.add_subcommand("chat", "Talk with a model");
  add_model_options(*command, options->model);
  command->get_option("MODEL")->required(false)->description(
      "model file, Hugging Face folder or pulled name; without it the only pulled one");
  add_record_option(*command, options->model);
  command->add_option("--system", options->system, "system message");
  command->add_flag("--no-history", options->no_history,
                    "neither read nor keep the history of what is typed");
  add_trust_option(*command, options->trust_markers);
  add_sampling_options(*command, options->sampling);
  add_speculation_options(*command, options->speculation);
  add_grammar_options(*command, options->grammar);
  command->footer("Example: outboard chat smollm2 --system \"Answer in one sentence.\"");
  command->callback([options] { recorded(options->model, [&] { chat(*options); }); });
}

}  // namespace outboard::cli
