#include "machine/launch_watch.h"

#include <algorithm>
#include <string>

#include "devices/gpu/kernels/kernels.h"
#include "support/error.h"

namespace outboard::machine {

LaunchWatch::LaunchWatch(SimDevice& device) : device_(device) {
  times_.set_names([this](uint64_t program) {
    const uint64_t entry = program - value(device_.amd().code());
    const auto kernels = devices::gpu::kernels::all();
    const auto kernel = std::ranges::find(kernels, entry, &devices::gpu::kernels::Kernel::entry);
    return kernel == kernels.end() ? fmt::format("program at {:#x}", program)
                                   : std::string(kernel->name);
  });
  device_.card().settle();
  device_.card().observe_launches([this](const simulator::compute::LaunchProfile& launch) {
    times_.add(launch, *device_.card().options().model);
  });
}

LaunchWatch::~LaunchWatch() {
  device_.card().settle();
  device_.card().observe_launches({});
}

}  // namespace outboard::machine
