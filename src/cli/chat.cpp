// outboard chat: a conversation.
#include "cli/chat.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/chat_answers.h"
#include "cli/chat_input.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/recording.h"

#include "support/error.h"
#include "support/json.h"
#include "support/nearest.h"
#include "support/notice.h"
#include "support/output_file.h"
#include "support/terminal.h"
#include "text/word_wrap.h"

namespace outboard::cli {
namespace {

// An error that the conversation outlives.
void report(const Error& e) {
  notice("{}\n{}{}", e.message(), e.hint(), e.hint().empty() ? "" : "\n");
}

std::string counted(size_t messages) {
  return messages == 1 ? "1 message" : fmt::format("{} messages", messages);
}

// The beginning of a message, for a line about it.
std::string in_quotes(std::string_view message) {
  constexpr size_t kShown = 40;
  const std::string_view line = message.substr(0, message.find('\n'));
  size_t end = std::min(line.size(), kShown);
  while (end < line.size() && (static_cast<unsigned char>(line[end]) & 0xC0U) == 0x80U) --end;
  return fmt::format("\"{}{}\"", line.substr(0, end), end < message.size() ? " ..." : "");
}

// "--force NAME": whether it is, and the rest.
bool takes_force(std::string& argument) {
  constexpr std::string_view kForce = "--force";
  if (argument != kForce && !argument.starts_with("--force ")) return false;
  argument.erase(0, std::min(argument.size(), kForce.size() + 1));
  return true;
}

class Chat {
 public:
  explicit Chat(ChatOptions options)
      : options_(std::move(options)),
        grammar_(read_grammar(options_.grammar)),
        loaded_(options_.model),
        model_(loaded_.model()),
        answers_(loaded_, session_options()),
        input_(!options_.no_history, [](std::string_view line) { return lines_from(line); }) {
    if (!model_->has_chat_template())
      throw Error(
          fmt::format("{} is a base model: it has no chat template", model_->program().name),
          "Use an instruct model, or `outboard run` to continue a text.");
    tell_of_context(options_.model, answers_.context(), *model_);
    begin_anew();
  }

  // Whether it was left in words.
  bool loop() {
    if (input_.has_person())
      notice("{} on {}. /help lists the commands.\n", model_->program().name,
             loaded_.device().description());
    while (!is_over_) {
      ChatInput::Typed typed = input_.read_message(std::exchange(edited_, {}));
      if (typed.end == ChatInput::End::kEndOfInput) {
        if (input_.has_person()) print("\n");
        return true;
      }
      if (typed.end == ChatInput::End::kInterrupt) {
        is_editing_ = false;
        if (was_interrupted_ && typed.line.empty()) return false;
        was_interrupted_ = true;
        if (typed.line.empty()) notice("Ctrl-C again, Ctrl-D or /exit ends the conversation.\n");
        continue;
      }
      was_interrupted_ = false;
      if (typed.line.empty()) {
        is_editing_ = false;
        continue;
      }
      take(typed.line);
      if (was_interrupted_ && !input_.has_person()) return false;
    }
    return true;
  }

 private:
  struct Command {
    std::string_view name, argument, about;
    void (Chat::*run)(std::string argument);
  };
  static constexpr std::array<Command, 11> commands() {
    return {{{"/help", "", "this list", &Chat::help},
             {"/retry", "", "answer the last message again", &Chat::retry},
             {"/undo", "", "take the last message and its answer back", &Chat::undo},
             {"/edit", "[TEXT]", "change the last message and have it answered", &Chat::edit},
             {"/clear", "", "forget the conversation, keep the system message", &Chat::clear},
             {"/system", "[TEXT]", "show the system message; set it and start over; \"\": none",
              &Chat::system},
             {"/set", "[NAME VALUE]", "show the settings, or change one", &Chat::set},
             {"/stats", "", "speed after each answer on or off", &Chat::stats},
             {"/save", "FILE", "write the conversation as JSON", &Chat::save},
             {"/load", "FILE", "go on with a saved conversation", &Chat::load},
             {"/exit", "", "leave (so do /bye, /quit and Ctrl-D)", &Chat::leave}}};
  }
  // What one of /set's is called, and what may be said of it.
  struct Setting {
    std::string_view name;
    double low, high;
    void (*put)(SamplingOptions&, double);
    double (*get)(const engine::Request&);
    bool (*is_own)(const SamplingOptions&);  // said by the person
  };
  static constexpr std::array<Setting, 7> settings() {
    using Options = SamplingOptions;
    using Request = engine::Request;
    return {{{"temp", 0, 100, [](Options& o, double v) { o.temperature = static_cast<float>(v); },
              [](const Request& r) { return static_cast<double>(r.temperature); },
              [](const Options& o) { return o.temperature.has_value(); }},
             {"top-k", 0, 1e9, [](Options& o, double v) { o.top_k = static_cast<int>(v); },
              [](const Request& r) { return static_cast<double>(r.top_k); },
              [](const Options& o) { return o.top_k.has_value(); }},
             {"top-p", 0, 1, [](Options& o, double v) { o.top_p = static_cast<float>(v); },
              [](const Request& r) { return static_cast<double>(r.top_p); },
              [](const Options& o) { return o.top_p.has_value(); }},
             {"min-p", 0, 1, [](Options& o, double v) { o.min_p = static_cast<float>(v); },
              [](const Request& r) { return static_cast<double>(r.min_p); },
              [](const Options& o) { return o.min_p.has_value(); }},
             {"repeat-penalty", 0.01, 100,
              [](Options& o, double v) { o.repeat_penalty = static_cast<float>(v); },
              [](const Request& r) { return static_cast<double>(r.repeat_penalty); },
              [](const Options& o) { return o.repeat_penalty.has_value(); }},
             {"seed", -1, 1e15, [](Options& o, double v) { o.seed = static_cast<int64_t>(v); },
              [](const Request& r) { return r.seed ? static_cast<double>(*r.seed) : -1; },
              [](const Options& o) { return o.seed >= 0; }},
             {"n", -1, 1e9, [](Options& o, double v) { o.max_tokens = static_cast<int>(v); },
              [](const Request& r) { return static_cast<double>(r.max_tokens); },
              [](const Options& o) { return o.max_tokens >= 0; }}}};
  }

  engine::SessionOptions session_options() const {
    engine::SessionOptions options;
    options.context = options_.model.context;
    apply(options_.speculation, options_.model.ignore_unknown, engine::Speculation::kAuto, options);
    return options;
  }

  // A message, or a command.
  void take(const std::string& line) {
    try {
      if (std::exchange(is_editing_, false)) return edit(line);
      // What was pasted in several lines is a message, whatever it begins with.
      if (!line.starts_with('/') || line.find('\n') != std::string::npos) return say(line);
      command(line);
    } catch (const OutputFailed&) {
      throw;
    } catch (const Error& e) {  // a wrong file name must not end the conversation
      report(e);
    }
  }

  void command(const std::string& line) {
    const size_t space = line.find(' ');
    std::string name = line.substr(0, space);
    if (name == "/?") name = "/help";
    if (name == "/bye" || name == "/quit") name = "/exit";
    for (const Command& command : commands())
      if (command.name == name)
        return (this->*command.run)(space == std::string::npos ? "" : line.substr(space + 1));
    std::vector<std::string> names;
    for (const Command& command : commands()) names.emplace_back(command.name);
    const std::string near = nearest(name, names);
    notice("{} is no command. {}/help lists them.\n", name,
           near.empty() ? "" : fmt::format("Did you mean {}? ", near));
  }

  // Whole lines that the beginning of a command may become.
  static std::vector<std::string> lines_from(std::string_view line) {
    std::vector<std::string> lines;
    const auto add = [&](std::string whole) {
      if (!line.empty() && whole.starts_with(line)) lines.push_back(std::move(whole));
    };
    for (const Command& command : commands())
      add(std::string(command.name) + (command.argument.empty() ? "" : " "));
    for (const Setting& setting : settings()) add(fmt::format("/set {} ", setting.name));
    // "/set" is the beginning of both.
    if (!line.starts_with("/set "))
      std::erase_if(lines, [](const std::string& one) {
        return one.starts_with("/set ") && one.size() > std::string_view("/set ").size();
      });
    return lines;
  }

  // --- answers ---

  void say(const std::string& message) {
    messages_.push_back({"user", message});
    retries_ = 0;
    // A message that can't be answered is taken back; the conversation goes on.
    try {
      answer();
    } catch (...) {
      messages_.pop_back();
      throw;
    }
  }

  // Of the last message, which is the person's.
  void answer() {
    const InterruptGuard guard;
    engine::Request request;
    apply(options_.sampling, *model_, request);
    if (request.seed) *request.seed += retries_;
    if (!options_.trust_markers) tell_of_markers(model_->tokenizer(), messages_.back().content);
    // A terminal gets its lines broken between words.
    text::WordWrap wrap([] { return terminal_columns(STDOUT_FILENO); }, print);
    const auto show = [&](std::string_view text) {
      if (input_.has_person()) {
        wrap.add(text);
      } else {
        print(text);
      }
    };
    engine::Completion whole;
    for (bool goes_on = true; goes_on;) {
      request.prompt = prompt(whole.tokens);
      if (whole.tokens.empty()) tell_left_out();
      request.grammar = grammar_;
      request.cancel = &InterruptGuard::flag();
      request.on_text = show;
      const engine::Completion c = answers_.answer(request);
      // A full context: on with it, without what is oldest. (A grammar would begin anew.)
      goes_on = c.finish == engine::Finish::kContextFull && grammar_ == nullptr &&
                options_.context_shift && forget_oldest();
      add(whole, c);
      if (request.max_tokens >= 0) request.max_tokens -= static_cast<int>(c.tokens.size());
    }
    show("\n");
    tell_left_out();
    messages_.push_back({"assistant", whole.text});
    is_saved_ = false;
    if (whole.finish == engine::Finish::kContextFull) explain_full_context();
    if (whole.finish == engine::Finish::kCancelled) {
      was_interrupted_ = true;
      notice("[stopped: the answer is cut here]\n");
    }
    if (options_.stats) notice("[{}]\n", speed_line(whole));
  }

  static void add(engine::Completion& whole, const engine::Completion& part) {
    if (whole.tokens.empty()) {
      whole = part;
      return;
    }
    whole.text += part.text;
    whole.tokens.insert(whole.tokens.end(), part.tokens.begin(), part.tokens.end());
    whole.finish = part.finish;
    whole.decode_seconds += part.prompt_seconds + part.decode_seconds;
    whole.decoded_tokens += part.decoded_tokens;
    whole.drafted_tokens += part.drafted_tokens;
    whole.accepted_tokens += part.accepted_tokens;
  }

  size_t first_turn() const {
    return !messages_.empty() && messages_.front().role == "system" ? 1 : 0;
  }

  // What the model is shown, and of its answer what it said already. Of a full context the oldest
  // turns are left out, so that there is some room for what is to be said.
  std::vector<int32_t> prompt(const std::vector<int32_t>& said) {
    text::ChatOptions chat;
    chat.trust_markers = options_.trust_markers;
    const auto context = static_cast<size_t>(answers_.context());
    size_t room = context / 4;
    if (options_.sampling.max_tokens >= 0)
      room = std::min(room, static_cast<size_t>(options_.sampling.max_tokens));
    for (;;) {
      std::vector<text::Message> shown(messages_.begin(),
                                       messages_.begin() + static_cast<ptrdiff_t>(first_turn()));
      first_ = std::clamp(first_, first_turn(), messages_.size() - 1);
      shown.insert(shown.end(), messages_.begin() + static_cast<ptrdiff_t>(first_),
                   messages_.end());
      std::vector<int32_t> tokens = model_->chat_tokens(shown, chat);
      tokens.insert(tokens.end(), said.begin(), said.end());
      const bool has_room = tokens.size() + room < context;
      if (!has_room && options_.context_shift && forget_oldest()) continue;
      if (tokens.size() >= context)
        throw Error(fmt::format("{} tokens do not fit the context of {}", tokens.size(), context),
                    full_context_hint());
      return tokens;
    }
  }

  void tell_left_out() {
    if (first_ > std::max(told_first_, first_turn()))
      notice("[the context is full: the model is not shown the oldest {} any more]\n",
             counted(first_ - first_turn()));
    told_first_ = first_;
  }

  // The oldest turn that the model is shown, unless it is the last. False: there is no other.
  bool forget_oldest() {
    for (size_t i = std::max(first_, first_turn()) + 1; i < messages_.size(); ++i)
      if (messages_[i].role == "user") {
        first_ = i;
        return true;
      }
    return false;
  }

  std::string full_context_hint() const {
    return fmt::format("/clear starts over; --ctx makes it larger (this model can take {}).",
                       model_->program().context_length);
  }
  void explain_full_context() const {
    notice("The context of {} tokens is full. {}\n", answers_.context(), full_context_hint());
  }

  // --- commands ---

  void help(std::string /*argument*/) {
    std::string text;
    for (const Command& command : commands())
      text += fmt::format("{:<19}{}\n", fmt::format("{} {}", command.name, command.argument),
                          command.about);
    notice("{}", text);
    notice(
        "\"\"\"                begin and end a message of several lines\n"
        "Ctrl-C stops an answer, or clears the line; twice in a row it leaves.\n");
  }

  void leave(std::string /*argument*/) { is_over_ = true; }

  // Takes the messages from the person's last on out of the conversation.
  std::vector<text::Message> take_last_turn() {
    const auto last = std::find_if(messages_.rbegin(), messages_.rend(),
                                   [](const text::Message& m) { return m.role == "user"; });
    if (last == messages_.rend()) fail("there is no message yet");
    std::vector<text::Message> turn(last.base() - 1, messages_.end());
    messages_.erase(last.base() - 1, messages_.end());
    return turn;
  }

  void retry(std::string /*argument*/) {
    std::vector<text::Message> turn = take_last_turn();
    messages_.push_back(turn.front());
    ++retries_;
    engine::Request request;
    apply(options_.sampling, *model_, request);
    if (request.temperature == 0)
      notice("[the temperature is 0, so the answer will be the same: /set temp 0.8]\n");
    answer_or_restore(turn);
  }

  void undo(std::string /*argument*/) {
    const std::vector<text::Message> turn = take_last_turn();
    is_saved_ = false;
    notice("[taken back: {}{}]\n", in_quotes(turn.front().content),
           turn.size() > 1 ? " and its answer" : "");
  }

  void edit(std::string text) {
    std::vector<text::Message> turn = take_last_turn();
    if (text.empty()) {
      messages_.insert(messages_.end(), turn.begin(), turn.end());
      if (!input_.can_edit())
        throw Error("/edit: there is no line to edit here", "Give the new text: /edit TEXT");
      edited_ = turn.front().content;
      is_editing_ = true;
      return;
    }
    messages_.push_back({"user", std::move(text)});
    retries_ = 0;
    answer_or_restore(turn);
  }

  // The last message; where it can't be answered the turn comes back that was in its place.
  void answer_or_restore(const std::vector<text::Message>& turn) {
    try {
      answer();
    } catch (...) {
      messages_.pop_back();
      messages_.insert(messages_.end(), turn.begin(), turn.end());
      throw;
    }
  }

  void begin_anew() {
    messages_.clear();
    first_ = 0;
    is_saved_ = true;
    if (!options_.system.empty()) messages_.push_back({"system", options_.system});
  }

  void clear(std::string /*argument*/) {
    const size_t count = messages_.size() - first_turn();
    begin_anew();
    notice("[{} forgotten]\n", counted(count));
  }

  void system(std::string argument) {
    const bool forced = takes_force(argument);
    if (argument.empty() && !forced) {
      if (options_.system.empty()) {
        notice("there is no system message\n");
      } else {
        notice("{}\n", options_.system);
      }
      return;
    }
    const std::string text = argument == "\"\"" ? "" : argument;
    if (!may_lose(forced, "/system")) return;
    const size_t count = messages_.size() - first_turn();
    options_.system = text;
    begin_anew();
    notice("[the system message is {}{}]\n", text.empty() ? "gone" : "set",
           count == 0 ? "" : fmt::format(", {} forgotten", counted(count)));
  }

  // Before the conversation goes: whether it may.
  bool may_lose(bool forced, std::string_view command) {
    const size_t count = messages_.size() - first_turn();
    if (forced || is_saved_ || count == 0) return true;
    return agrees(fmt::format("{} of this conversation are not saved and will be forgotten. Go on?",
                              counted(count)),
                  command);
  }
  bool agrees(const std::string& question, std::string_view command) {
    if (!input_.has_person())
      throw Error(fmt::format("{}: {}", command, question),
                  fmt::format("Nobody can be asked here: {} --force ... goes on.", command));
    if (input_.asks(question)) return true;
    notice("[nothing was changed]\n");
    return false;
  }

  void set(std::string argument) {
    engine::Request now;
    apply(options_.sampling, *model_, now);
    const size_t space = argument.find(' ');
    const std::string name = argument.substr(0, space);
    const std::string text = space == std::string::npos ? "" : argument.substr(space + 1);
    std::string names;
    for (const Setting& setting : settings()) {
      names += (names.empty() ? "" : ", ") + std::string(setting.name);
      if (!text.empty() || (!name.empty() && name != setting.name)) continue;
      notice("{:<15} {:<6g}{}\n", setting.name, setting.get(now),
             setting.is_own(options_.sampling) ? "" : "  (default)");
    }
    for (const Setting& setting : settings()) {
      if (setting.name != name) continue;
      if (text.empty()) return;
      char* end = nullptr;
      const double value = std::strtod(text.c_str(), &end);
      if (*end != '\0') fail("/set {}: \"{}\" is no number", name, text);
      if (value < setting.low || value > setting.high)
        fail("/set {}: {}, expected {} to {}", name, value, setting.low, setting.high);
      setting.put(options_.sampling, value);
      notice("[{} is {:g}]\n", name, value);
      return;
    }
    if (!name.empty()) fail("/set {}: expected one of {}", name, names);
  }

  void stats(std::string /*argument*/) {
    options_.stats = !options_.stats;
    notice("[speed after each answer: {}]\n", options_.stats ? "on" : "off");
  }

  void save(std::string path) {
    const bool forced = takes_force(path);
    if (path.empty()) fail("/save: which file?");
    if (!forced && output_place(path).kind == OutputPlace::Kind::kFile &&
        !agrees(fmt::format("{} is there. Replace it?", path), "/save"))
      return;
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const text::Message& m : messages_)
      list.push_back({{"role", m.role}, {"content", m.content}});
    OutputFile file(path);
    file.write(list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    file.finish();
    is_saved_ = true;
    notice("[{} saved in {}]\n", counted(messages_.size()), path);
  }

  void load(std::string path) {
    const bool forced = takes_force(path);
    if (path.empty()) fail("/load: which file?");
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
    if (!may_lose(forced, "/load")) return;
    messages_ = std::move(loaded);
    first_ = 0;
    is_saved_ = true;
    options_.system = first_turn() == 1 ? messages_.front().content : "";
    notice("[{} loaded from {}]\n", counted(messages_.size()), path);
  }

  ChatOptions options_;
  std::shared_ptr<const grammar::Grammar> grammar_;  // of every answer; null: any
  LoadedModel loaded_;
  std::shared_ptr<const engine::Model> model_;
  ChatAnswers answers_;
  ChatInput input_;
  std::vector<text::Message> messages_;
  size_t first_ = 0;  // of them, behind the system message, that the model is still shown
  size_t told_first_ = 0;
  bool is_saved_ = true;  // nothing would be lost
  bool is_over_ = false;
  bool was_interrupted_ = false;  // by Ctrl-C, and nothing was typed since
  bool is_editing_ = false;       // what is typed next takes the last message's place
  std::string edited_;            // that message
  uint64_t retries_ = 0;          // of the last message: each has another seed
};

}  // namespace

bool chat(ChatOptions options) {
  if (options.model.model.empty()) options.model.model = only_model("chat");
  return Chat(std::move(options)).loop();
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
  command->add_flag("--context-shift,!--no-context-shift", options->context_shift,
                    "of a full context the oldest turns are left out, as is the default; "
                    "--no-context-shift: the conversation stops there");
  command->add_flag("--stats", options->stats, "the speed after each answer, as /stats");
  add_trust_option(*command, options->trust_markers);
  add_sampling_options(*command, options->sampling);
  add_speculation_options(*command, options->speculation);
  add_grammar_options(*command, options->grammar);
  command->footer(
      "Exit status: 130 when it is left by Ctrl-C, 0 by /exit and Ctrl-D.\n"
      "Example: outboard chat smollm2 --system \"Answer in one sentence.\"");
  command->callback([options] {
    bool left_in_words = true;
    recorded(options->model, [&] { left_in_words = chat(*options); });
    if (!left_in_words) throw CLI::RuntimeError(kInterrupted);
  });
}

}  // namespace outboard::cli
