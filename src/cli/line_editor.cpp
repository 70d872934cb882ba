#include "cli/line_editor.h"

#include <fcntl.h>
#include <histedit.h>
#include <langinfo.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <vector>

#include "support/error.h"
#include "support/notice.h"
#include "text/unicode.h"

namespace outboard::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kRemembered = 1000;  // lines
constexpr wchar_t kCtrlC = 3;

volatile std::sig_atomic_t interrupted = 0;
void set_interrupted(int) { interrupted = 1; }

// What is typed is decoded here, but libedit asks the locale what it may show.
void choose_locale() {
  const auto speaks_utf8 = [] { return std::string_view(nl_langinfo(CODESET)) == "UTF-8"; };
  if (std::setlocale(LC_CTYPE, "") != nullptr && speaks_utf8()) return;
  for (const char* name : {"C.UTF-8", "C.utf8", "en_US.UTF-8", "UTF-8"})
    if (std::setlocale(LC_CTYPE, name) != nullptr && speaks_utf8()) return;
}

std::wstring widened(std::string_view text) {
  std::wstring wide;
  for (size_t at = 0; at < text.size();) {
    const text::DecodedCharacter c = text::decode_character(text, at);
    wide.push_back(static_cast<wchar_t>(c.length != 0 ? c.code : char32_t{0xFFFD}));
    at += std::max<size_t>(1, c.length);
  }
  return wide;
}

std::string narrowed(std::wstring_view wide) {
  std::string text;
  for (const wchar_t c : wide) text::append_utf8(static_cast<char32_t>(c), text);
  return text;
}

// The next character, for libedit: 1, or 0 at the end.
int read_character(EditLine* editor, wchar_t* out) {
  int file = STDIN_FILENO;
  FILE* stream = nullptr;
  if (el_get(editor, EL_GETFP, 0, &stream) == 0 && stream != nullptr) file = ::fileno(stream);
  std::string bytes;
  for (;;) {
    char byte = 0;
    const ssize_t count = ::read(file, &byte, 1);
    if (count < 0 && errno == EINTR) {
      if (interrupted == 0) continue;  // the window has changed, or the program was continued
      *out = kCtrlC;
      return 1;
    }
    if (count <= 0) return 0;
    bytes.push_back(byte);
    const text::DecodedCharacter c = text::decode_character(bytes, 0);
    if (c.length != 0) {
      *out = static_cast<wchar_t>(c.code);
      return 1;
    }
    bool truncated = false;
    text::malformed_length(bytes, 0, &truncated);
    if (!truncated) {
      *out = 0xFFFD;
      return 1;
    }
  }
}

}  // namespace

fs::path history_file() {
  const auto folder = [](const char* name) -> fs::path {
    const char* value = std::getenv(name);
    return value != nullptr && *value == '/' ? fs::path(value) : fs::path();
  };
  const fs::path home = folder("HOME");
#if defined(__APPLE__)
  return home.empty() ? home : home / "Library/Application Support/outboard/history";
#else
  if (const fs::path state = folder("XDG_STATE_HOME"); !state.empty())
    return state / "outboard/history";
  return home.empty() ? home : home / ".local/state/outboard/history";
#endif
}

struct LineEditor::State {
  explicit State(fs::path file) : path(std::move(file)) {
    choose_locale();
    editor = el_init("outboard", stdin, stdout, stderr);
    history = history_winit();
    if (editor == nullptr || history == nullptr) {
      close();
      throw Error("chat: the line editor could not be started",
                  "Is TERM set to the kind of this terminal?");
    }
    HistEventW event;
    history_w(history, &event, H_SETSIZE, static_cast<int>(kRemembered));
    history_w(history, &event, H_SETUNIQUE, 1);
    el_set(editor, EL_CLIENTDATA, this);
    el_set(editor, EL_PROMPT, &State::show_prompt);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_SIGNAL, 1);
    el_wset(editor, EL_HIST, history_w, history);
    el_set(editor, EL_GETCFN, read_character);
    el_source(editor, nullptr);  // the user's .editrc
    // Ctrl-C comes as a signal, of which read_character() makes the key. The rest are keys that
    // terminals have and libedit does not know.
    el_set(editor, EL_ADDFN, "outboard-interrupt", "throw the line away", &State::interrupt);
    el_set(editor, EL_ADDFN, "outboard-nothing", "do nothing", &State::nothing);
    constexpr std::array<std::array<const char*, 2>, 11> kKeys = {
        {{"^C", "outboard-interrupt"},
         {"^R", "em-inc-search-prev"},
         {"\\e[3~", "ed-delete-next-char"},
         {"\\e[H", "ed-move-to-beg"},
         {"\\e[F", "ed-move-to-end"},
         {"\\eOH", "ed-move-to-beg"},
         {"\\eOF", "ed-move-to-end"},
         {"\\e[1~", "ed-move-to-beg"},
         {"\\e[4~", "ed-move-to-end"},
         {"\\e[200~", "outboard-nothing"},  // around what is pasted
         {"\\e[201~", "outboard-nothing"}}};
    for (const auto& [key, function] : kKeys) el_set(editor, EL_BIND, key, function, nullptr);
    load();
    catch_interrupts(&before);
  }
  ~State() {
    sigaction(SIGINT, &before, nullptr);
    close();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void close() {
    if (editor != nullptr) el_end(editor);
    if (history != nullptr) history_wend(history);
  }

  static State& of(EditLine* editor) {
    void* state = nullptr;
    el_get(editor, EL_CLIENTDATA, &state);
    return *static_cast<State*>(state);
  }
  static char* show_prompt(EditLine* editor) { return of(editor).prompt.data(); }
  static unsigned char interrupt(EditLine* editor, int /*key*/) {
    State& state = of(editor);
    state.was_interrupted = true;
    const LineInfoW* info = el_wline(editor);
    state.thrown = narrowed({info->buffer, static_cast<size_t>(info->lastchar - info->buffer)});
    return CC_EOF;
  }
  static unsigned char nothing(EditLine* /*editor*/, int /*key*/) { return CC_NORM; }

  // Also between two lines: a Ctrl-C that comes too late for an answer ends nothing.
  static void catch_interrupts(struct sigaction* old) {
    struct sigaction action = {};
    action.sa_handler = set_interrupted;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, old);  // without SA_RESTART: it ends the waiting for a key
  }

  void enter(std::string_view line) {
    HistEventW event;
    history_w(history, &event, H_ENTER, widened(line).c_str());
  }

  void load() {
    if (path.empty()) return;
    std::vector<std::string> lines;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    const size_t first = lines.size() > kRemembered ? lines.size() - kRemembered : 0;
    for (size_t i = first; i < lines.size(); ++i) enter(lines[i]);
    if (lines.size() > 2 * kRemembered) shorten(lines, first);
  }

  // A file that has grown long is written anew.
  void shorten(const std::vector<std::string>& lines, size_t first) {
    std::string text;
    for (size_t i = first; i < lines.size(); ++i) text += lines[i] + "\n";
    const fs::path beside = path.string() + ".new";
    std::error_code error;
    if (write(beside, O_TRUNC, text)) fs::rename(beside, path, error);
    if (error) fs::remove(beside, error);
  }

  static bool write(const fs::path& file, int how, std::string_view text) {
    const int opened = ::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | how, 0600);
    if (opened < 0) return false;
    ::fchmod(opened, 0600);
    const ssize_t count = ::write(opened, text.data(), text.size());
    const int kept = errno;
    ::close(opened);
    errno = kept;
    return count == static_cast<ssize_t>(text.size());
  }

  // At once, so that no way to end loses it, and sessions side by side keep each other's lines.
  void remember(const std::string& line) {
    if (line.empty() || line == last) return;
    last = line;
    enter(line);
    if (path.empty()) return;
    std::error_code ignored;  // what is missing shows when the file is opened
    fs::create_directories(path.parent_path(), ignored);
    if (write(path, O_APPEND, line + "\n")) return;
    notice("outboard: {}\nThe history of this conversation is not kept.\n",
           system_error("write", path.string()).message());
    path.clear();
  }

  fs::path path;
  EditLine* editor = nullptr;
  HistoryW* history = nullptr;
  std::string prompt, last, thrown;
  bool was_interrupted = false;
  struct sigaction before = {};
};

LineEditor::LineEditor(fs::path history) : state_(std::make_unique<State>(std::move(history))) {}
LineEditor::~LineEditor() = default;

LineEditor::Typed LineEditor::read(const std::string& prompt) {
  State& s = *state_;
  s.prompt = prompt;
  s.was_interrupted = false;
  s.thrown.clear();
  interrupted = 0;
  State::catch_interrupts(nullptr);
  int count = 0;
  const wchar_t* typed = el_wgets(s.editor, &count);
  if (s.was_interrupted || interrupted != 0) {
    std::fputs("^C\n", stdout);
    std::fflush(stdout);
    return {End::kInterrupt, s.thrown};
  }
  if (typed == nullptr || count <= 0) return {End::kEndOfInput, {}};
  std::string line = narrowed({typed, static_cast<size_t>(count)});
  while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
  s.remember(line);
  return {End::kLine, std::move(line)};
}

}  // namespace outboard::cli
