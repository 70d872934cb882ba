#include "formats/quantize_model.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "formats/gguf_writer.h"
#include "formats/quantize.h"
#include "support/error.h"
#include "support/thread_team.h"

namespace outboard::formats {
namespace {

constexpr uint32_t kQuantizationVersion =
    2;  // of the block formats, in general.quantization_version
constexpr int64_t kChunk =
    16 * 1024;  // elements a thread takes at a time: whole blocks of any format
constexpr int64_t kSlab = 256 * kChunk;  // elements converted before they are written
constexpr float kHalfLimit = 65520;      // rounds to infinity as a half

Metadata output_metadata(const Model& model, Mix mix) {
  Metadata metadata;
  for (const auto& [key, value] : model.metadata.entries()) {
    if (key.starts_with("split.") || key == "outboard.rope.neox") continue;
    metadata.set(key, value);
  }
  metadata.set("general.quantization_version", kQuantizationVersion);
  metadata.set("general.file_type", static_cast<uint32_t>(mix));
  return metadata;
}

// A Hugging Face llama rotates the first half of a head against the second; GGUF's llama rotates
// neighbours, so q's and k's rows are interleaved: within a head, row k * half + j goes to 2j + k.
class RowOrder {
 public:
  explicit RowOrder(const Model& model) : source_(model.path.string()) {
    if (!model.metadata.get_bool("outboard.rope.neox", false)) return;
    const std::string architecture = model.metadata.get_string("general.architecture");
    q_heads_ = model.metadata.get_int(architecture + ".attention.head_count");
    k_heads_ = model.metadata.get_int(architecture + ".attention.head_count_kv", q_heads_);
  }

  // The tensor's bytes in GGUF's order; `storage` holds them when they had to be moved.
  std::span<const std::byte> bytes(const Tensor& tensor, std::vector<std::byte>& storage) const {
    const int64_t heads = heads_of(tensor.name);
    if (heads == 0) return tensor.data;
    // A bias is one row per output too.
    const int64_t rows = tensor.shape.front();
    const int64_t half = rows / heads / 2;
    if (half == 0 || half * 2 * heads != rows) {
      fail("{}: tensor {}: found {} rows, expected a multiple of 2 for each of {} heads", source_,
           tensor.name, rows, heads);
    }
    const size_t row_bytes = tensor.data.size() / static_cast<size_t>(rows);
    storage.resize(tensor.data.size());
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t within = row % (2 * half);
      const int64_t to = row - within + 2 * (within % half) + within / half;
      std::memcpy(storage.data() + static_cast<size_t>(to) * row_bytes,
                  tensor.data.data() + static_cast<size_t>(row) * row_bytes, row_bytes);
    }
    return storage;
  }

 private:
  int64_t heads_of(std::string_view name) const {
    if (q_heads_ == 0) return 0;
    if (name.ends_with(".attn_q.weight") || name.ends_with(".attn_q.bias")) return q_heads_;
    if (name.ends_with(".attn_k.weight") || name.ends_with(".attn_k.bias")) return k_heads_;
    return 0;
  }

  std::string source_;  // for messages
  int64_t q_heads_ = 0;
  int64_t k_heads_ = 0;
};

size_t bytes_of(TensorType type, int64_t elements) { return storage_bytes(type, elements); }

// Converts tensors slab by slab on all threads.
class Converter {
 public:
  Converter(const Model& model, int threads) : source_(model.path.string()), team_(threads) {
    for (int i = 0; i < team_.size(); ++i) values_.emplace_back(kChunk);
  }

  // done(bytes of the source) is called after each slab.
  template <typename Done>
  void convert(const Tensor& tensor, std::span<const std::byte> from, TensorType type,
               GgufWriter& writer, Done done) {
    // The team's body must not throw: refuse here what it would refuse.
    if (!can_quantize(type)) fail("{}: no encoder", type_info(type).name);
    if (tensor.elements() == 0) return;
    dequantize(tensor.type, from.data(), std::span(values_[0]).first(first_block(tensor)));

    const int64_t elements = tensor.elements();
    for (int64_t begin = 0; begin < elements; begin += kSlab) {
      const int64_t count = std::min(kSlab, elements - begin);
      output_.resize(bytes_of(type, count));
      convert_slab(tensor, from.data() + bytes_of(tensor.type, begin), type, count);
      writer.append(output_);
      done(bytes_of(tensor.type, count));
    }
  }

 private:
  static size_t first_block(const Tensor& tensor) {
    return static_cast<size_t>(type_info(tensor.type).block_elements);
  }

  void convert_slab(const Tensor& tensor, const std::byte* from, TensorType type, int64_t count) {
    std::atomic<int64_t> next{0};
    std::atomic<bool> bad{false};
    const float limit = type == TensorType::F16 ? kHalfLimit : INFINITY;
    team_.run([&](int thread) {
      for (int64_t begin = next.fetch_add(kChunk); begin < count; begin = next.fetch_add(kChunk)) {
        const auto size = static_cast<size_t>(std::min(kChunk, count - begin));
        const std::span<float> values = std::span(values_[static_cast<size_t>(thread)]).first(size);
        dequantize(tensor.type, from + bytes_of(tensor.type, begin), values);
        for (const float value : values) {
          if (!(std::fabs(value) < limit)) bad = true;
        }
        quantize(type, values, output_.data() + bytes_of(type, begin));
      }
    });
    if (bad) {
      fail(
          "{}: tensor {}: found NaN, infinity or a value too large for {}, expected finite numbers",
          source_, tensor.name, type_info(type).name);
    }
  }

  std::string source_;  // for messages
  ThreadTeam team_;
  std::vector<std::vector<float>> values_;  // one a thread
  std::vector<std::byte> output_;
};

}  // namespace

uint64_t quantize_model(const Model& model, const std::filesystem::path& out, Mix mix,
                        const QuantizeOptions& options) {
  const std::vector<TensorType> types = choose_types(model, mix);
  std::vector<TensorPlan> plans;
  plans.reserve(types.size());
  for (size_t i = 0; i < types.size(); ++i) {
    plans.push_back({model.tensors()[i].name, types[i], model.tensors()[i].shape});
  }
  const RowOrder order(model);
  Converter converter(model, options.threads);
  GgufWriter writer(out, output_metadata(model, mix), plans);
  const uint64_t total = model.tensor_bytes();
  uint64_t finished = 0;
  const auto report = [&](uint64_t bytes) {
    finished += bytes;
    if (options.progress) options.progress(finished, total);
  };
  for (size_t i = 0; i < types.size(); ++i) {
    const Tensor& tensor = model.tensors()[i];
    std::vector<std::byte> storage;
    const std::span<const std::byte> from = order.bytes(tensor, storage);
    if (types[i] == tensor.type) {
      writer.append(from);
      report(from.size());
    } else {
      converter.convert(tensor, from, types[i], writer, report);
    }
  }
  writer.finish();
  return writer.bytes_written();
}

}  // namespace outboard::formats
