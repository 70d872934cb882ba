#include "machine/open.h"

#include <utility>

#include "devices/amd/amd_device.h"
#include "devices/amd/driver/memory.h"
#include "link/connect.h"
#include "machine/self_test.h"
#include "machine/sim_device.h"
#include "simulator/card/card_model.h"
#include "support/error.h"
#include "support/machine.h"
#include "support/progress.h"

namespace outboard::machine {
namespace {

amd::AmdOptions amd_options(const OpenOptions& options) {
  amd::AmdOptions out;
  out.boot.firmware = options.firmware;
  out.boot.on_stage = [say = options.on_stage,
                       recording = options.recording](std::string_view stage) {
    if (recording) recording->note(fmt::format("boot: {}", stage));
    if (say) say(stage);
  };
  // A card that was put to rest in order has passed since it was switched on: it boots warm.
  // Its uploads are part of it: no bars of their own.
  const auto is_testing = std::make_shared<bool>(false);
  out.self_test = [say = options.on_stage, is_testing](amd::AmdDevice& device) {
    if (say) say("self-test");
    *is_testing = true;
    self_test(device);
    *is_testing = false;
  };
  out.upload.on_notice = options.on_notice;
  out.upload.on_progress = [bar = std::shared_ptr<Progress>(), recording = options.recording,
                            is_testing](uint64_t done, uint64_t total) mutable {
    if (recording) recording->leave_out_contents(done < total);
    if (*is_testing) return;
    if (!bar) bar = std::make_shared<Progress>("upload", total);
    bar->update(done);
    if (done == total) bar.reset();
  };
  return out;
}

// What the driver leaves of a card's memory.
uint64_t room_of(const simulator::card::CardModel& model) {
  namespace layout = devices::amd::driver::layout;
  return model.vram_bytes - hardware::value(layout::kBootEnd) - layout::kReservedAtEnd;
}

Opened open_sim(const simulator::card::CardModel& model, const OpenOptions& options) {
  simulator::card::CardOptions card(model);
  card.strict = options.strict;
  card.cache_model = options.counters;
  card.threads = static_cast<unsigned>(options.threads);
  if (!options.link.empty()) card.link = simulator::cost::link_model(options.link);
  amd::AmdOptions how = amd_options(options);
  how.patience = std::chrono::hours(1);  // simulated steps take as long as they take
  auto device = std::make_unique<SimDevice>(card, std::move(how), options.recording);
  SimDevice* simulated = device.get();
  return {std::move(device), simulated};
}

Opened open_card(const std::string& spec, const OpenOptions& options) {
  link::ConnectOptions connect;
  connect.spec = spec;
  connect.take = options.take;
  std::unique_ptr<link::Link> link = link::connect(connect);
  if (options.recording) link = link::Recording::record(std::move(link), options.recording);
  auto device = std::make_unique<amd::AmdDevice>(std::move(link), amd_options(options));
  if (options.on_notice)
    for (const std::string& note : device->card().notes()) options.on_notice(note);
  return {std::move(device)};
}

// A card that nobody else drives, else the CPU.
Opened open_any(const OpenOptions& options) {
  for (const link::FoundCard& card : link::find_cards()) {
    if (!card.driver.empty()) continue;  // it may be driving a screen: only on request
    try {
      return open_card(card.spec, options);
    } catch (const Error& e) {
      if (options.on_notice)
        options.on_notice(fmt::format("{} can't be used, running on the CPU: {} {}",
                                      card.description, e.message(), e.hint()));
    }
  }
  return {devices::open_cpu(options.threads)};
}

}  // namespace

Opened open_device(const std::string& name, const OpenOptions& options) {
  if (!options.link.empty() && simulator::card::simulated_card(name) == nullptr) {
    throw Error(fmt::format("device \"{}\" takes no --link", name),
                "Links are made up for the simulated card: --device sim.");
  }
  if (name == "cpu") return {devices::open_cpu(options.threads)};
  if (const auto* model = simulator::card::simulated_card(name)) return open_sim(*model, options);
  if (link::is_link_spec(name)) return open_card(name, options);
  if (name == "auto") return open_any(options);
  throw Error(
      fmt::format("device \"{}\" is not known", name),
      "The devices are auto, cpu, amd, tinygpu:SOCKET, remote:HOST:PORT, pci:ADDRESS, sim, sim:xt "
      "and sim:gre.");
}

uint64_t room_on(std::string_view device) {
  const auto* model = simulator::card::simulated_card(device);
  return model == nullptr ? available_memory() : room_of(*model);
}

}  // namespace outboard::machine
