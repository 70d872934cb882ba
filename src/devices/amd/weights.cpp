#include "devices/amd/weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>

#include "devices/amd/stream.h"
#include "devices/gpu/kernels/kernels.h"
#include "devices/gpu/kernels/planes.h"
#include "formats/quantize.h"
#include "hardware/amd/dwords.h"
#include "hardware/amd/navi31/pm4_writer.h"
#include "support/error.h"
#include "support/round_up.h"

namespace outboard::devices::amd {
namespace {

using program::WeightId;

constexpr uint64_t kWindow = uint64_t{8} << 20;  // on a slow link less of it is used
constexpr uint64_t kAlignment = 256;

// Two windows of system memory and two places in VRAM: while the card takes one apart, the next
// crosses the link and the host fills the one after. A window costs two messages, so small matrices
// share one.
class Uploader {
 public:
  Uploader(driver::Card& card, GpuAddress code) : card_(card), code_(code) {
    for (Side& side : sides_) {
      side.window = SystemPiece(card, kWindow, "upload window");
      side.arguments = SystemPiece(card, kMostPieces * kAlignment, "upload arguments");
      side.staging = DeviceBuffer(card, kWindow, "upload staging");
    }
  }

  // How much of a window to fill: what the link moves in a moment, at least one row of a matrix.
  uint64_t window(uint64_t row_bytes) const {
    return std::max(card_.copy_bytes(kWindow), row_bytes);
  }
  // Rows of blocks as they lie in a file. REQUIRES: they fit window().
  void add(std::span<const std::byte> blocks, const gpu::kernels::RepackArgs& args) {
    if (sides_[next_].used + blocks.size() >
            std::max<uint64_t>(card_.copy_bytes(kWindow), blocks.size()) ||
        sides_[next_].pieces.size() == kMostPieces)
      send();
    Side& side = sides_[next_];
    if (side.unpacked != 0) {
      card_.wait(card_.compute(), side.unpacked);
      side.unpacked = 0;
    }
    side.window.write(side.used, blocks);
    gpu::kernels::RepackArgs& piece = side.pieces.emplace_back(args);
    piece.blocks.address = value(side.staging.address() + side.used);
    side.used += round_up(blocks.size(), kAlignment);
  }
  void finish() {
    send();
    unpack(sides_[next_ ^ 1]);
    for (Side& side : sides_)
      if (side.unpacked != 0) card_.wait(card_.compute(), side.unpacked);
  }

 private:
  static constexpr size_t kMostPieces = 64;
  struct Side {
    SystemPiece window, arguments;
    DeviceBuffer staging;
    uint64_t used = 0;  // bytes of the window
    std::vector<gpu::kernels::RepackArgs> pieces;
    driver::Card::Copy copied;  // fence 0: nothing to take apart
    driver::Fence unpacked = 0;
  };

  // The window that is being filled starts on its way; the one before is taken apart.
  void send() {
    Side& side = sides_[next_];
    if (!side.pieces.empty())
      side.copied = card_.copy_to_card(side.staging.address(), side.window.address(), side.used);
    unpack(sides_[next_ ^ 1]);
    next_ ^= 1;
  }

  void unpack(Side& side) {
    if (side.copied.fence == 0) return;
    card_.wait(side.copied);
    side.copied = {};
    const gpu::kernels::Kernel& kernel = gpu::kernels::find("repack");
    std::vector<uint32_t> packets = hw::pm4::acquire(
        {.instructions = true, .scalar = true, .vector = true, .second_level = true});
    for (size_t i = 0; i < side.pieces.size(); ++i) {
      side.arguments.write(i * kAlignment, std::as_bytes(std::span(&side.pieces[i], 1)));
      hardware::amd::append(packets, hw::pm4::dispatch(launch_of(
                                         kernel, code_, side.arguments.address() + i * kAlignment,
                                         {gpu::kernels::repack_workgroups(side.pieces[i]), 1, 1})));
    }
    side.pieces.clear();
    side.used = 0;
    side.unpacked = card_.compute().submit(packets);
  }

  driver::Card& card_;
  GpuAddress code_;
  std::array<Side, 2> sides_;
  size_t next_ = 0;
};

}  // namespace

Weights::Weights(driver::Card& card, const program::Program& program,
                 std::shared_ptr<const formats::Model> model)
    : card_(card), model_(std::move(model)) {
  driver::Memory::Batch batch(card.memory());  // page tables are written once
  place_vectors(program);
  place_matrices(program);
  batch.finish();
}

// Small vectors lie in one buffer, as float32.
void Weights::place_vectors(const program::Program& program) {
  std::vector<float>& values = vector_values_;
  const auto add = [&](std::span<const float> more) {
    values.resize(round_up(values.size(), kAlignment / 4));
    const uint64_t offset = values.size() * 4;
    values.insert(values.end(), more.begin(), more.end());
    return offset;
  };
  const auto read = [&](WeightId id) {
    const formats::Tensor& tensor = model_->get(program.weights[static_cast<size_t>(id)].name);
    std::vector<float> floats(static_cast<size_t>(tensor.elements()));
    formats::dequantize(tensor.type, tensor.data.data(), floats);
    return floats;
  };
  const auto vector = [&](WeightId id) {
    if (id != program::kNone && !vector_offsets_.contains(id)) vector_offsets_[id] = add(read(id));
  };
  for (const program::Op& op : program.ops) {
    for (const program::WeightOf& w : program::weight_uses(op))
      if (w.use == program::WeightUse::kVector) vector(w.id);
    const auto* rope = std::get_if<program::Rope>(&op.kind);
    if (rope == nullptr || turns_offsets_.contains(turns_key(*rope))) continue;
    std::vector<float> factors;
    if (rope->factors != program::kNone) factors = read(rope->factors);
    std::vector<float> table;
    for (const double frequency : program::rope_frequencies(*rope, factors)) {
      const double turns = frequency / (2 * std::numbers::pi);
      const auto first = static_cast<float>(turns);
      table.push_back(first);
      table.push_back(static_cast<float>(turns - first));
    }
    turns_offsets_[turns_key(*rope)] = add(table);
  }
  vectors_ = DeviceBuffer(card_, std::max<uint64_t>(values.size() * 4, kAlignment),
                          "norms, biases and rope tables");
  bytes_ += vectors_.bytes();
}

void Weights::place_matrices(const program::Program& program) {
  std::vector<WeightId> ids;
  for (const program::Op& op : program.ops) {
    for (const program::WeightOf& w : program::weight_uses(op))
      if (w.use != program::WeightUse::kVector && w.use != program::WeightUse::kTable &&
          w.use != program::WeightUse::kHostRow)
        ids.push_back(w.id);
  }
  for (const WeightId id : ids) {
    if (matrix_of_.contains(id)) continue;
    const formats::Tensor& tensor = model_->get(program.weights[static_cast<size_t>(id)].name);
    Placed placed{id, &tensor, {}, {}, {}};
    formats::TensorType type = tensor.type;
    if (!gpu::kernels::supported(type)) {
      type = formats::TensorType::F16;
      std::vector<uint16_t> halves(static_cast<size_t>(tensor.elements()));
      formats::dequantize_half(tensor.type, tensor.data.data(), halves);
      const auto bytes = std::as_bytes(std::span(halves));
      placed.converted.assign(bytes.begin(), bytes.end());
    }
    const gpu::kernels::Planes planes = gpu::kernels::planes(type, tensor.rows(), tensor.columns());
    placed.buffer = DeviceBuffer(card_, planes.bytes, tensor.name);
    placed.matrix =
        gpu::kernels::matrix(type, tensor.rows(), tensor.columns(), value(placed.buffer.address()));
    bytes_ += placed.buffer.bytes();
    matrix_of_[id] = matrices_.size();
    matrices_.push_back(std::move(placed));
  }
}

void Weights::upload(GpuAddress code, const UploadOptions& options) {
  card_.upload(vectors_.buffer(), 0, std::as_bytes(std::span(vector_values_)));
  for (const Placed& p : matrices_)
    if (!p.converted.empty() && options.on_notice)
      options.on_notice(fmt::format("{} is {}, for which the card has no kernels: kept as F16",
                                    p.tensor->name, formats::type_info(p.tensor->type).name));
  uint64_t total = 0, done = 0;
  const auto blocks_of = [](const Placed& p) {
    return p.converted.empty() ? p.tensor->data : std::span<const std::byte>(p.converted);
  };
  for (const Placed& p : matrices_) total += blocks_of(p).size();
  Uploader uploader(card_, code);
  for (const Placed& p : matrices_) {
    const std::span<const std::byte> blocks = blocks_of(p);
    const uint64_t row_bytes = blocks.size() / static_cast<uint64_t>(p.matrix.rows);
    if (row_bytes > kWindow)
      fail("{}: rows of {} bytes are longer than the upload window", p.tensor->name, row_bytes);
    for (int row = 0, rows = 0; row < p.matrix.rows; row += rows) {
      rows =
          std::min(static_cast<int>(uploader.window(row_bytes) / row_bytes), p.matrix.rows - row);
      gpu::kernels::RepackArgs args{};
      args.matrix = p.matrix;
      args.first_row = row;
      args.rows = rows;
      const auto piece = blocks.subspan(static_cast<uint64_t>(row) * row_bytes,
                                        static_cast<uint64_t>(args.rows) * row_bytes);
      uploader.add(piece, args);
      done += piece.size();
      if (options.on_progress) options.on_progress(done, total);
    }
  }
  uploader.finish();
}

bool Weights::hold(const program::Program& program) const {
  using enum program::WeightUse;
  return std::ranges::all_of(program.ops, [&](const program::Op& op) {
    return std::ranges::all_of(program::weight_uses(op), [&](const program::WeightOf& w) {
      if (w.id == program::kNone || w.use == kTable || w.use == kHostRow) return true;
      return w.use == kVector ? vector_offsets_.contains(w.id) : matrix_of_.contains(w.id);
    });
  });
}

gpu::kernels::Matrix Weights::matrix(WeightId id) const {
  return matrices_.at(matrix_of_.at(id)).matrix;
}

gpu::kernels::Ptr<const float> Weights::vector(WeightId id) const {
  if (id == program::kNone) return {};
  return {value(vectors_.address() + vector_offsets_.at(id))};
}

gpu::kernels::Ptr<const float> Weights::turns(const program::Rope& rope) const {
  return {value(vectors_.address() + turns_offsets_.at(turns_key(rope)))};
}

std::string Weights::turns_key(const program::Rope& rope) {
  return fmt::format("{} {:a} {:a} {} {:a} {:a} {:a} {}", rope.rotary, rope.base, rope.scale,
                     rope.factors, rope.extrapolation, rope.beta_fast, rope.beta_slow,
                     rope.original_context);
}

}  // namespace outboard::devices::amd
