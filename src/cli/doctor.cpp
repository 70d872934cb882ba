// outboard doctor: from the cable to tokens, a step a line.
#include "doctor/doctor.h"

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/recording.h"
#include "cli/sim.h"
#include "devices/amd/amd_device.h"
#include "doctor/report.h"
#include "machine/self_test.h"
#include "simulator/card/firmware_images.h"
#include "simulator/card/simulated_link.h"
#include "support/error.h"

namespace outboard::cli {
namespace {

namespace doctor = doctor;
namespace amd = devices::amd;

struct Options {
  std::string device = "amd";
  std::string firmware;
  std::string faults;
  std::vector<std::string> moods;
  std::string link;
  bool read_only = false;
  bool take = false;
  bool json = false;
  std::string report;
};

void print_finding(const doctor::Finding& f) {
  std::string text = fmt::format("{:<8} {:<24} {}", doctor::words(f.verdict), f.step, f.seen);
  constexpr double kWorthTelling = 1;  // milliseconds
  if (f.milliseconds >= kWorthTelling) text += fmt::format(" ({:.0f} ms)", f.milliseconds);
  text += "\n";
  if (!f.meaning.empty()) text += fmt::format("{:9}what it means: {}\n", "", f.meaning);
  if (!f.todo.empty()) text += fmt::format("{:9}what to do:    {}\n", "", f.todo);
  print(text);
}

void print_json(const doctor::Examination& examination, const std::string& report) {
  nlohmann::ordered_json out;
  out["healthy"] = examination.is_healthy();
  if (!report.empty()) out["report"] = report;
  for (const doctor::Finding& f : examination.findings()) {
    out["steps"].push_back({{"step", f.step},
                            {"verdict", doctor::words(f.verdict)},
                            {"diagnosis", f.diagnosis},
                            {"seen", f.seen},
                            {"meaning", f.meaning},
                            {"todo", f.todo},
                            {"milliseconds", f.milliseconds}});
  }
  print(out.dump(2) + "\n");
}

// Kernels, and a decode of a model made on the spot.
void examine_kernels(std::unique_ptr<link::Link> link, const amd::driver::BootOptions& boot,
                     doctor::Examination& out) {
  std::unique_ptr<amd::AmdDevice> device;
  amd::AmdOptions options;
  options.boot = boot;
  if (!out.step("kernels", [&] {
        device = std::make_unique<amd::AmdDevice>(std::move(link), options);
        return device->description();
      }))
    return;
  out.step("products", [&]() -> std::string {
    machine::test_products(*device);
    return "matrix products are those of the host";
  });
  out.step("decode", [&]() -> std::string {
    machine::test_decode(*device);
    return "a tiny model's logits and tokens are those of the CPU";
  });
}

void examine(const Options& options) {
  doctor::DoctorOptions how;
  how.connect.spec = options.device;
  how.connect.take = options.take;
  how.read_only = options.read_only;
  how.boot.firmware = options.firmware.empty()
                          ? firmware_folders()
                          : std::vector<std::filesystem::path>{options.firmware};
  std::unique_ptr<simulator::card::Card> simulated;
  if (const auto* model = simulator::card::simulated_card(options.device)) {
    simulator::card::CardOptions card(*model);
    card.strict = false;
    if (!options.faults.empty())
      card.faults = simulator::card::FaultPlan::parse(read_text(options.faults), options.faults);
    card.moods = simulator::card::Moods::parse(options.moods);
    if (!options.link.empty()) card.link = simulator::cost::link_model(options.link);
    simulated = std::make_unique<simulator::card::Card>(card);
    how.open = [&] { return simulator::card::make_simulated_link(*simulated); };
    how.boot.images = simulator::card::firmware_images(card.moods, *card.model->chip);
    // Its engines need no time to start, but in some moods they take it.
    how.boot.patience = card.moods.any() ? 0.2 : 0.05;
    how.boot.wait = std::chrono::milliseconds(5000);
  } else if (!link::is_link_spec(options.device)) {
    throw Error(
        fmt::format("doctor: \"{}\" names no card", options.device),
        "Write amd, tinygpu:SOCKET, remote:HOST:PORT, pci:0000:03:00.0, sim, sim:xt or sim:gre.");
  }
#if defined(__APPLE__)
  if (options.device == "amd" || options.device.starts_with("tinygpu"))
    how.commands = doctor::run_command;
#endif
  if (!options.json) how.on_finding = print_finding;
  std::unique_ptr<doctor::Report> report;
  if (!options.report.empty()) {
    check_writable(options.report, "--report");
    report = std::make_unique<doctor::Report>(OUTBOARD_VERSION,
                                              scrubber_for(options.device, options.firmware));
    report->watch(how);
  }
  how.more = [boot = how.boot](std::unique_ptr<link::Link> link, doctor::Examination& out) {
    examine_kernels(std::move(link), boot, out);
  };
  const doctor::Examination examination = doctor::examine(how);
  if (report) {
    report->finish(examination);
    write_recording(options.report, report->files(), report->recording());
  }
  if (options.json) {
    print_json(examination, options.report);
  } else {
    print(examination.is_healthy() ? "Nothing is wrong.\n"
                                   : "Something is wrong: see the first line that says bad.\n");
    if (report) print(fmt::format("The report is in {}\n", options.report));
  }
  if (!examination.is_healthy()) throw CLI::RuntimeError(1);
}

}  // namespace

void add_doctor(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "doctor", "Looks at everything between the cable and the card's first token");
  command
      ->add_option("--device", options->device,
                   "amd, tinygpu:SOCKET, remote:HOST:PORT, pci:ADDRESS, sim, sim:xt or sim:gre")
      ->capture_default_str();
  command->add_option("--firmware-dir", options->firmware,
                      "folder with the card's firmware; else what was pulled, or the system's");
  command->add_option("--faults", options->faults, "--device sim: JSON file of faults to inject")
      ->type_name("FILE");
  command->add_option("--mood", options->moods, std::string("--device sim: ") + kMoodHelp)
      ->type_name("NAME")
      ->delimiter(',');
  command->add_option("--link", options->link, std::string("--device sim: ") + kLinkHelp)
      ->type_name("NAME");
  command->add_flag("--read-only", options->read_only, "only look: nothing is booted or tested");
  command->add_flag("--take", options->take,
                    "Linux: take the card at pci:ADDRESS from its kernel driver");
  command
      ->add_option("--report", options->report,
                   "write all that was seen, the link's traffic included, for someone who can help")
      ->type_name("FILE");
  command->add_flag("--json", options->json, "all steps as JSON");
  command->footer(
      "Exit status 1 when something is wrong.\n"
      "Example: outboard doctor --device sim");
  command->callback([options] { examine(*options); });
}

}  // namespace outboard::cli
