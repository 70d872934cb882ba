// outboard chat: a conversation.
#include <editline/readline.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/commands.h"
#include "cli/options.h"
#include "support/error.h"

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
    "Ctrl-C stops an answer.\n";

struct ChatOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::string system;
};

// An error that the conversation outlives.
void report(const Error& e) {
  fmt::print(stderr, "{}\n{}{}", e.message(), e.hint(), e.hint().empty() ? "" : "\n");
}

// Lines with editing and history on a terminal, plain lines otherwise.
class LineReader {
 public:
  LineReader() : terminal_(isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1) {
    if (!terminal_) return;
    rl_initialize();
    using_history();
    stifle_history(1000);
    if (const char* home = std::getenv("HOME")) {
      history_ = std::string(home) + "/.outboard_history";
      read_history(history_.c_str());  // absent on the first day
    }
  }
  ~LineReader() {
    if (terminal_ && !history_.empty()) write_history(history_.c_str());
  }
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  bool terminal() const { return terminal_; }

  // none at the end of the input
  std::optional<std::string> read(const char* prompt) {
    if (!terminal_) {
      std::string line;
      if (!std::getline(std::cin, line)) return std::nullopt;
      return line;
    }
    const std::unique_ptr<char, decltype(&std::free)> line(readline(prompt), &std::free);
    if (!line) return std::nullopt;
    if (*line != '\0') add_history(line.get());
    return std::string(line.get());
  }

 private:
  bool terminal_;
  std::string history_;
};

class Chat {
 public:
  explicit Chat(ChatOptions options)
      : options_(std::move(options)),
        model_(load(options_.model)),
        session_(model_, session_options()) {
    if (!model_->has_chat_template())
      throw Error(
          fmt::format("{} is a base model: it has no chat template", model_->program().name),
          "Use an instruct model, or `outboard run` to continue a text.");
    clear();
  }

  void loop() {
    if (reader_.terminal())
      fmt::print(stderr, "{} on {}. /help lists the commands.\n", model_->program().name,
                 model_->device().description());
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
    if (reader_.terminal()) print("\n");
  }

 private:
  engine::SessionOptions session_options() const {
    engine::SessionOptions options;
    options.context = options_.model.context;
    return options;
  }

  std::optional<std::string> read_message() {
    std::optional<std::string> line = reader_.read(">>> ");
    if (!line || !line->starts_with("\"\"\"")) return line;
    std::string message = line->substr(3);
    while (!message.ends_with("\"\"\"")) {
      const std::optional<std::string> next = reader_.read("... ");
      if (!next) return message;
      message += (message.empty() ? "" : "\n") + *next;
    }
    message.resize(message.size() - 3);
    return message;
  }

  void clear() {
    messages_.clear();
    if (!options_.system.empty()) messages_.push_back({"system", options_.system});
  }

  void answer(const std::string& message) {
    messages_.push_back({"user", message});
    engine::Request request;
    try {
      request.prompt = model_->chat_tokens(messages_);
      apply(options_.sampling, request);
      const InterruptGuard guard;
      request.cancel = &InterruptGuard::flag();
      request.on_text = [](std::string_view text) { print(text); };
      const engine::Completion c = session_.generate(std::move(request));
      print("\n");
      messages_.push_back({"assistant", c.text});
      if (c.finish == engine::Finish::kContextFull) explain_full_context();
      if (stats_) fmt::print(stderr, "[{}]\n", speed_line(c));
    } catch (const Error& e) {
      // The message that can't be answered is taken back; the conversation goes on.
      messages_.pop_back();
      report(e);
      if (e.message().find("context") != std::string::npos) explain_full_context();
    }
  }

  void explain_full_context() const {
    fmt::print(stderr,
               "The context of {} tokens is full. /clear starts over; --ctx makes it larger (this "
               "model can take {}).\n",
               session_.context(), model_->program().context_length);
  }

  void command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
    if (name == "/help" || name == "/?") {
      fmt::print(stderr, "{}", kHelp);
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
      fmt::print(stderr, "{} is no command. /help lists them.\n", name);
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
    std::ofstream file(path);
    if (!file) throw system_error("create", path);
    file << list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
    if (!file.flush()) throw system_error("write", path);
  }

  void load_conversation(const std::string& path) {
    const auto list = nlohmann::ordered_json::parse(read_text(path), nullptr, false);
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
  std::shared_ptr<engine::Model> model_;
  engine::Session session_;
  LineReader reader_;
  std::vector<text::Message> messages_;
  bool stats_ = false;
};

}  // namespace

void add_chat(CLI::App& app) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App* command = app.add_subcommand("chat", "Talk with a model");
  add_model_options(*command, options->model);
  command->add_option("--system", options->system, "system message");
  add_sampling_options(*command, options->sampling);
  command->footer("Example: outboard chat smollm2 --system \"Answer in one sentence.\"");
  command->callback([options] { Chat(*options).loop(); });
}

}  // namespace outboard::cli
