// Manual pages, and completions for shells, from what the program says of itself: CLI11's App,
// which
// --help is written from, too.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "support/error.h"

namespace outboard::cli {
namespace {

namespace fs = std::filesystem;

// The words of an option's values, where there are so many and no others: CLI11 writes them as
// `TEXT:{auto,off}`.
std::vector<std::string> values_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{'), close = type.rfind('}');
  std::vector<std::string> values;
  if (open == std::string::npos || close == std::string::npos || close < open) return values;
  const std::string list = type.substr(open + 1, close - open - 1);
  for (size_t at = 0; at <= list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    std::string value = list.substr(at, end - at);
    value = value.substr(0, value.find("->"));  // what it is turned into
    if (!value.empty()) values.push_back(value);
    at = end + 1;
  }
  return values;
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

std::vector<std::string> words_of(const CLI::Option& option) {
  std::vector<std::string> words;
  for (const std::string& name : option.get_snames()) words.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) words.push_back("--" + name);
  return words;
}

struct Command {
  std::string path;  // "sim serve"; empty: the program
  const CLI::App* app;
  std::vector<const CLI::Option*> options;      // with dashes
  std::vector<const CLI::Option*> positionals;  // in order
  std::vector<const CLI::App*> commands;
};

void add_commands(const CLI::App& app, const std::string& path, std::vector<Command>& list) {
  Command command{path, &app, {}, {}, {}};
  for (const CLI::Option* option : app.get_options([](const CLI::Option*) { return true; })) {
    if (option->get_group().empty()) continue;  // hidden
    (words_of(*option).empty() ? command.positionals : command.options).push_back(option);
  }
  for (const CLI::App* below : app.get_subcommands([](const CLI::App*) { return true; }))
    if (!below->get_group().empty()) command.commands.push_back(below);
  list.push_back(command);
  for (const CLI::App* below : command.commands)
    add_commands(*below, path.empty() ? below->get_name() : path + " " + below->get_name(), list);
}

// --- manual pages (man(7)) ---

std::string roff(std::string_view text) {
  std::string out;
  bool begins = true;
  for (const char c : text) {
    if (begins && (c == '.' || c == '\'')) out += "\\&";
    begins = c == '\n';
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

std::string option_head(const CLI::Option& option) {
  std::string head;
  for (const std::string& word : words_of(option))
    head += (head.empty() ? "\\fB" : ", \\fB") + roff(word) + "\\fR";
  if (!takes_value(option)) return head;
  const std::vector<std::string> values = values_of(option);
  std::string value;
  for (const std::string& one : values) value += (value.empty() ? "" : "|") + one;
  if (value.empty()) value = option.get_type_name().substr(0, option.get_type_name().find(':'));
  return head + " \\fI" + roff(value.empty() ? "VALUE" : value) + "\\fR";
}

std::string described(const CLI::Option& option) {
  std::string text = option.get_description();
  if (!option.get_default_str().empty()) text += " [" + option.get_default_str() + "]";
  if (option.get_required()) text += " (required)";
  return text;
}

std::string page_of(const Command& command) {
  std::string name = "outboard";
  if (!command.path.empty()) name += "-" + command.path;
  std::ranges::replace(name, ' ', '-');
  const std::string words = command.path.empty() ? "outboard" : "outboard " + command.path;
  std::string description = command.app->get_description();
  const std::string first = description.substr(0, description.find('\n'));
  std::string page = fmt::format(
      ".TH \"{}\" 1 \"\" \"Outboard {}\" \"Outboard\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {}\n",
      roff(name), OUTBOARD_VERSION, roff(name), roff(first), roff(words));
  if (!command.options.empty()) page += "[\\fIOPTIONS\\fR]\n";
  if (!command.commands.empty()) page += "\\fICOMMAND\\fR\n";
  for (const CLI::Option* positional : command.positionals) {
    const std::string word = "\\fI" + roff(positional->get_name()) + "\\fR";
    page += positional->get_required() ? word + "\n" : "[" + word + "]\n";
  }
  page += ".SH DESCRIPTION\n" + roff(description) + "\n";
  for (const CLI::Option* positional : command.positionals)
    page += fmt::format(".TP\n\\fI{}\\fR\n{}\n", roff(positional->get_name()),
                        roff(described(*positional)));
  if (!command.commands.empty()) {
    page += ".SH COMMANDS\n";
    for (const CLI::App* below : command.commands)
      page += fmt::format(".TP\n\\fB{}\\fR\n{}\n", roff(below->get_name()),
                          roff(below->get_description()));
  }
  if (!command.options.empty()) {
    page += ".SH OPTIONS\n";
    for (const CLI::Option* option : command.options)
      page += fmt::format(".TP\n{}\n{}\n", option_head(*option), roff(described(*option)));
  }
  if (const std::string footer = command.app->get_footer(); !footer.empty())
    page += ".SH EXAMPLES\n.nf\n" + roff(footer) + "\n.fi\n";
  page += ".SH SEE ALSO\n";
  return page + (command.path.empty() ? "outboard-run(1), outboard-serve(1), outboard-doctor(1)\n"
                                      : "outboard(1)\n");
}

// --- completions ---

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : " ") + word;
  return all;
}

std::vector<std::string> names_of(const std::vector<const CLI::App*>& apps) {
  std::vector<std::string> names;
  for (const CLI::App* app : apps) names.push_back(app->get_name());
  return names;
}

std::string bash_of(const std::vector<Command>& commands) {
  std::string out =
      "# Completion of outboard for bash: what follows what was typed.\n"
      "_outboard() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} path= commands= "
      "options= values= at\n"
      "  for ((at = 1; at < COMP_CWORD; at++)); do\n"
      "    case \"$path ${COMP_WORDS[at]}\" in\n";
  for (const Command& command : commands)
    if (!command.path.empty())
      out += fmt::format(
          "      \"{0}\") path=\"{1}\" ;;\n",
          command.path.find(' ') == std::string::npos ? " " + command.path : command.path,
          command.path);
  out += "    esac\n  done\n  case \"$path\" in\n";
  for (const Command& command : commands) {
    std::vector<std::string> words;
    for (const CLI::Option* option : command.options) {
      const auto own = words_of(*option);
      words.insert(words.end(), own.begin(), own.end());
    }
    out += fmt::format("    \"{}\")\n      commands=\"{}\"\n      options=\"{}\"\n", command.path,
                       joined(names_of(command.commands)), joined(words));
    out += "      case \"$before\" in\n";
    for (const CLI::Option* option : command.options) {
      if (!takes_value(*option)) continue;
      std::string names;
      for (const std::string& word : words_of(*option)) names += (names.empty() ? "" : "|") + word;
      const auto values = values_of(*option);
      out += fmt::format("        {}) values=\"{}\" options= commands= ;;\n", names,
                         values.empty() ? "-" : joined(values));
    }
    out += "      esac ;;\n";
  }
  return out +
         "  esac\n"
         "  COMPREPLY=()\n"
         "  if [[ -n $values && $values != - ]]; then\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$values\" -- \"$word\")\n"
         "  elif [[ $word == -* ]]; then\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n"
         "  elif [[ -n $commands ]]; then\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$commands\" -- \"$word\")\n"
         "  else\n"
         "    compopt -o filenames 2>/dev/null\n"
         "    mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
         "  fi\n"
         "}\n"
         "complete -F _outboard outboard\n";
}

// For zsh and fish: on one line, without what ends a description there.
std::string one_line(std::string_view text, std::string_view unwanted) {
  std::string out;
  for (const char c : text.substr(0, text.find('\n')))
    if (unwanted.find(c) == std::string_view::npos) out += c;
  return out;
}

std::string zsh_of(const std::vector<Command>& commands) {
  std::string out = "#compdef outboard\n# Completion of outboard for zsh.\n";
  const auto function_of = [](std::string path) {
    std::ranges::replace(path, ' ', '_');
    return path.empty() ? std::string("_outboard") : "_outboard_" + path;
  };
  constexpr std::string_view kUnwanted = "'[]:\\\"`$";
  for (const Command& command : commands) {
    out += function_of(command.path) + "() {\n";
    if (!command.commands.empty()) {
      out += "  local -a commands=(\n";
      for (const CLI::App* below : command.commands)
        out += fmt::format("    '{}:{}'\n", below->get_name(),
                           one_line(below->get_description(), kUnwanted));
      out += "  )\n";
    }
    out += command.commands.empty() ? "  _arguments -s" : "  _arguments -C -s";
    for (const CLI::Option* option : command.options)
      for (const std::string& word : words_of(*option)) {
        std::string value;
        if (takes_value(*option)) {
          const auto values = values_of(*option);
          value = values.empty() ? ":value:_files" : ":value:(" + joined(values) + ")";
        }
        out += fmt::format(" \\\n    '*{}[{}]{}'", word,
                           one_line(option->get_description(), kUnwanted), value);
      }
    if (command.commands.empty()) {
      out += " \\\n    '*:file:_files'\n}\n";
      continue;
    }
    out +=
        " \\\n    '1:command:->command' '*::argument:->argument'\n"
        "  case $state in\n"
        "    command) _describe command commands ;;\n"
        "    argument)\n      case $words[1] in\n";
    for (const CLI::App* below : command.commands)
      out +=
          fmt::format("        {}) {} ;;\n", below->get_name(),
                      function_of(command.path.empty() ? below->get_name()
                                                       : command.path + " " + below->get_name()));
    out += "      esac ;;\n  esac\n}\n";
  }
  return out + "_outboard \"$@\"\n";
}

std::string fish_of(const std::vector<Command>& commands) {
  std::string out = "# Completion of outboard for fish.\n";
  constexpr std::string_view kUnwanted = "'\\";
  for (const Command& command : commands) {
    std::string where = "__fish_use_subcommand";
    if (!command.path.empty()) {
      where.clear();
      for (size_t at = 0; at < command.path.size();) {
        const size_t end = std::min(command.path.find(' ', at), command.path.size());
        where += (where.empty() ? "" : "; and ") +
                 ("__fish_seen_subcommand_from " + command.path.substr(at, end - at));
        at = end + 1;
      }
    }
    for (const CLI::App* below : command.commands) {
      std::string here = where;
      if (!command.path.empty())
        here += "; and not __fish_seen_subcommand_from " + joined(names_of(command.commands));
      out += fmt::format("complete -c outboard -f -n '{}' -a {} -d '{}'\n", here, below->get_name(),
                         one_line(below->get_description(), kUnwanted));
    }
    for (const CLI::Option* option : command.options) {
      std::string line = fmt::format("complete -c outboard -n '{}'", where);
      for (const std::string& name : option->get_snames())
        line += name.size() == 1 ? " -s " + name : " -o " + name;
      for (const std::string& name : option->get_lnames()) line += " -l " + name;
      if (takes_value(*option)) {
        const auto values = values_of(*option);
        line += values.empty() ? " -r" : " -x -a '" + joined(values) + "'";
      }
      out += fmt::format("{} -d '{}'\n", line, one_line(option->get_description(), kUnwanted));
    }
  }
  return out;
}

void write(const fs::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) fail("{} can't be written", path.string());
}

void describe(const CLI::App& app, const fs::path& folder) {
  std::vector<Command> commands;
  add_commands(app, "", commands);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail("{} can't be made: {}", folder.string(), error.message());
  for (const Command& command : commands) {
    std::string name = command.path.empty() ? "outboard" : "outboard-" + command.path;
    std::ranges::replace(name, ' ', '-');
    write(folder / (name + ".1"), page_of(command));
  }
  write(folder / "outboard.bash", bash_of(commands));
  write(folder / "_outboard", zsh_of(commands));
  write(folder / "outboard.fish", fish_of(commands));
}

}  // namespace

void add_describe(CLI::App& app) {
  auto folder = std::make_shared<fs::path>();
  CLI::App* command =
      app.add_subcommand("describe", "Write manual pages and completions for shells to a folder");
  command->group("");  // for those who make packages
  command->add_option("FOLDER", *folder, "where they go")->required();
  command->callback([&app, folder] { describe(app, *folder); });
}

}  // namespace outboard::cli
