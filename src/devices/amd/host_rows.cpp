#include "devices/amd/host_rows.h"

#include <cstring>
#include <span>

#include "devices/gpu/kernels/planes.h"
#include "formats/quantize.h"
#include "program/cost.h"

namespace outboard::devices::amd {

HostRows::HostRows(driver::Card& card, const program::Program& program, const formats::Model& model,
                   int max_tokens) {
  for (const program::WeightId id : program::host_tables(program)) {
    const formats::Tensor& tensor = model.get(program.weights[static_cast<size_t>(id)].name);
    Table table{id, &tensor, tensor.type, 0, {}, {}, {}};
    if (!gpu::kernels::supported(table.type)) table.type = formats::TensorType::F16;
    table.row_bytes = formats::storage_bytes(table.type, tensor.columns());
    const auto planes = gpu::kernels::planes(table.type, max_tokens, tensor.columns());
    table.planes = DeviceBuffer(card, planes.bytes, "rows of " + tensor.name);
    table.rows = gpu::kernels::matrix(table.type, max_tokens, tensor.columns(),
                                      value(table.planes.address()));
    // Rows beyond a step's tokens are computed, too, and mean nothing: at first they are zeros.
    const std::vector<std::byte> zeros(static_cast<size_t>(max_tokens) * table.row_bytes);
    table.blocks = SystemPiece(card, zeros.size(), "rows of " + tensor.name);
    table.blocks.write(0, zeros);
    tables_.push_back(std::move(table));
  }
}

std::vector<gpu::StreamMemory::HostTable> HostRows::tables() const {
  std::vector<gpu::StreamMemory::HostTable> all;
  for (const Table& table : tables_)
    all.push_back({table.id, value(table.blocks.address()), table.rows, table.planes.bytes()});
  return all;
}

void HostRows::write(const Step& step) {
  for (const Table& table : tables_) {
    const formats::Tensor& tensor = *table.tensor;
    const size_t in_file = formats::storage_bytes(tensor.type, tensor.columns());
    gathered_.clear();
    for (const Run& run : step.runs)
      for (const int32_t token : run.tokens) {
        const auto row = tensor.data.subspan(static_cast<size_t>(token) * in_file, in_file);
        if (table.type == tensor.type) {
          gathered_.insert(gathered_.end(), row.begin(), row.end());
          continue;
        }
        halves_.resize(static_cast<size_t>(tensor.columns()));
        formats::dequantize_half(tensor.type, row.data(), halves_);
        const auto bytes = std::as_bytes(std::span(halves_));
        gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
      }
    table.blocks.write(0, gathered_);
  }
}

uint64_t HostRows::bytes() const {
  uint64_t sum = 0;
  for (const Table& table : tables_) sum += table.planes.bytes();
  return sum;
}

}  // namespace outboard::devices::amd
