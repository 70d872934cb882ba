#include "simulator/compute/launch.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

namespace outboard::simulator::compute {
namespace {

using namespace hardware::amd;  // NOLINT: the bits of a kernel's properties

template <typename T>
void put(std::span<std::byte> bytes, uint64_t offset, T value, uint32_t size = sizeof(T)) {
  if (offset + size > bytes.size() || size > sizeof(T)) return;
  std::memcpy(&bytes[offset], &value, size);
}

uint32_t dimensions(const Launch& launch) {
  for (uint32_t axis = 3; axis > 1; --axis) {
    if (launch.workgroups[axis - 1] * launch.workgroup_size[axis - 1] > 1) return axis;
  }
  return 1;
}

}  // namespace

Dispatch make_dispatch(const Kernel& kernel, const Launch& launch) {
  Dispatch d;
  d.name = kernel.name;
  d.program = launch.image_address + kernel.entry;
  d.pgm_rsrc1 = kernel.pgm_rsrc1;
  // LDS_SIZE is the launcher's to fill in: units of 128 dwords, bits 23:15.
  const uint32_t lds_units = (kernel.lds_bytes + launch.dynamic_lds_bytes + 511) / 512;
  d.pgm_rsrc2 = (kernel.pgm_rsrc2 & ~(0x1ffU << 15)) | (lds_units & 0x1ff) << 15;
  d.pgm_rsrc3 = kernel.pgm_rsrc3;
  d.wave32 = uses_wave32(kernel);
  d.workgroups = launch.workgroups;
  d.workgroup_size = launch.workgroup_size;
  d.scratch_base = launch.scratch_address;
  d.scratch_bytes_per_wave = scratch_bytes_per_wave(kernel);
  d.scratch_waves = launch.scratch_waves;
  size_t next = 0;
  const auto put64 = [&](uint64_t value) {
    if (next + 2 > d.user_data.size()) return;
    d.user_data[next++] = static_cast<uint32_t>(value);
    d.user_data[next++] = static_cast<uint32_t>(value >> 32);
  };
  if ((kernel.properties & kPrivateSegmentBuffer) != 0) {
    put64(0);
    put64(0);
  }
  if ((kernel.properties & kDispatchPtr) != 0) put64(launch.dispatch_packet_address);
  if ((kernel.properties & kQueuePtr) != 0) put64(0);
  if ((kernel.properties & kKernargSegmentPtr) != 0) put64(launch.kernarg_address);
  if ((kernel.properties & kDispatchId) != 0) put64(0);
  if ((kernel.properties & kFlatScratchInit) != 0) put64(launch.scratch_address);
  if ((kernel.properties & kPrivateSegmentSize) != 0 && next < d.user_data.size()) {
    d.user_data[next++] = kernel.scratch_bytes;
  }
  return d;
}

void fill_hidden_arguments(const Kernel& kernel, const Launch& launch,
                           std::span<std::byte> kernargs) {
  static constexpr std::array<std::string_view, 3> kAxes = {"x", "y", "z"};
  for (const KernelArgument& argument : kernel.arguments) {
    for (size_t axis = 0; axis < 3; ++axis) {
      const auto is = [&](std::string_view what) {
        return argument.kind == fmt::format("hidden_{}_{}", what, kAxes[axis]);
      };
      if (is("block_count"))
        put<uint32_t>(kernargs, argument.offset, launch.workgroups[axis], argument.size);
      if (is("group_size")) {
        put<uint16_t>(kernargs, argument.offset, static_cast<uint16_t>(launch.workgroup_size[axis]),
                      argument.size);
      }
      if (is("remainder") || is("global_offset"))
        put<uint64_t>(kernargs, argument.offset, 0, argument.size);
    }
    if (argument.kind == "hidden_grid_dims") {
      put<uint16_t>(kernargs, argument.offset, static_cast<uint16_t>(dimensions(launch)),
                    argument.size);
    }
    if (argument.kind == "hidden_dynamic_lds_size") {
      put<uint32_t>(kernargs, argument.offset, launch.dynamic_lds_bytes, argument.size);
    }
  }
}

void fill_dispatch_packet(const Kernel& kernel, const Launch& launch, std::span<std::byte> packet) {
  // hsa_kernel_dispatch_packet_t: setup at 2, workgroup sizes (16 bits) at 4, grid sizes at 12,
  // private and group segment sizes at 24, kernarg address at 40.
  std::fill(packet.begin(), packet.end(), std::byte{0});
  put<uint16_t>(packet, 2, static_cast<uint16_t>(dimensions(launch)));
  for (size_t axis = 0; axis < 3; ++axis) {
    put<uint16_t>(packet, 4 + 2 * axis, static_cast<uint16_t>(launch.workgroup_size[axis]));
    put<uint32_t>(packet, 12 + 4 * axis, launch.workgroup_size[axis] * launch.workgroups[axis]);
  }
  put<uint32_t>(packet, 24, kernel.scratch_bytes);
  put<uint32_t>(packet, 28, kernel.lds_bytes + launch.dynamic_lds_bytes);
  put<uint64_t>(packet, 40, launch.kernarg_address);
}

}  // namespace outboard::simulator::compute
