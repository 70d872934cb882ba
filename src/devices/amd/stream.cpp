#include "devices/amd/stream.h"

#include <algorithm>

#include "devices/gpu/kernels/arguments.h"
#include "hardware/amd/dwords.h"
#include "hardware/amd/navi31/pm4_writer.h"
#include "support/error.h"
#include "support/round_up.h"

namespace outboard::devices::amd {
namespace {

namespace pm4 = hw::pm4;
using hardware::amd::append;
using hardware::amd::high;
using hardware::amd::low;

}  // namespace

Stream::Stream(driver::Card& card, GpuAddress code, const gpu::Recorder& recorder, GpuAddress alive,
               std::string name)
    : dispatches_(recorder.launches().size()) {
  // Arguments first; the commands hold their addresses, so the buffer is found before they are
  // written. A launch takes at most so many dwords, barrier included.
  constexpr size_t kMostDwords = 96;
  const size_t args_bytes = round_up(recorder.args().size(), gpu::Recorder::kArgsAlignment);
  buffer_ = DeviceBuffer(
      card, args_bytes + (recorder.launches().size() * kMostDwords + kConditionDwords) * 4,
      std::move(name));
  commands_ = buffer_.address() + args_bytes;
  // The condition ends where the launches begin; a filler before it keeps both aligned. A long
  // stream has it again where one can reach no further.
  std::vector<uint32_t> commands = pm4::nop(kConditionDwords - pm4::kSkipDwords);
  std::vector<size_t> conditions;  // where they begin
  pm4::LaunchWriter writer;
  const auto add_condition = [&] {
    conditions.push_back(commands.size());
    append(commands, pm4::skip_unless(alive));
    writer.forget();
  };
  add_condition();
  for (const gpu::Recorder::Launch& l : recorder.launches()) {
    if (commands.size() + kMostDwords - conditions.back() > pm4::kMostSkipped) add_condition();
    // Registers are set while the launch before still runs; what is waited for is its end.
    const pm4::Launch launch = launch_of(*l.kernel, code, buffer_.address() + l.args, l.workgroups);
    append(commands, writer.registers(launch));
    if (l.barrier) append(commands, pm4::barrier());
    if (l.vector) append(commands, pm4::acquire({.scalar = l.scalar, .vector = true}));
    append(commands, writer.start(launch));
  }
  dwords_ = static_cast<uint32_t>(commands.size());
  // Each skips to the next, the last to the end.
  conditions.push_back(commands.size());
  for (size_t i = 0; i + 1 < conditions.size(); ++i)
    pm4::set_skipped(&commands[conditions[i]],
                     conditions[i + 1] - conditions[i] - pm4::kSkipDwords);
  std::vector<std::byte> bytes(args_bytes + commands.size() * 4);
  std::ranges::copy(recorder.args(), bytes.begin());
  std::ranges::copy(std::as_bytes(std::span(commands)),
                    bytes.begin() + static_cast<ptrdiff_t>(args_bytes));
  if (bytes.size() > buffer_.bytes()) fail("{}: longer than was thought", buffer_.buffer().name);
  card.upload(buffer_.buffer(), 0, bytes);
}

std::vector<uint32_t> Stream::run() const {
  return pm4::indirect_buffer(commands_ + kConditionDwords * 4, dwords_ - kConditionDwords);
}

std::vector<uint32_t> Stream::run_if_alive() const {
  return pm4::indirect_buffer(commands_, dwords_);
}

pm4::Launch launch_of(const gpu::kernels::Kernel& kernel, GpuAddress code, GpuAddress args,
                      std::array<uint32_t, 3> workgroups) {
  pm4::Launch launch;
  launch.program = code + kernel.entry;
  launch.rsrc1 = kernel.rsrc1;
  launch.rsrc2 = kernel.rsrc2;
  launch.rsrc3 = kernel.rsrc3;
  launch.user_data = {low(args), high(args)};
  launch.workgroup_size = {gpu::kernels::kThreads, 1, 1};
  launch.workgroups = workgroups;
  return launch;
}

}  // namespace outboard::devices::amd
