// outboard sim: the simulated RX 7900 and its compute units.
#include "cli/sim.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <span>

#include "cli/commands.h"
#include "cli/options.h"
#include "simulator/card/firmware_images.h"
#include "support/error.h"
#include "support/output_file.h"

namespace outboard::cli {
namespace {

// The folder may be the one that the card's true images lie in.
void refuse_other_contents(const std::filesystem::path& path, std::span<const std::byte> image) {
  if (!std::filesystem::is_regular_file(path)) return;
  const std::string found = read_whole(path.string());
  const auto bytes = std::as_bytes(std::span(found));
  if (std::ranges::equal(bytes, image)) return;
  throw Error(fmt::format("{}: another file of that name is here", path.string()),
              "Name another folder, or replace the file with --force.");
}

void add_sim_firmware(CLI::App& sim) {
  auto folder = std::make_shared<std::string>();
  auto moods = std::make_shared<std::vector<std::string>>();
  auto force = std::make_shared<bool>(false);
  CLI::App* command = sim.add_subcommand(
      "firmware", "Writes made-up firmware images that the simulated card boots with");
  command->add_option("FOLDER", *folder, "where to write them")->required();
  command->add_option("--mood", *moods, "as a card of that mood is given them: firmware.*")
      ->type_name("NAME")
      ->delimiter(',');
  command->add_flag("--force", *force, "replace other files of those names");
  command->footer(
      "True headers, made-up contents, for other clients of `outboard sim serve`;\n"
      "`--device sim` has them built in. No use on a real card: see `outboard pull firmware`.\n"
      "Example: outboard sim firmware images");
  command->callback([folder, moods, force] {
    std::filesystem::create_directories(*folder);
    const auto images = simulator::card::firmware_images(simulator::card::Moods::parse(*moods));
    if (!*force) {
      for (const auto& [name, bytes] : images)
        refuse_other_contents(std::filesystem::path(*folder) / name, bytes);
    }
    for (const auto& [name, bytes] : images) {
      const std::string path = (std::filesystem::path(*folder) / name).string();
      OutputFile file(path);
      file.write(bytes);
      file.finish();
      print(path + "\n");
    }
  });
}

void add_sim_moods(CLI::App& sim) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = sim.add_subcommand(
      "moods", "Lists how the simulated card can behave where nobody knows what the real one does");
  command->add_flag("--json", *json, "as JSON");
  command->footer(
      "Each is the worst that references and public reports allow. `outboard sim serve --mood "
      "doorbell.late,gl2.stale` takes them.\n"
      "Example: outboard sim moods --json");
  command->callback([json] {
    nlohmann::ordered_json out;
    for (const simulator::card::MoodInfo& info : simulator::card::mood_list()) {
      if (*json) {
        out.push_back({{"name", info.name},
                       {"behaviour", info.behaviour},
                       {"source", info.source},
                       {"tinygrad", info.tinygrad}});
        continue;
      }
      print(fmt::format("{}\n    {}\n    why: {}\n    tinygrad 0.14.0: {}\n", info.name,
                        info.behaviour, info.source,
                        info.tinygrad.empty() ? "works" : info.tinygrad));
    }
    if (*json) print(out.dump(2) + "\n");
  });
}

}  // namespace

void add_sim(CLI::App& app) {
  CLI::App* sim = app.add_subcommand("sim", "The simulated RX 7900: serve it, run kernels on it");
  sim->require_subcommand(1);
  sim->footer("Example: outboard sim serve --socket /tmp/tinygpu.sock");
  add_sim_serve(*sim);
  add_sim_moods(*sim);
  add_sim_firmware(*sim);
  add_sim_run(*sim);
  add_sim_disasm(*sim);
  add_sim_replay(*sim);
}

uint64_t parse_bytes(const std::string& text) {
  size_t end = 0;
  uint64_t number = 0;
  try {
    number = std::stoull(text, &end);
  } catch (const std::exception&) {  // no digits, or too many: reported below
    end = std::string::npos;
  }
  uint64_t unit = 1;
  if (end != std::string::npos && end + 1 == text.size()) {
    constexpr std::string_view kUnits = "KMGT";
    const auto letter = static_cast<char>(std::toupper(static_cast<unsigned char>(text[end])));
    const size_t which = kUnits.find(letter);
    if (which != std::string_view::npos) {
      unit = uint64_t{1} << (10 * (which + 1));
      ++end;
    }
  }
  if (end != text.size() || text.empty() || text[0] == '-' || number > UINT64_MAX / unit) {
    throw Error(fmt::format("\"{}\" is no size", text), "Write 256M, 24G or a number of bytes.");
  }
  return number * unit;
}

nlohmann::ordered_json compute_json(const simulator::compute::Counters& c) {
  return {{"dispatches", c.dispatches},
          {"workgroups", c.workgroups},
          {"waves", c.waves},
          {"instructions",
           {{"all", c.instructions()},
            {"valu", c.valu},
            {"transcendental", c.transcendental},
            {"dot", c.dot},
            {"wmma", c.wmma},
            {"salu", c.salu},
            {"smem", c.smem},
            {"lds", c.lds},
            {"vmem_load", c.vmem_load},
            {"vmem_store", c.vmem_store},
            {"vmem_atomic", c.vmem_atomic},
            {"scratch", c.scratch},
            {"branch", c.branch},
            {"barrier", c.barrier},
            {"waitcnt", c.waitcnt},
            {"other", c.other}}},
          {"valu_lanes", c.valu_lanes},
          {"lds_bytes", c.lds_bytes},
          {"lds_bank_conflicts", c.lds_bank_conflicts},
          {"gl2_reads", c.gl2_reads},
          {"gl2_writes", c.gl2_writes},
          {"gl2_read_misses", c.gl2_read_misses},
          {"gl2_miss_bytes", c.gl2_miss_bytes},
          {"vram_read_bytes", c.vram_read_bytes},
          {"vram_write_bytes", c.vram_write_bytes},
          {"system_read_bytes", c.system_read_bytes},
          {"system_write_bytes", c.system_write_bytes}};
}

}  // namespace outboard::cli
