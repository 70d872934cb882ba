// outboard sim replay: a recording of a real card, played against the simulated one.
#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "cli/sim.h"
#include "devices/amd/driver/memory.h"
#include "formats/zip_archive.h"
#include "hardware/amd/navi31/discovery.h"
#include "hardware/amd/navi31/interrupts.h"
#include "link/traffic.h"
#include "simulator/card/replay.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::cli {
namespace {

namespace layout = devices::amd::driver::layout;
namespace hw = hardware::amd::navi31;

struct ReplayArguments {
  std::string file;
  std::string vram, bar;
  std::string faults;
  int threads = 0;
  size_t most = 40;
  bool json = false;
};

struct VramPlace {
  hardware::VramOffset offset;
  uint64_t bytes;
  std::string_view name;
};
constexpr uint64_t kPage = 4096;
constexpr VramPlace kInterruptRing = {layout::kInterruptRing, 512 << 10, "interrupt ring"};
constexpr std::array<VramPlace, 9> kPlaces = {{
    {layout::kPspCommand, kPage, "PSP command and answer"},
    {layout::kPspFence, kPage, "PSP fence"},
    {layout::kQueueDescriptor, kPage, "queue descriptor"},
    {layout::kBootMark, kPage, "mark of a boot under way"},
    {layout::kSmuTable, 16 << 10, "SMU table"},
    {layout::kPspRing, 64 << 10, "PSP ring"},
    {layout::kKept, 64 << 10, "what the last boot kept"},
    kInterruptRing,
    {layout::kPageTables, layout::kPageTablesEnd - layout::kPageTables, "page tables"},
}};

std::string name_vram(hardware::VramOffset offset) {
  for (const VramPlace& place : kPlaces) {
    if (offset >= place.offset && offset < place.offset + place.bytes)
      return std::string(place.name);
  }
  // It lies before the end of memory, which is a whole number of MiB.
  const uint64_t to_end = layout::kMiB - value(offset) % layout::kMiB;
  if (offset >= layout::kBootEnd && to_end <= hw::discovery::DISCOVERY_TMR_OFFSET)
    return "IP discovery table";
  return {};
}

// Interrupts carry the time at which they were raised.
void blank_vram(hardware::VramOffset offset, std::span<std::byte> bytes) {
  constexpr uint64_t kEntryBytes = 32;
  const auto is_time = [](uint64_t dword) {
    return dword == hw::ih::Entry::TIMESTAMP_LO.dword || dword == hw::ih::Entry::TIMESTAMP_HI.dword;
  };
  for (size_t i = 0; i < bytes.size(); ++i) {
    const hardware::VramOffset at = offset + i;
    if (at < kInterruptRing.offset || at >= kInterruptRing.offset + kInterruptRing.bytes) continue;
    if (is_time((at - kInterruptRing.offset) % kEntryBytes / 4)) bytes[i] = std::byte{0};
  }
}

// The stream, out of a report or as it is.
std::vector<std::byte> load_stream(const std::string& path) {
  const MappedFile file(path);
  if (!formats::is_zip(file.bytes())) return {file.bytes().begin(), file.bytes().end()};
  const formats::ZipArchive archive(file.bytes());
  const formats::ZipArchive::Member* member = archive.find("traffic.bin");
  if (member == nullptr)
    throw Error("it holds no traffic.bin",
                "Give a file of `outboard doctor --report` or of --record.");
  return archive.read(*member);
}

std::string describe(const simulator::card::Difference& d) {
  std::string text =
      fmt::format("  {} {}: recorded {}, simulated {}", d.block, d.place, d.recorded, d.simulated);
  if (d.times > 1) text += fmt::format(" ({} times)", d.times);
  return text + fmt::format("\n      record {}, {:.1f} ms{}{}\n", d.record + 1,
                            static_cast<double>(d.microseconds) / 1e3, d.during.empty() ? "" : ", ",
                            d.during);
}

void print_text(const simulator::card::ReplayOutcome& outcome, size_t most) {
  std::string text = fmt::format("{} records, {} answers compared, {} differ\n", outcome.records,
                                 outcome.compared, outcome.differing);
  for (const auto& [block, count] : outcome.by_block)
    text += fmt::format("  {:<14} {}\n", block, count);
  if (!outcome.differences.empty()) text += "The first difference, and those after it:\n";
  for (size_t i = 0; i < std::min(most, outcome.differences.size()); ++i)
    text += describe(outcome.differences[i]);
  if (outcome.differences.size() > most)
    text += fmt::format("  and {} more (--most N shows N)\n", outcome.differences.size() - most);
  if (outcome.unknowable > 0)
    text +=
        fmt::format("{} more answers follow from contents that the recording has only hashes of\n",
                    outcome.unknowable);
  for (const std::string& failure : outcome.failures)
    text += fmt::format("Recorded failure: {}\n", failure);
  print(text);
}

void print_json(const simulator::card::ReplayOutcome& outcome, const simulator::card::Card& card) {
  nlohmann::ordered_json out = {{"records", outcome.records},
                                {"compared", outcome.compared},
                                {"differing", outcome.differing},
                                {"unknowable", outcome.unknowable},
                                {"blocks", outcome.by_block},
                                {"failures", outcome.failures},
                                {"differences", nlohmann::ordered_json::array()},
                                {"driver_errors", nlohmann::ordered_json::array()}};
  for (const simulator::card::Difference& d : outcome.differences) {
    out["differences"].push_back({{"record", d.record + 1},
                                  {"milliseconds", static_cast<double>(d.microseconds) / 1e3},
                                  {"during", d.during},
                                  {"block", d.block},
                                  {"place", d.place},
                                  {"recorded", d.recorded},
                                  {"simulated", d.simulated},
                                  {"times", d.times}});
  }
  for (const simulator::card::CardEvent& event : card.events()) {
    if (event.kind == simulator::card::CardEvent::Kind::kDriverError)
      out["driver_errors"].push_back(event.where + ": " + event.text);
  }
  print(out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void replay(const ReplayArguments& arguments) {
  try {
    const std::vector<std::byte> stream = load_stream(arguments.file);
    const std::vector<link::TrafficRecord> traffic = link::read_traffic(stream);
    simulator::card::CardOptions options = simulator::card::card_like(traffic);
    if (!arguments.vram.empty()) options.vram_bytes = parse_bytes(arguments.vram);
    if (!arguments.bar.empty()) options.bar0_bytes = parse_bytes(arguments.bar);
    options.threads = static_cast<unsigned>(arguments.threads);
    if (!arguments.faults.empty())
      options.faults =
          simulator::card::FaultPlan::parse(read_text(arguments.faults), arguments.faults);
    simulator::card::Card card(options);
    const simulator::card::ReplayOutcome outcome =
        simulator::card::replay(card, traffic, {.name_vram = name_vram, .blank_vram = blank_vram});
    if (arguments.json) {
      print_json(outcome, card);
    } else {
      print_text(outcome, arguments.most);
    }
  } catch (Error& e) {
    e.add_context(arguments.file);
    throw;
  }
}

}  // namespace

void add_sim_replay(CLI::App& sim) {
  auto arguments = std::make_shared<ReplayArguments>();
  CLI::App* command = sim.add_subcommand(
      "replay",
      "Plays a real card's recording, and says where the simulated one answers otherwise");
  command->add_option("FILE", arguments->file, "of `outboard doctor --report`, or of --record")
      ->required();
  command->add_option("--vram", arguments->vram,
                      "Video memory of the simulated card (default 24G)");
  command->add_option("--bar", arguments->bar, "Size of its BAR 0 (default: as recorded)");
  command->add_option("--faults", arguments->faults, "JSON file of faults to inject")
      ->type_name("FILE");
  add_threads_option(*command, arguments->threads);
  command->add_option("--most", arguments->most, "How many differences to show")
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "All of it as JSON");
  command->footer(
      "Exit status 0 when it could be played: differences are what it is for.\n"
      "Example: outboard sim replay report.zip");
  command->callback([arguments] { replay(*arguments); });
}

}  // namespace outboard::cli
