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
#include "support/terminal.h"
#include "text/unicode.h"

namespace outboard::cli {
namespace {

namespace fs = std::filesystem;

constexpr size_t kRemembered = 1000;  // lines
constexpr wchar_t kCtrlC = 3;

volatile std::sig_atomic_t interrupted = 0;
void set_interrupted(int) { interrupted = 1; }

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

// The next character of the terminal: 1, or 0 at the end.
int read_character(wchar_t* out) {
  std::string bytes;
  for (;;) {
    char byte = 0;
    const ssize_t count = ::read(STDIN_FILENO, &byte, 1);
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

// Around what is pasted, and to ask for that: bracketed paste (xterm's control sequences, 2004).
constexpr std::string_view kPasteOn = "\x1b[?2004h", kPasteOff = "\x1b[?2004l";
constexpr std::wstring_view kPasteEnds = L"\x1b[201~";
// Typed by nobody: puts in what the line begins with.
constexpr std::wstring_view kBeginKey = L"\x1b[9000~";

void to_terminal(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// A newline within an entry of the history, in its file.
constexpr char kNewlineInFile = '\v';

std::string exchanged(std::string text, char from, char to) {
  std::ranges::replace(text, from, to);
  return text;
}

}  // namespace

// What is typed is decoded here, but libedit asks the locale what it may show.
void choose_utf8_locale() {
  const auto speaks_utf8 = [] { return std::string_view(nl_langinfo(CODESET)) == "UTF-8"; };
  if (std::setlocale(LC_CTYPE, "") != nullptr && speaks_utf8()) return;
  for (const char* name : {"C.UTF-8", "C.utf8", "en_US.UTF-8", "UTF-8"})
    if (std::setlocale(LC_CTYPE, name) != nullptr && speaks_utf8()) return;
}

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
  State(fs::path file, Completions lines) : path(std::move(file)), completions(std::move(lines)) {
    choose_utf8_locale();
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
    el_set(editor, EL_GETCFN, &State::next_character);
    el_source(editor, nullptr);  // the user's .editrc
    // Ctrl-C comes as a signal, of which read_character() makes the key. The rest are keys that
    // terminals have and libedit does not know.
    el_set(editor, EL_ADDFN, "outboard-interrupt", "throw the line away", &State::interrupt);
    el_set(editor, EL_ADDFN, "outboard-paste", "take what is pasted", &State::paste);
    el_set(editor, EL_ADDFN, "outboard-begin", "put in what it begins with", &State::put_begin);
    el_set(editor, EL_ADDFN, "outboard-complete", "complete the line", &State::complete);
    constexpr std::array<std::array<const char*, 2>, 12> kKeys = {
        {{"^C", "outboard-interrupt"},
         {"^R", "em-inc-search-prev"},
         {"\\e[3~", "ed-delete-next-char"},
         {"\\e[H", "ed-move-to-beg"},
         {"\\e[F", "ed-move-to-end"},
         {"\\eOH", "ed-move-to-beg"},
         {"\\eOF", "ed-move-to-end"},
         {"\\e[1~", "ed-move-to-beg"},
         {"\\e[4~", "ed-move-to-end"},
         {"^I", "outboard-complete"},
         {"\\e[200~", "outboard-paste"},
         {"\\e[9000~", "outboard-begin"}}};
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
  static int next_character(EditLine* editor, wchar_t* out) {
    State& state = of(editor);
    if (state.queued.empty()) return read_character(out);
    *out = state.queued.front();
    state.queued.erase(0, 1);
    return 1;
  }
  static unsigned char put_begin(EditLine* editor, int /*key*/) {
    el_winsertstr(editor, of(editor).begin.c_str());
    return CC_REFRESH;
  }
  static unsigned char paste(EditLine* editor, int key) {
    std::wstring text;
    while (!text.ends_with(kPasteEnds)) {
      wchar_t c = 0;
      if (read_character(&c) == 0) return CC_EOF;
      if (c == kCtrlC && interrupted != 0) return interrupt(editor, key);
      if (c == L'\r') c = L'\n';
      constexpr wchar_t kEscape = 27;
      if (c >= L' ' || c == L'\n' || c == L'\t' || c == kEscape) text.push_back(c);
    }
    text.resize(text.size() - kPasteEnds.size());
    while (text.ends_with(L'\n')) text.pop_back();
    std::erase(text, L'\x1b');
    if (!text.empty()) el_winsertstr(editor, text.c_str());
    return CC_REFRESH;
  }
  static unsigned char complete(EditLine* editor, int /*key*/) {
    const LineInfoW* info = el_wline(editor);
    if (info->cursor != info->lastchar) return CC_ERROR;
    const std::string line =
        narrowed({info->buffer, static_cast<size_t>(info->lastchar - info->buffer)});
    const std::vector<std::string> lines = of(editor).completions(line);
    if (lines.empty()) return CC_ERROR;
    size_t same = lines.front().size();
    for (const std::string& one : lines) {
      const auto [end, other] = std::ranges::mismatch(one, lines.front());
      same = std::min(same, static_cast<size_t>(end - one.begin()));
    }
    if (same > line.size()) {
      el_winsertstr(editor, widened(lines.front().substr(line.size(), same - line.size())).c_str());
      return CC_REFRESH;
    }
    std::string list = "\n";
    for (const std::string& one : lines) list += one + "\n";
    to_terminal(list);
    return CC_REDISPLAY;
  }

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
    for (size_t i = first; i < lines.size(); ++i) enter(exchanged(lines[i], kNewlineInFile, '\n'));
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
    if (write(path, O_APPEND, exchanged(line, '\n', kNewlineInFile) + "\n")) return;
    notice("outboard: {}\nThe history of this conversation is not kept.\n",
           system_error("write", path.string()).message());
    path.clear();
  }

  fs::path path;
  EditLine* editor = nullptr;
  HistoryW* history = nullptr;
  Completions completions;
  std::string prompt, last, thrown;
  std::wstring begin, queued;
  bool was_interrupted = false;
  bool knows_paste = can_draw(STDOUT_FILENO);
  struct sigaction before = {};
};

LineEditor::LineEditor(fs::path history, Completions completions)
    : state_(std::make_unique<State>(std::move(history), std::move(completions))) {}
LineEditor::~LineEditor() = default;

LineEditor::Typed LineEditor::read(const std::string& prompt, std::string_view begin,
                                   bool remembers) {
  State& s = *state_;
  s.prompt = prompt;
  s.was_interrupted = false;
  s.thrown.clear();
  s.begin = widened(begin);
  s.queued = begin.empty() ? std::wstring() : std::wstring(kBeginKey);
  interrupted = 0;
  State::catch_interrupts(nullptr);
  if (s.knows_paste) to_terminal(kPasteOn);
  int count = 0;
  const wchar_t* typed = el_wgets(s.editor, &count);
  if (s.knows_paste) to_terminal(kPasteOff);
  if (s.was_interrupted || interrupted != 0) {
    to_terminal("^C\n");
    return {End::kInterrupt, s.thrown};
  }
  if (typed == nullptr || count <= 0) return {End::kEndOfInput, {}};
  std::string line = narrowed({typed, static_cast<size_t>(count)});
  while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
  if (remembers) s.remember(line);
  return {End::kLine, std::move(line)};
}

}  // namespace outboard::cli
