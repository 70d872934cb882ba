#include "tests/devices/kernels/kernel_runner.h"

#include <string>

#include "support/error.h"

namespace outboard::devices::gpu::kernels {

namespace compute = simulator::compute;

KernelRunner::KernelRunner(bool strict) : code_(image().size()) {
  std::memcpy(code_.data(), image().data(), image().size());
  memory_.add_code(code_.data(), code_.size());
  compute::Options options;
  options.strict = strict;
  units_ = std::make_unique<compute::ComputeUnits>(memory_, options);
}

KernelRunner::~KernelRunner() = default;

std::byte* KernelRunner::allocate_bytes(size_t bytes) {
  AlignedBuffer buffer(std::max<size_t>(bytes, 1));
  std::memset(buffer.data(), 0xee, bytes);
  memory_.add(buffer.data(), bytes, true);
  buffers_.push_back(std::move(buffer));
  units_->invalidate_translations();
  return buffers_.back().data();
}

void KernelRunner::run_bytes(std::string_view name, std::span<const std::byte> args,
                             std::array<uint32_t, 3> workgroups) {
  const Kernel& kernel = find(name);
  // The kernel's structure and ours are one text; a difference is a mistake in their layout.
  if (args.size() != kernel.kernarg_bytes)
    fail("{} takes {} bytes of arguments, {} were given", name, kernel.kernarg_bytes, args.size());
  const std::span<std::byte> kernargs = upload(args);
  if (compute::MemoryOrder* order = units_->order()) {
    order->barrier();
    order->acquire(true, true);
  }
  compute::Dispatch dispatch;
  dispatch.name = name;
  dispatch.program = reinterpret_cast<uint64_t>(code_.data()) + kernel.entry;
  dispatch.pgm_rsrc1 = kernel.rsrc1;
  dispatch.pgm_rsrc2 = kernel.rsrc2;
  dispatch.pgm_rsrc3 = kernel.rsrc3;
  const auto address = reinterpret_cast<uint64_t>(kernargs.data());
  dispatch.user_data[0] = static_cast<uint32_t>(address);
  dispatch.user_data[1] = static_cast<uint32_t>(address >> 32);
  dispatch.workgroup_size = {kThreads, 1, 1};
  dispatch.workgroups = workgroups;
  const compute::Result result = units_->run(dispatch);
  if (result.stop != compute::Stop::kDone) fail("{}: {}", name, result.message);
  if (units_->violation_count() > 0)
    fail("{}: {} rules broken, the first: {}", name, units_->violation_count(),
         units_->violations().front().text());
}

}  // namespace outboard::devices::gpu::kernels
