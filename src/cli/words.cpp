#include "cli/words.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <span>
#include <string_view>

#include "support/error.h"
#include "support/nearest.h"
#include "support/notice.h"

namespace outboard::cli {
namespace {

// Names that hands bring along from llama.cpp. What a command has under the very name goes first.
struct Foreign {
  enum class Means {
    kOption,  // `ours` is its name here
    kModel,   // its value is MODEL
    kHub,     // its value is OWNER/REPO[:TYPE] on Hugging Face
    kLayers,  // -ngl: none of them is the CPU, all else is what is done
    kTypes,   // of keys and values: F16 is what they are
    kDone,    // done always, `ours` says how
    kAbsent,  // not here, `ours` says what is
  };
  std::string_view name;
  Means means;
  std::string_view ours;
  int values = 1;  // 0: a flag; -1: on, off, auto, 0 or 1 where that follows
};
using Means = Foreign::Means;

constexpr std::array kForeign = {
    Foreign{"-m", Means::kModel, ""},
    Foreign{"--model", Means::kModel, ""},
    Foreign{"-hf", Means::kHub, ""},
    Foreign{"-hfr", Means::kHub, ""},
    Foreign{"--hf-repo", Means::kHub, ""},
    Foreign{"-s", Means::kOption, "--seed"},
    Foreign{"--ctx-size", Means::kOption, "--ctx"},
    Foreign{"--n-predict", Means::kOption, "-n"},
    Foreign{"--predict", Means::kOption, "-n"},
    Foreign{"--temperature", Means::kOption, "--temp"},
    Foreign{"-sys", Means::kOption, "--system"},
    Foreign{"--system-prompt", Means::kOption, "--system"},
    Foreign{"--grammar-file", Means::kOption, "--grammar"},
    Foreign{"--json-schema-file", Means::kOption, "--json-schema"},
    Foreign{"-jf", Means::kOption, "--json-schema"},
    Foreign{"-r", Means::kOption, "--stop"},
    Foreign{"--reverse-prompt", Means::kOption, "--stop"},
    Foreign{"-md", Means::kOption, "--draft"},
    Foreign{"--model-draft", Means::kOption, "--draft"},
    Foreign{"--draft-max", Means::kOption, "--draft-tokens"},
    Foreign{"--draft-n", Means::kOption, "--draft-tokens"},
    Foreign{"-dev", Means::kOption, "--device"},
    Foreign{"-np", Means::kOption, "--parallel"},
    Foreign{"-no-cnv", Means::kOption, "--raw", 0},
    Foreign{"--no-conversation", Means::kOption, "--raw", 0},
    Foreign{"--n-prompt", Means::kOption, "--prompt"},
    Foreign{"--n-gen", Means::kOption, "--decode"},
    Foreign{"--n-depth", Means::kOption, "--depth"},
    Foreign{"-o", Means::kOption, "--format"},
    Foreign{"--output", Means::kOption, "--format"},
    Foreign{"--n-threads", Means::kOption, "--threads"},
    Foreign{"--ignore-eos", Means::kAbsent,
            "an answer ends where the model ends it; run and bench have it", 0},
    Foreign{"-ngl", Means::kLayers, ""},
    Foreign{"--gpu-layers", Means::kLayers, ""},
    Foreign{"--n-gpu-layers", Means::kLayers, ""},
    Foreign{"-fa", Means::kDone, "attention is computed in tiles always", -1},
    Foreign{"--flash-attn", Means::kDone, "attention is computed in tiles always", -1},
    Foreign{"--jinja", Means::kDone, "the model's chat template is used always", 0},
    Foreign{"--mmap", Means::kDone, "model files are mapped always", 0},
    Foreign{"--no-warmup", Means::kDone, "there is no warm-up", 0},
    Foreign{"--no-display-prompt", Means::kDone, "the prompt is never shown", 0},
    Foreign{"--embedding", Means::kDone, "serve has embeddings always", 0},
    Foreign{"--embeddings", Means::kDone, "serve has embeddings always", 0},
    Foreign{"-cb", Means::kDone, "answers are computed together always", 0},
    Foreign{"--cont-batching", Means::kDone, "answers are computed together always", 0},
    Foreign{"-ctk", Means::kTypes, "--cache-type-k"},
    Foreign{"-ctv", Means::kTypes, "--cache-type-v"},
    Foreign{"--cache-type-k", Means::kTypes, ""},
    Foreign{"--cache-type-v", Means::kTypes, ""},
    Foreign{"-cnv", Means::kAbsent, "`outboard chat MODEL` is the conversation", 0},
    Foreign{"--conversation", Means::kAbsent, "`outboard chat MODEL` is the conversation", 0},
    Foreign{"-i", Means::kAbsent, "`outboard chat MODEL` is the conversation", 0},
    Foreign{"--interactive", Means::kAbsent, "`outboard chat MODEL` is the conversation", 0},
    Foreign{"-b", Means::kAbsent, "tokens are computed together as fits the device"},
    Foreign{"-ub", Means::kAbsent, "tokens are computed together as fits the device"},
    Foreign{"--batch-size", Means::kAbsent, "tokens are computed together as fits the device"},
    Foreign{"--ubatch-size", Means::kAbsent, "tokens are computed together as fits the device"},
    Foreign{"-tb", Means::kAbsent, "--threads counts for prompts and answers"},
    Foreign{"--threads-batch", Means::kAbsent, "--threads counts for prompts and answers"},
    Foreign{"-sm", Means::kAbsent, "a model runs on one device"},
    Foreign{"--split-mode", Means::kAbsent, "a model runs on one device"},
    Foreign{"-ts", Means::kAbsent, "a model runs on one device"},
    Foreign{"--tensor-split", Means::kAbsent, "a model runs on one device"},
    Foreign{"-mg", Means::kAbsent, "--device says which card"},
    Foreign{"--main-gpu", Means::kAbsent, "--device says which card"},
    Foreign{"-ot", Means::kAbsent, "a model runs on one device as a whole"},
    Foreign{"--override-tensor", Means::kAbsent, "a model runs on one device as a whole"},
    Foreign{"--override-kv", Means::kAbsent, "the file's own metadata counts"},
    Foreign{"-ncmoe", Means::kAbsent, "a model runs on one device as a whole"},
    Foreign{"--n-cpu-moe", Means::kAbsent, "a model runs on one device as a whole"},
    Foreign{"--no-mmap", Means::kAbsent, "model files are mapped", 0},
    Foreign{"--mlock", Means::kAbsent, "memory is the system's to keep", 0},
    Foreign{"--numa", Means::kAbsent, "threads lie where the system puts them"},
    Foreign{"--lora", Means::kAbsent, "adapters must be merged into the model"},
    Foreign{"--control-vector", Means::kAbsent, "there are no control vectors"},
    Foreign{"-mm", Means::kAbsent, "models read text alone, no images"},
    Foreign{"--mmproj", Means::kAbsent, "models read text alone, no images"},
    Foreign{"--image", Means::kAbsent, "models read text alone, no images"},
    Foreign{"--rope-scaling", Means::kAbsent, "positions are scaled as the file says"},
    Foreign{"--rope-scale", Means::kAbsent, "positions are scaled as the file says"},
    Foreign{"--rope-freq-base", Means::kAbsent, "positions are scaled as the file says"},
    Foreign{"--rope-freq-scale", Means::kAbsent, "positions are scaled as the file says"},
    Foreign{"--chat-template", Means::kAbsent, "the model's own chat template is used"},
    Foreign{"--chat-template-file", Means::kAbsent, "the model's own chat template is used"},
    Foreign{"--mirostat", Means::kAbsent, "there are --top-k, --top-p and --min-p"},
    Foreign{"--typical", Means::kAbsent, "there are --top-k, --top-p and --min-p"},
    Foreign{"--samplers", Means::kAbsent, "filters have one order"},
    Foreign{"--presence-penalty", Means::kAbsent, "serve has it; here is --repeat-penalty"},
    Foreign{"--frequency-penalty", Means::kAbsent, "serve has it; here is --repeat-penalty"},
    Foreign{"--repeat-last-n", Means::kAbsent, "--repeat-penalty looks at the last 64 tokens"},
    Foreign{"--prompt-cache", Means::kAbsent, "serve keeps prompts, with --cache-dir"},
    Foreign{"-pg", Means::kAbsent, "prompt and answer are timed apart: -p, -n and -d"},
};

const Foreign* foreign(std::string_view name) {
  const auto* found = std::ranges::find(kForeign, name, &Foreign::name);
  return found == kForeign.end() ? nullptr : found;
}

bool is_number(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() &&
         (std::isdigit(static_cast<unsigned char>(text[0])) != 0 || text[0] == '.');
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

// The command's own option of that name, with its dashes.
const CLI::Option* own_option(const CLI::App& command, const std::string& name) {
  // CLI11 finds positionals by their bare names, and nothing by "-abc".
  if (name.size() < 2 || (name[1] != '-' && name.size() != 2)) return nullptr;
  return command.get_option_no_throw(name);
}

std::vector<std::string> names_of_commands(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_group().empty()) continue;
    names.push_back(command->get_name());
    for (const std::string& alias : command->get_aliases()) names.push_back(alias);
  }
  return names;
}

std::vector<std::string> names_of_options(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  // Other programs' names of them, too.
  for (const Foreign& other : kForeign)
    if (other.means == Means::kOption && other.name.starts_with("--") &&
        own_option(command, std::string(other.ours)) != nullptr)
      names.emplace_back(other.name);
  return names;
}

std::string full_name(const CLI::App& command) {
  if (command.get_parent() == nullptr) return "";
  const std::string before = full_name(*command.get_parent());
  return before + (before.empty() ? "" : " ") + command.get_name();
}

[[noreturn]] void refuse_command(const CLI::App& app, const std::string& word) {
  const std::string near = nearest(word, names_of_commands(app));
  const std::string before = full_name(app) + (full_name(app).empty() ? "" : " ");
  throw Error(fmt::format("{}{} is no command", before, word),
              near.empty() ? fmt::format("`{}` lists the commands.", help_of(app))
                           : fmt::format("Did you mean `outboard {}{}`? `{}` lists the commands.",
                                         before, near, help_of(app)));
}

[[noreturn]] void refuse_option(const CLI::App& command, const std::string& word) {
  const std::string near = nearest(word, names_of_options(command));
  const std::string name = full_name(command);
  const std::string lists = fmt::format("`{}` lists the options.", help_of(command));
  throw Error(fmt::format("{}{} is no option", name + (name.empty() ? "" : ": "), word),
              near.empty() ? lists : fmt::format("Did you mean {}? {}", near, lists));
}

const CLI::App* subcommand(const CLI::App& app, const std::string& word) {
  for (const CLI::App* command : app.get_subcommands({}))
    if (command->check_name(word)) return command;
  return nullptr;
}

// Rewrites the words behind a command.
class Reader {
 public:
  Reader(const CLI::App& command, std::vector<std::string>::const_iterator next,
         std::vector<std::string>::const_iterator end)
      : command_(command), name_(full_name(command)), next_(next), end_(end) {}

  std::vector<std::string> read() {
    while (next_ != end_) {
      const std::string& word = *next_;
      if (word == "--") {  // all that follows is meant as it is
        out_.insert(out_.end(), next_, end_);
        break;
      }
      if (word.size() < 2 || word[0] != '-' || is_number(word)) {
        out_.push_back(word);
        ++next_;
      } else {
        option(word);
      }
    }
    if (!is_quiet_) notice_text(notes_);
    // MODEL goes before what follows it.
    out_.insert(out_.begin(), models_.begin(), models_.end());
    return std::move(out_);
  }

 private:
  void option(const std::string& word) {
    const size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const bool has_value = equals != std::string::npos;
    if (const CLI::Option* own = own_option(command_, name)) {
      is_quiet_ |= own->check_name("--quiet");
      out_.push_back(word);
      ++next_;
      if (takes_value(*own) && !has_value && next_ != end_) out_.push_back(*next_++);
      return;
    }
    if (const Foreign* known = foreign(name))
      return translated(*known, has_value ? std::optional(word.substr(equals + 1)) : std::nullopt);
    // -n64: an option of one letter with its value.
    if (word[1] != '-') {
      const CLI::Option* own = own_option(command_, word.substr(0, 2));
      if (own != nullptr && takes_value(*own) && is_plausible(*own, word.substr(2))) {
        out_.push_back(word);
        ++next_;
        return;
      }
    }
    refuse_option(command_, name);
  }

  // A number that an option wants does not begin with a letter.
  static bool is_plausible(const CLI::Option& option, std::string_view value) {
    const std::string type = option.get_type_name();
    const bool wants_number = type.starts_with("INT") || type.starts_with("UINT") ||
                              type.starts_with("FLOAT") || type.starts_with("N");
    return !wants_number || is_number(value) || value.starts_with('=');
  }

  void translated(const Foreign& known, std::optional<std::string> value) {
    ++next_;
    if (known.values == 1 && !value) {
      if (next_ == end_)
        throw Error(fmt::format("{}: {} wants a value", name_, known.name),
                    fmt::format("`{}` lists the options.", help_of(command_)));
      value = *next_++;
    } else if (known.values == -1 && !value && next_ != end_) {
      for (const char* word : {"on", "off", "auto", "0", "1"})
        if (*next_ == word) {
          ++next_;
          break;
        }
    }
    switch (known.means) {
      case Means::kOption:
        if (own_option(command_, std::string(known.ours)) == nullptr) break;
        out_.emplace_back(known.ours);
        if (value) out_.push_back(*value);
        return;
      case Means::kModel:
        models_.push_back(*value);
        return;
      case Means::kHub:
        models_.push_back("hf:" + *value);
        return;
      case Means::kLayers:
        if (*value == "0" && own_option(command_, "--device") != nullptr) {
          out_.insert(out_.end(), {"--device", "cpu"});
          tell(known, "no layer on a card means --device cpu");
        } else {
          tell(known, "a model runs on its device as a whole");
        }
        return;
      case Means::kTypes:
        if (*value == "f16") return tell(known, "keys and values are F16 always");
        throw Error(fmt::format("{}: {} {} is not here", name_, known.name, *value),
                    "Keys and values are kept as F16.");
      case Means::kDone:
        return tell(known, known.ours);
      case Means::kAbsent:
        throw Error(fmt::format("{}: {} (llama.cpp's) is not here", name_, known.name),
                    fmt::format("Here {}. `{}` lists the options.", known.ours, help_of(command_)));
    }
    refuse_option(command_, std::string(known.name));
  }

  void tell(const Foreign& known, std::string_view what) {
    notes_ += fmt::format("outboard: {} is not needed: {}\n", known.name, what);
  }

  const CLI::App& command_;
  std::string name_;
  std::vector<std::string>::const_iterator next_, end_;
  std::vector<std::string> out_, models_;
  std::string notes_;  // told at the end, where -q has not been said
  bool is_quiet_ = false;
};

}  // namespace

std::string name_of(const CLI::App& command) {
  const std::string name = full_name(command);
  return name.empty() ? "outboard" : "outboard " + name;
}

std::string help_of(const CLI::App& command) { return name_of(command) + " --help"; }

const CLI::App* command_of(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* command = &app;
  for (const std::string& word : words) {
    const CLI::App* next = subcommand(*command, word);
    if (next == nullptr) break;
    command = next;
  }
  return command;
}

std::vector<std::string> understood(const CLI::App& app, std::vector<std::string> words) {
  const CLI::App* command = &app;
  std::vector<std::string> out;
  auto next = words.cbegin();
  while (next != words.cend() && !command->get_subcommands({}).empty()) {
    if (next->starts_with('-')) break;
    const CLI::App* found = subcommand(*command, *next);
    if (found == nullptr) refuse_command(*command, *next);
    if (found->get_group().empty()) return words;  // not for people
    command = found;
    out.push_back(*next++);
  }
  if (command->get_name() == "help") return words;
  std::vector<std::string> rest = Reader(*command, next, words.cend()).read();
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

}  // namespace outboard::cli
