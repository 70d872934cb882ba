// outboard sim serve: the simulated card behind a socket.
#include <bit>
#include <csignal>
#include <cstdio>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "cli/options.h"
#include "cli/recording.h"
#include "cli/sim.h"
#include "link/protocol.h"
#include "simulator/card/card.h"
#include "simulator/server/server.h"
#include "support/error.h"
#include "support/output_file.h"

namespace outboard::cli {
namespace {

constexpr uint64_t kSmallest = uint64_t{256} << 20U;  // of BAR 0 and of memory

struct ServeOptions {
  std::string socket;
  std::string tcp;
  std::string card = "xtx";
  std::string bar;   // empty: the card's
  std::string vram;  // empty: the card's
  std::string faults;
  std::vector<std::string> moods;
  std::string trace;
  std::string strict = "on";
  std::string link;  // empty: takes no time
  uint64_t seed = 1;
  int threads = 0;
  bool once = false;
  bool json = false;
};

// A file that lines are written to, by one thread at a time. What fails is told at the end: a
// client must not suffer from it.
class TraceFile {
 public:
  explicit TraceFile(const std::string& path) : file_(path) {}
  void line(const std::string& text) {
    constexpr size_t kMostBuffered = 1 << 16;
    buffer_ += text;
    buffer_ += '\n';
    if (buffer_.size() > kMostBuffered) flush();
  }
  void flush() {
    try {
      if (!failure_) file_.write(buffer_);
    } catch (const Error& e) {
      failure_ = e;
    }
    buffer_.clear();
  }
  void finish() {
    flush();
    if (failure_) throw Error(*failure_);
    file_.finish();
  }
  // After an error of the server: the trace may say what led to it.
  void keep() {
    flush();
    file_.keep(file_.bytes_written());
  }

 private:
  OutputFile file_;
  std::string buffer_;
  std::optional<Error> failure_;
};

// Ctrl-C and SIGTERM end the server in order: the signals are blocked everywhere and one thread
// waits for them.
class StopOnSignal {
 public:
  StopOnSignal() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGUSR1);  // ends the waiting thread
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  }
  ~StopOnSignal() {
    if (thread_.joinable()) {
      pthread_kill(thread_.native_handle(), SIGUSR1);
      thread_.join();
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;
  void watch(simulator::server::Server& server) {
    thread_ = std::thread([this, &server] {
      int number = 0;
      if (sigwait(&signals_, &number) == 0 && number != SIGUSR1) server.stop();
    });
  }

 private:
  sigset_t signals_{};
  sigset_t before_{};
  std::thread thread_;
};

nlohmann::ordered_json counters_json(const simulator::card::CardCounters& c) {
  nlohmann::ordered_json mmio = nlohmann::ordered_json::object();
  for (int bar = 0; bar < 6; ++bar) {
    if (c.mmio_reads[bar] + c.mmio_writes[bar] == 0) continue;
    mmio[std::to_string(bar)] = {{"reads", c.mmio_reads[bar]},
                                 {"read_bytes", c.mmio_read_bytes[bar]},
                                 {"writes", c.mmio_writes[bar]},
                                 {"write_bytes", c.mmio_write_bytes[bar]}};
  }
  const auto& k = c.compute;
  return {{"link",
           {{"config_reads", c.config_reads},
            {"config_writes", c.config_writes},
            {"bar", mmio},
            {"doorbells", c.doorbells},
            {"system_regions", c.system_regions},
            {"system_bytes", c.system_bytes},
            {"resets", c.resets}}},
          {"dma", {{"read_bytes", c.dma_read_bytes}, {"write_bytes", c.dma_write_bytes}}},
          {"engines",
           {{"pm4_packets", c.pm4_packets},
            {"sdma_packets", c.sdma_packets},
            {"aql_packets", c.aql_packets},
            {"sdma_bytes", c.sdma_bytes},
            {"interrupts", c.interrupts},
            {"page_faults", c.page_faults},
            {"page_walks", c.page_walks},
            {"tlb_invalidates", c.tlb_invalidates}}},
          {"compute", compute_json(k)}};
}

void report(const simulator::card::Card& card, const ServeOptions& options) {
  const auto events = card.events();
  const auto violations = card.violations();
  static constexpr const char* kKinds[] = {"driver error", "not simulated", "fault", "note"};
  if (options.json) {
    nlohmann::ordered_json out = counters_json(card.counters());
    for (const auto& event : events) {
      out["events"].push_back({{"kind", kKinds[static_cast<size_t>(event.kind)]},
                               {"where", event.where},
                               {"text", event.text}});
    }
    for (const auto& violation : violations) {
      out["violations"].push_back({{"rule", violation.rule}, {"text", violation.text()}});
    }
    out["violation_count"] = card.violation_count();
    print(out.dump(2) + "\n");
    return;
  }
  print("Counted:\n" + counters_json(card.counters()).dump(2) + "\n");
  for (const auto& event : events) {
    print(fmt::format("{}: {}: {}\n", kKinds[static_cast<size_t>(event.kind)], event.where,
                      event.text));
  }
  for (const auto& violation : violations) print("broken rule: " + violation.text() + "\n");
  const uint64_t count = card.violation_count();
  if (count > violations.size()) print(fmt::format("and {} more\n", count - violations.size()));
  if (count == 0) print("No rule of the compute units was broken.\n");
}

void serve(const ServeOptions& options) {
  if (options.socket.empty() == options.tcp.empty()) {
    throw Error("sim serve: say where: --socket PATH or --tcp HOST:PORT, one of them",
                "For example: outboard sim serve --tcp 127.0.0.1:6667");
  }
  StopOnSignal signals;
  simulator::card::CardOptions card_options(simulator::card::card_model(options.card));
  const simulator::card::CardModel& model = *card_options.model;
  if (!options.bar.empty()) {
    card_options.bar0_bytes = parse_bytes(options.bar);
    if (!std::has_single_bit(card_options.bar0_bytes) || card_options.bar0_bytes < kSmallest ||
        card_options.bar0_bytes > model.bar0_bytes)
      throw Error(fmt::format("--bar {}: no size of BAR 0 that this card offers", options.bar),
                  fmt::format("A power of two from 256M to {}G.", model.bar0_bytes >> 30U));
  }
  if (!options.vram.empty()) {
    card_options.vram_bytes = parse_bytes(options.vram);
    if (card_options.vram_bytes < kSmallest || card_options.vram_bytes > model.vram_bytes)
      throw Error(fmt::format("--vram {}: the card has no such memory", options.vram),
                  fmt::format("From 256M to {}G.", model.vram_bytes >> 30U));
  }
  card_options.seed = options.seed;
  card_options.threads = static_cast<unsigned>(options.threads);
  card_options.strict = options.strict == "on";
  if (!options.faults.empty()) {
    card_options.faults =
        simulator::card::FaultPlan::parse(read_text(options.faults), options.faults);
  }
  card_options.moods = simulator::card::Moods::parse(options.moods);
  if (!options.link.empty()) card_options.link = simulator::cost::link_model(options.link);
  std::unique_ptr<TraceFile> trace;
  simulator::server::ServerOptions server_options;
  if (!options.trace.empty()) {
    check_writable(options.trace, "--trace");
    trace = std::make_unique<TraceFile>(options.trace);
    server_options.trace = [&trace](const std::string& text) { trace->line(text); };
  }
  server_options.once = options.once;
  server_options.say = [&trace](const std::string& text) {
    if (trace) trace->flush();
    std::fprintf(stderr, "%s\n", text.c_str());
  };
  server_options.dialect = options.tcp.empty() ? simulator::server::Dialect::kTinyGpu
                                               : simulator::server::Dialect::kRemote;
  const link::HostPort address = link::parse_host_port(options.tcp, link::protocol::kRemotePort);
  link::Listener listener = options.tcp.empty() ? link::Listener::unix_socket(options.socket)
                                                : link::Listener::tcp(address.host, address.port);
  simulator::card::Card card(card_options);
  simulator::server::Server server(card, std::move(listener), server_options);
  signals.watch(server);
  const std::string host = address.host.empty() ? "127.0.0.1" : address.host;
  const std::string where =
      options.tcp.empty() ? options.socket : fmt::format("{}:{}", host, server.port());
  std::fprintf(stderr, "A simulated %s listens on %s. Connect with:\n",
               std::string(card_options.model->title).c_str(), where.c_str());
  if (options.tcp.empty()) {
    std::fprintf(stderr, "  APL_REMOTE_SOCK=%s DEV=PCI+AMD:LLVM python3 your_tinygrad_program.py\n",
                 where.c_str());
  } else {
    std::fprintf(stderr, "  REMOTE=%s DEV=PCI+AMD:LLVM python3 your_tinygrad_program.py\n",
                 where.c_str());
  }
  std::fprintf(stderr, "Ctrl-C ends it and prints what was counted.\n");
  try {
    server.run();
  } catch (...) {
    if (trace) trace->keep();
    throw;
  }
  if (trace) trace->finish();
  card.settle();
  report(card, options);
}

}  // namespace

void add_sim_serve(CLI::App& sim) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command = sim.add_subcommand(
      "serve", "Serves a simulated card to any client of TinyGPU.app or tinygrad's remote server");
  command->add_option("--socket", options->socket,
                      "Unix socket: TinyGPU.app's protocol, system memory by descriptor");
  command->add_option("--tcp", options->tcp, "HOST:PORT: tinygrad's remote protocol (port 0: any)");
  command
      ->add_option("--card", options->card,
                   "Which: an RX 7900 xtx, xt or gre; they differ in compute units and memory")
      ->capture_default_str();
  command->add_option("--bar", options->bar,
                      "Size of BAR 0: from 256M to 32G, of a gre 16G (default: the largest)");
  command->add_option("--vram", options->vram,
                      "Video memory (default 24G, of an xt 20G, of a gre 16G; used as touched)");
  command->add_option("--seed", options->seed, "Page addresses and what memory holds at power-on");
  command->add_option("--faults", options->faults, "JSON file of faults to inject")
      ->type_name("FILE");
  command->add_option("--mood", options->moods, kMoodHelp)->type_name("NAME")->delimiter(',');
  command
      ->add_option("--link", options->link,
                   std::string("Takes the time of a real one: ") + kLinkHelp)
      ->type_name("NAME");
  command->add_option("--trace", options->trace, "Writes a line for each request")
      ->type_name("FILE");
  command->add_option("--strict", options->strict, "on: report broken rules (default); off: faster")
      ->check(CLI::IsMember({"on", "off"}));
  add_threads_option(*command, options->threads);
  command->add_flag("--once", options->once, "End when the first client has gone");
  command->add_flag("--json", options->json, "What was counted, as JSON on standard output");
  command->footer("Example: outboard sim serve --tcp 127.0.0.1:6667");
  command->callback([options] { serve(*options); });
}

}  // namespace outboard::cli
