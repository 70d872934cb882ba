// For tests: runs the embedded kernels on simulated compute units over host memory, all strict
// checks on. GPU addresses are host addresses.
#pragma once

#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "devices/gpu/kernels/arguments.h"
#include "devices/gpu/kernels/kernels.h"
#include "simulator/compute/dispatch.h"
#include "simulator/compute/host_memory.h"
#include "simulator/compute/memory_order.h"
#include "support/aligned_buffer.h"

namespace outboard::devices::gpu::kernels {

class KernelRunner {
 public:
  explicit KernelRunner(bool strict = true);
  ~KernelRunner();

  // Memory that kernels may use from now on, filled with 0xee so that what was not written shows;
  // a kernel that leaves it fails the launch. Lives as long as the runner.
  template <typename T>
  std::span<T> allocate(size_t count) {
    return {reinterpret_cast<T*>(allocate_bytes(count * sizeof(T))), count};
  }
  template <typename T>
  std::span<T> upload(std::span<const T> values) {
    std::span<T> out = allocate<T>(values.size());
    std::memcpy(out.data(), values.data(), values.size_bytes());
    return out;
  }
  template <typename T>
  static Ptr<T> ptr(std::span<T> s) {
    return {reinterpret_cast<uint64_t>(s.data())};
  }
  template <typename T>
  static Ptr<const T> const_ptr(std::span<T> s) {
    return {reinterpret_cast<uint64_t>(s.data())};
  }

  // Throws Error when the kernel faults or breaks a rule. Each launch sees what earlier ones wrote.
  template <typename Args>
  void run(std::string_view kernel, const Args& args, std::array<uint32_t, 3> workgroups) {
    run_bytes(kernel, std::as_bytes(std::span(&args, 1)), workgroups);
  }
  const simulator::compute::Counters& counters() { return units_->counters(); }

 private:
  std::byte* allocate_bytes(size_t bytes);
  void run_bytes(std::string_view kernel, std::span<const std::byte> args,
                 std::array<uint32_t, 3> workgroups);

  simulator::compute::HostMemory memory_;
  std::vector<AlignedBuffer> buffers_;
  AlignedBuffer code_;
  std::unique_ptr<simulator::compute::ComputeUnits> units_;
};

}  // namespace outboard::devices::gpu::kernels
