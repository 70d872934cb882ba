#include "devices/open.h"

#include <utility>

#include "devices/amd/amd_device.h"
#include "devices/self_test.h"
#include "devices/sim_device.h"
#include "link/connect.h"
#include "support/error.h"
#include "support/progress.h"

namespace outboard::devices {
namespace {

amd::AmdOptions amd_options(const OpenOptions& options) {
  amd::AmdOptions out;
  out.boot.firmware = options.firmware;
  out.boot.on_stage = options.on_stage;
  out.upload.on_notice = options.on_notice;
  out.upload.on_progress = [bar = std::shared_ptr<Progress>()](uint64_t done,
                                                               uint64_t total) mutable {
    if (!bar) bar = std::make_shared<Progress>("upload", total);
    bar->update(done);
    if (done == total) bar.reset();
  };
  return out;
}

std::unique_ptr<Device> open_sim(const OpenOptions& options) {
  simulator::CardOptions card;
  card.strict = options.strict;
  card.cache_model = options.counters;
  card.threads = static_cast<unsigned>(options.threads);
  amd::AmdOptions how = amd_options(options);
  how.patience = std::chrono::hours(1);  // simulated steps take as long as they take
  auto device = std::make_unique<SimDevice>(card, std::move(how));
  if (options.on_stage) options.on_stage("self-test");
  self_test(device->amd());
  return device;
}

std::unique_ptr<Device> open_card(const std::string& spec, const OpenOptions& options) {
  link::ConnectOptions connect;
  connect.spec = spec;
  connect.take = options.take;
  auto device = std::make_unique<amd::AmdDevice>(link::connect(connect), amd_options(options));
  // A card that was put to rest in order has passed since it was switched on.
  if (!device->card().was_warm()) {
    if (options.on_stage) options.on_stage("self-test");
    self_test(*device);
  }
  return device;
}

// A card that nobody else drives, else the CPU.
std::unique_ptr<Device> open_any(const OpenOptions& options) {
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
  return open_cpu(options.threads);
}

}  // namespace

std::unique_ptr<Device> open_device(const std::string& name, const OpenOptions& options) {
  if (name == "cpu") return open_cpu(options.threads);
  if (name == "sim") return open_sim(options);
  if (link::is_link_spec(name)) return open_card(name, options);
  if (name == "auto") return open_any(options);
  throw Error(
      fmt::format("device \"{}\" is not known", name),
      "The devices are auto, cpu, amd, tinygpu:SOCKET, remote:HOST:PORT, pci:ADDRESS and sim.");
}

}  // namespace outboard::devices
