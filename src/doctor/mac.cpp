// A Mac's layers below the server, as macOS's own tools show them. Read only. What they say was
// taken from TinyGPU's sources (TinyGPUCLIRunner.swift) and from reports of people with such cards.
#include <algorithm>
#include <charconv>
#include <sstream>

#include "doctor/diagnoses.h"
#include "doctor/doctor.h"
#include "link/tinygpu_app.h"
#include "support/error.h"

namespace outboard::doctor {
namespace {

constexpr std::string_view kExtension = "org.tinygrad.tinygpu";
// The start of the SHA-256 of the program in the release that others drive cards with
// (tinygpu_releases, c0d024f9).
constexpr std::string_view kKnownBuild = "3ed8bbd9ec8e";

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string first_line_with(const std::string& text, std::string_view part) {
  for (const std::string& line : lines_of(text)) {
    if (contains(line, part)) return line;
  }
  return {};
}

std::string trimmed(std::string text) {
  const size_t first = text.find_first_not_of(" \t*");
  return first == std::string::npos ? ""
                                    : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

void add_with(Examination& out, std::string_view step, Verdict verdict, std::string_view name,
              std::string seen, std::string todo) {
  const Diagnosis& what = diagnosis(name);
  out.add({std::string(step), verdict, std::string(name), std::move(seen),
           std::string(what.meaning), std::move(todo), 0});
}

void examine_host(const CommandRunner& run, Examination& out) {
  const std::string machine = trimmed(run({"/usr/bin/uname", "-m"}).output);
  const std::string name = machine.substr(0, machine.find('\n'));
  out.add("host", name == "x86_64" ? Verdict::kBad : Verdict::kGood,
          name == "x86_64" ? "host.intel" : "ok", name);
}

bool examine_app(const CommandRunner& run, const std::string& app, Examination& out) {
  const CommandResult sum = run({"/usr/bin/shasum", "-a", "256", app});
  if (sum.status != 0) {
    add_with(out, "app", Verdict::kBad, "app.missing", app + " is not there",
             link::kInstallTinyGpu);
    return false;
  }
  const std::string hash = sum.output.substr(0, sum.output.find(' '));
  if (hash.starts_with(kKnownBuild)) {
    out.add("app", Verdict::kGood, "ok", "the known build, " + hash.substr(0, 12));
  } else {
    out.add("app", Verdict::kNote, "app.other-build", "build " + hash.substr(0, 12));
  }
  return true;
}

// A line of `systemextensionsctl list` ends in the state: [activated enabled],
// [activated waiting for user], [activated disabled], [terminated waiting to uninstall on reboot].
void examine_extension(const CommandRunner& run, Examination& out) {
  const std::string list = run({"/usr/bin/systemextensionsctl", "list"}).output;
  std::string state;
  for (const std::string& line : lines_of(list)) {
    if (!contains(line, kExtension)) continue;
    const size_t bracket = line.rfind('[');
    state = bracket == std::string::npos ? trimmed(line) : line.substr(bracket);
    if (contains(state, "activated enabled")) break;  // older versions may be listed, too
  }
  if (state.empty()) {
    out.add("extension", Verdict::kBad, "extension.missing", "systemextensionsctl lists none");
  } else if (contains(state, "activated enabled")) {
    out.add("extension", Verdict::kGood, "ok", state);
  } else if (contains(state, "waiting for user")) {
    add_with(out, "extension", Verdict::kBad, "extension.waiting", state, link::kApproveTinyGpu);
  } else if (contains(state, "disabled")) {
    add_with(out, "extension", Verdict::kBad, "extension.disabled", state, link::kApproveTinyGpu);
  } else if (contains(state, "uninstall on reboot")) {
    out.add("extension", Verdict::kBad, "extension.restart", state);
  } else {
    out.add("extension", Verdict::kBad, "extension.missing", state);
  }
}

// Properties of ioreg: "vendor-id" = <02100000>, little-endian.
bool has_amd_display(const std::string& registry) {
  bool vendor = false, display = false, found = false;
  for (const std::string& line : lines_of(registry)) {
    if (contains(line, "+-o ")) {
      found = found || (vendor && display);
      vendor = display = false;
    }
    if (contains(line, "\"vendor-id\" = <0210")) vendor = true;
    if (contains(line, "\"class-code\" = <") && contains(line, "0300>")) display = true;
  }
  return found || (vendor && display);
}

void examine_enclosure(const CommandRunner& run, Examination& out) {
  const std::string registry =
      run({"/usr/sbin/ioreg", "-r", "-c", "IOPCIDevice", "-d", "1", "-w", "0"}).output;
  if (contains(registry, "pci-dart-error-data")) {
    out.add("memory protection", Verdict::kBad, "dart.error",
            trimmed(first_line_with(registry, "pci-dart-error-data")));
  }
  if (has_amd_display(registry)) {
    out.add("bus", Verdict::kGood, "ok", "macOS sees an AMD display device");
    return;
  }
  const std::string thunderbolt =
      run({"/usr/sbin/system_profiler", "SPThunderboltDataType"}).output;
  const std::string device = trimmed(first_line_with(thunderbolt, "Device Name:"));
  // The Mac's own ports are listed with its name; an enclosure has a vendor of its own.
  std::string enclosure;
  for (const std::string& line : lines_of(thunderbolt)) {
    if (contains(line, "Vendor Name:") && !contains(line, "Apple")) enclosure = trimmed(line);
  }
  if (enclosure.empty()) {
    out.add("enclosure", Verdict::kBad, "enclosure.absent",
            device.empty() ? "system_profiler lists no Thunderbolt device" : device);
  } else {
    out.add("enclosure", Verdict::kBad, "card.unpowered",
            enclosure + "; ioreg shows no AMD display device");
  }
}

// `ps`: process, state, processor time, command.
void examine_processes(const CommandRunner& run, Examination& out) {
  const std::string list = run({"/bin/ps", "-axo", "pid=,state=,%cpu=,command="}).output;
  int extensions = 0;
  for (const std::string& line : lines_of(list)) {
    if (contains(line, kExtension) && contains(line, "driver")) ++extensions;
    if (!contains(line, "TinyGPU server")) continue;
    std::istringstream words(line);
    std::string pid, state;
    words >> pid >> state;
    if (state.starts_with('U'))
      out.add("server process", Verdict::kBad, "server.stuck",
              fmt::format("process {} is in state {}", pid, state));
  }
  constexpr int kMany = 8;
  if (extensions > kMany)
    out.add("extension processes", Verdict::kWarning, "extension.leak",
            fmt::format("{} processes of the extension run", extensions));
}

void examine_power(const CommandRunner& run, Examination& out) {
  const CommandResult power = run({"/usr/bin/pmset", "-g", "batt"});
  if (contains(power.output, "'Battery Power'"))
    out.add("power", Verdict::kWarning, "power.laptop", trimmed(lines_of(power.output).front()));
}

}  // namespace

void examine_mac(const CommandRunner& run, const std::string& app, Examination& out) {
  examine_host(run, out);
  if (examine_app(run, app, out)) examine_extension(run, out);
  examine_processes(run, out);
  examine_enclosure(run, out);
  examine_power(run, out);
}

}  // namespace outboard::doctor
