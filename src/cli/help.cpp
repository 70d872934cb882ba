#include "cli/help.h"

#include <algorithm>
#include <vector>

#include "cli/options.h"
#include "cli/words.h"
#include "support/error.h"
#include "support/terminal.h"

namespace outboard::cli {
namespace {

constexpr size_t kWidest = 80, kNarrowest = 30;
constexpr size_t kNames = 26;  // columns of a list's names
constexpr size_t kEnoughToRead = 34;

size_t help_width() {
  const size_t columns = terminal_columns(1);
  return columns == 0 ? kWidest : std::clamp(columns, kNarrowest, kWidest);
}

// A name, and what is to say about it beside or below.
std::string entry(const std::string& name, const std::string& about) {
  const size_t width = help_width();
  const bool beside = width >= kNames + kEnoughToRead;
  const size_t indent = beside ? kNames : 6;
  std::string out = "  " + name;
  if (about.empty()) return out + "\n";
  std::string text = wrapped(about, width, indent);
  if (beside && out.size() + 2 <= indent) {
    out.resize(indent, ' ');
    return out + text.substr(indent);
  }
  return out + "\n" + text;
}

class Help final : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    std::string name = make_option_name(option, is_positional);
    std::ranges::replace(name, ',', ' ');
    for (size_t at = 0; (at = name.find(' ', at)) != std::string::npos; at += 2)
      name.replace(at, 1, ", ");
    std::string about = make_option_desc(option);
    if (!is_positional && option->get_items_expected_max() > 0) name += " " + value_of(*option);
    if (is_positional && option->get_expected_max() >= CLI::detail::expected_max_vector_size)
      name += " ...";
    if (!option->get_default_str().empty() && option->get_default_str() != "\"\"")
      about += " [" + option->get_default_str() + "]";
    return entry(name, about);
  }
  std::string make_subcommand(const CLI::App* command) const override {
    std::string name = command->get_name();
    for (const std::string& alias : command->get_aliases()) name += ", " + alias;
    return entry(name, command->get_description());
  }
  std::string make_subcommands(const CLI::App* app, CLI::AppFormatMode mode) const override {
    std::string text = CLI::Formatter::make_subcommands(app, mode);
    constexpr std::string_view kTheirs = "Subcommands:";
    if (const size_t at = text.find(kTheirs); at != std::string::npos)
      text.replace(at, kTheirs.size(), "Commands:");
    return text;
  }
  std::string make_description(const CLI::App* app) const override {
    return wrapped(app->get_description(), help_width());
  }
  std::string make_footer(const CLI::App* app) const override {
    return wrapped(app->get_footer(), help_width());
  }

 private:
  static std::string value_of(const CLI::Option& option) {
    const std::string type = option.get_type_name();
    if (type.starts_with("INT") || type.starts_with("UINT")) return "N";
    if (type.starts_with("FLOAT")) return "X";
    if (type.starts_with("TEXT") || type.empty()) return "TEXT";
    return type.substr(0, type.find_first_of(":{ "));
  }
};

}  // namespace

std::shared_ptr<CLI::FormatterBase> help_formatter() {
  auto help = std::make_shared<Help>();
  help->label("Positionals", "Arguments");
  help->label("SUBCOMMAND", "COMMAND");
  return help;
}

std::string wrapped(std::string_view text, size_t width, size_t indent) {
  std::string out;
  const std::string margin(indent, ' ');
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.starts_with(' ') || line.starts_with("Example")) {  // meant as it is
      out += margin + std::string(line) + "\n";
      continue;
    }
    std::string row;
    for (size_t at = 0; at < line.size();) {
      const size_t space = std::min(line.find(' ', at), line.size());
      const std::string_view word = line.substr(at, space - at);
      at = space + 1;
      if (!row.empty() && indent + row.size() + 1 + word.size() > width) {
        out += margin + row + "\n";
        row.clear();
      }
      if (!row.empty()) row += ' ';
      row += word;
    }
    out += row.empty() ? "\n" : margin + row + "\n";
  }
  return out;
}

void add_help(CLI::App& app) {
  auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* help = app.add_subcommand("help", "Say more about a command");
  help->add_option("COMMAND", *words, "the command; sim has several words");
  help->footer("Example: outboard help run");
  help->callback([&app, words] {
    const CLI::App* command = command_of(app, *words);
    // The words are checked as a command line is: a wrong one gets the nearest.
    if (!words->empty()) understood(app, *words);
    print(help_formatter()->make_help(command, name_of(*command), CLI::AppFormatMode::Normal));
  });
  CLI::App* version = app.add_subcommand("version", "Say which version this is");
  version->footer("Example: outboard version");
  version->callback([] { print(OUTBOARD_VERSION "\n"); });
}

}  // namespace outboard::cli
