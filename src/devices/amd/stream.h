// Command streams: what gpu/recorder.h holds as packets in VRAM, recorded once, run often.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "devices/amd/device_buffer.h"
#include "devices/amd/driver/card.h"
#include "devices/gpu/kernels/kernels.h"
#include "devices/gpu/recorder.h"
#include "hardware/amd/navi31/pm4_writer.h"

namespace outboard::devices::amd {

// A recorded stream in VRAM, run as an indirect buffer.
class Stream {
 public:
  // code: address of the kernels' image. alive: address of a word; while that is 0, run_if_alive()
  // does nothing. The card must outlive this.
  Stream(driver::Card& card, GpuAddress code, const gpu::Recorder& recorder, GpuAddress alive,
         std::string name);
  // The packet that runs it; and the one that runs it where `alive` is not 0. The condition stands
  // inside the indirect buffer: conditional packets in the ring itself are proven nowhere on
  // compute queues (tinygrad saw PRED_EXEC work in indirect buffers only, ops_amd.py; Mesa's radv
  // puts COND_EXEC into its buffers on all queues; Linux has it on the graphics ring alone).
  std::vector<uint32_t> run() const;
  std::vector<uint32_t> run_if_alive() const;
  size_t dispatches() const { return dispatches_; }
  uint64_t bytes() const { return buffer_.bytes(); }

 private:
  static constexpr uint32_t kConditionDwords = 16;  // what comes before the launches

  DeviceBuffer buffer_;
  GpuAddress commands_{};
  uint32_t dwords_ = 0;  // all of them, the condition included
  size_t dispatches_ = 0;
};

// A launch of one of the kernels: code is the address of their image, args that of its arguments.
hw::pm4::Launch launch_of(const gpu::kernels::Kernel& kernel, GpuAddress code, GpuAddress args,
                          std::array<uint32_t, 3> workgroups);

}  // namespace outboard::devices::amd
