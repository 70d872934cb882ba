// Tables that stay with the host (program::Embed::by_host): of each step only the rows of its
// tokens go to the card, as they lie in the file, through system memory.
#pragma once

#include <cstddef>
#include <vector>

#include "devices/amd/device_buffer.h"
#include "devices/device.h"
#include "devices/gpu/lowering.h"
#include "formats/model_file.h"
#include "program/program.h"

namespace outboard::devices::amd {

class HostRows {
 public:
  // max_tokens: rows that a step may bring. Throws Error when memory is short. REQUIRES: card and
  // model outlive this.
  HostRows(driver::Card& card, const program::Program& program, const formats::Model& model,
           int max_tokens);

  // For the streams, whose first launches take the rows apart into planes.
  std::vector<gpu::StreamMemory::HostTable> tables() const;
  // The rows of a step's tokens, in their order. REQUIRES: no step that was written before runs.
  void write(const Step& step);
  uint64_t bytes() const;  // VRAM

 private:
  struct Table {
    program::WeightId id;
    const formats::Tensor* tensor;
    formats::TensorType type;  // on the card
    size_t row_bytes;          // of it
    SystemPiece blocks;        // [max_tokens] rows
    DeviceBuffer planes;       // likewise
    gpu::kernels::Matrix rows;
  };

  std::vector<Table> tables_;
  std::vector<std::byte> gathered_;
  std::vector<uint16_t> halves_;
};

}  // namespace outboard::devices::amd
