#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "devices/cpu/executable.h"
#include "devices/device.h"
#include "support/machine.h"

namespace outboard::devices::cpu {
namespace {

class CpuDevice final : public devices::Device {
 public:
  explicit CpuDevice(int threads) : team_(threads), kernels_(best_kernels()) {}

  std::string description() const override {
    return fmt::format("CPU, {} thread{}, {}", team_.size(), team_.size() == 1 ? "" : "s",
                       kernels_.name);
  }

  uint64_t room(const formats::Model* model, const program::Program* /*program*/) const override {
    const uint64_t available = available_memory();
    const uint64_t weights = model == nullptr ? 0 : model->tensor_bytes();
    // Nothing at all is still known to be little.
    return available == 0 ? 0 : std::max<uint64_t>(1, available - std::min(available, weights));
  }

  std::unique_ptr<devices::Executable> compile(program::Program program,
                                               std::shared_ptr<const formats::Model> model,
                                               const devices::CompileOptions& options) override {
    return std::make_unique<CpuExecutable>(std::move(program), std::move(model), options, team_,
                                           kernels_);
  }

 private:
  ThreadTeam team_;
  const Kernels& kernels_;
};

}  // namespace
}  // namespace outboard::devices::cpu

namespace outboard::devices {

std::unique_ptr<Device> open_cpu(int threads) { return std::make_unique<cpu::CpuDevice>(threads); }

}  // namespace outboard::devices
