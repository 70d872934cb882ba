#include "devices/open.h"

#include <utility>

#include "devices/amd/amd_device.h"
#include "devices/self_test.h"
#include "devices/sim_device.h"
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
  auto device = std::make_unique<SimDevice>(card, amd_options(options));
  if (options.on_stage) options.on_stage("self-test");
  self_test(device->amd());
  return device;
}

}  // namespace

std::unique_ptr<Device> open_device(const std::string& name, const OpenOptions& options) {
  if (name == "cpu" || name == "auto") return open_cpu(options.threads);
  if (name == "sim") return open_sim(options);
  throw Error(fmt::format("device \"{}\" is not known", name),
              "The devices are auto, cpu, amd and sim.");
}

}  // namespace outboard::devices
