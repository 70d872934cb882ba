// outboard ps: what a running server holds.
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "hub/http.h"
#include "support/error.h"
#include "support/notice.h"
#include "support/progress.h"

namespace outboard::cli {
namespace {

using Json = nlohmann::ordered_json;

struct PsOptions {
  std::string server = "http://127.0.0.1:11434";
  std::string key;
  bool json = false;
};

// "2026-11-30T08:15:30Z" and what follows a second: "until 08:15" would need the day, too.
std::string without_fraction(std::string time) {
  const size_t point = time.find('.');
  if (point != std::string::npos) time.resize(point);
  for (char& c : time)
    if (c == 'T') c = ' ';
  if (time.ends_with('Z')) time.pop_back();
  return time;
}

void ps(const PsOptions& options) {
  std::string address = options.server;
  if (address.find("://") == std::string::npos) address = "http://" + address;
  while (address.ends_with('/')) address.pop_back();
  const std::string start = "`outboard serve` starts one; --server says where another one is.";
  hub::HttpAnswer answer;
  try {
    answer =
        hub::ask({.url = address + "/api/ps", .headers = {}, .bearer = options.key, .seconds = 10});
  } catch (const Error& e) {
    throw Error(fmt::format("ps: no server answers: {}", e.message()), start);
  }
  if (answer.status == 401 || answer.status == 403)
    throw Error(fmt::format("ps: {} wants a key", address), "Give it with --api-key.");
  const Json said = Json::parse(answer.body, nullptr, false);
  if (answer.status != 200 || !said.is_object() || !said.contains("models") ||
      !said["models"].is_array())
    throw Error(fmt::format("ps: {} answered with status {}, and not with a list of models",
                            address, answer.status),
                start);
  if (options.json) return print(said.dump(2) + "\n");
  if (said["models"].empty()) {
    notice("{} has no model loaded: the first that is asked for will be.\n", address);
    return;
  }
  std::string out = fmt::format("{:<32} {:>9} {:<9} {:>8}  {}\n", "NAME", "SIZE", "DEVICE",
                                "CONTEXT", "UNTIL (UTC)");
  for (const Json& model : said["models"]) {
    const auto size = model.value("size", uint64_t{0});
    out += fmt::format(
        "{:<32} {:>9} {:<9} {:>8}  {}\n", model.value("name", "?"), format_bytes(size),
        model.value("size_vram", uint64_t{0}) > 0 ? "card" : "processor",
        model.value("context_length", int64_t{0}), without_fraction(model.value("expires_at", "")));
  }
  print(out);
}

}  // namespace

void add_ps(CLI::App& app) {
  auto options = std::make_shared<PsOptions>();
  CLI::App* command = app.add_subcommand("ps", "Show what a running server has loaded");
  command->add_option("--server", options->server, "where it listens")->capture_default_str();
  command->add_option("--api-key", options->key, "the server's key, if it wants one");
  command->add_flag("--json", options->json, "as JSON");
  command->footer("Example: outboard ps --server 127.0.0.1:11434");
  command->callback([options] { ps(*options); });
}

}  // namespace outboard::cli
