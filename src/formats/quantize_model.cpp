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

Metadata output_metadata(const Model& model, Mix mix, const ImportanceMatrix* importances) {
  Metadata metadata;
  for (const auto& [key, value] : model.metadata.entries()) {
    if (key.starts_with("split.") || key == "outboard.rope.neox") continue;
    metadata.set(key, value);
  }
  metadata.set("general.quantization_version", kQuantizationVersion);
  metadata.set("general.file_type", static_cast<uint32_t>(mix));
  if (importances != nullptr) {
    metadata.set("quantize.imatrix.file", importances->path.filename().string());
    if (!importances->texts.empty())
      metadata.set("quantize.imatrix.dataset", importances->texts.front());
    metadata.set("quantize.imatrix.entries_count",
                 static_cast<uint32_t>(importances->means.size()));
    if (importances->chunks > 0)
      metadata.set("quantize.imatrix.chunks_count", static_cast<uint32_t>(importances->chunks));
  }
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
    const std::string key = architecture + ".attention.head_count_kv";
    const MetadataValue* k_heads = model.metadata.find(key);
    if (k_heads == nullptr || !std::holds_alternative<MetadataArray>(*k_heads)) {
      k_heads_ = model.metadata.get_int(key, q_heads_);
      return;
    }
    // By layer: 0 where none attends, the same in all others.
    for (const int64_t heads : model.metadata.get_ints(key)) {
      if (heads == 0) continue;
      if (k_heads_ != 0 && heads != k_heads_)
        fail("{}: {}: found {} and {}, expected one number", source_, key, k_heads_, heads);
      k_heads_ = heads;
    }
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
    for (int i = 0; i < team_.size(); ++i) {
      values_.emplace_back(kChunk);
      importances_.emplace_back(kChunk);
    }
  }

  // importance: of ImportanceMatrix::find(), or null. done(bytes of the source) is called after
  // each slab.
  template <typename Done>
  void convert(const Tensor& tensor, std::span<const std::byte> from, TensorType type,
               const std::vector<float>* importance, GgufWriter& writer, Done done) {
    // The team's body must not throw: refuse here what it would refuse.
    if (!can_quantize(type)) fail("{}: no encoder", type_info(type).name);
    if (tensor.elements() == 0) return;
    dequantize(tensor.type, from.data(), std::span(values_[0]).first(first_block(tensor)));

    const int64_t elements = tensor.elements();
    for (int64_t begin = 0; begin < elements; begin += kSlab) {
      const int64_t count = std::min(kSlab, elements - begin);
      output_.resize(bytes_of(type, count));
      convert_slab(tensor, from.data() + bytes_of(tensor.type, begin), type, begin, count,
                   importance);
      writer.append(output_);
      done(bytes_of(tensor.type, count));
    }
  }

 private:
  static size_t first_block(const Tensor& tensor) {
    return static_cast<size_t>(type_info(tensor.type).block_elements);
  }

  // The importances of the elements from `first` on.
  static void spread(const Tensor& tensor, const std::vector<float>& importance, int64_t first,
                     std::span<float> out) {
    const int64_t columns = tensor.columns();
    const bool by_matrix = importance.size() > static_cast<size_t>(columns);
    const int64_t matrix = by_matrix ? columns * tensor.shape[1] : tensor.elements();
    for (size_t i = 0; i < out.size(); ++i) {
      const int64_t element = first + static_cast<int64_t>(i);
      out[i] = importance[static_cast<size_t>(element / matrix * columns + element % columns)];
    }
  }

  void convert_slab(const Tensor& tensor, const std::byte* from, TensorType type, int64_t first,
                    int64_t count, const std::vector<float>* importance) {
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
        std::span<float> importances;
        if (importance != nullptr) {
          importances = std::span(importances_[static_cast<size_t>(thread)]).first(size);
          spread(tensor, *importance, first + begin, importances);
        }
        quantize(type, values, output_.data() + bytes_of(type, begin), importances);
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
  std::vector<std::vector<float>> values_;       // one a thread
  std::vector<std::vector<float>> importances_;  // the same
  std::vector<std::byte> output_;
};

// Two bits for nearly everything: without knowing what matters the model talks nonsense, so
// llama.cpp refuses, too. The embedding and the output need none.
void refuse_missing(const Model& model, Mix mix, std::span<const TensorType> types,
                    const ImportanceMatrix* importances) {
  if (mix != Mix::Q2_K_S) return;
  for (size_t i = 0; i < types.size(); ++i) {
    const Tensor& tensor = model.tensors()[i];
    if (types[i] != TensorType::Q2_K || tensor.name == "token_embd.weight" ||
        (importances != nullptr && importances->find(tensor) != nullptr))
      continue;
    throw Error(fmt::format("{}: Q2_K_S needs importances, and there are none of {}",
                            model.path.string(), tensor.name),
                "`outboard imatrix` makes them of a text, and --imatrix reads them. Q2_K does "
                "without.");
  }
}

}  // namespace

std::vector<const Tensor*> rounded_twice(const Model& model, Mix mix, bool has_importances) {
  const std::vector<TensorType> types = choose_types(model, mix, has_importances);
  std::vector<const Tensor*> tensors;
  for (size_t i = 0; i < types.size(); ++i) {
    const Tensor& tensor = model.tensors()[i];
    if (tensor.type != types[i] && type_info(tensor.type).quantized &&
        type_info(types[i]).quantized)
      tensors.push_back(&tensor);
  }
  return tensors;
}

uint64_t quantize_model(const Model& model, const std::filesystem::path& out, Mix mix,
                        const QuantizeOptions& options) {
  const std::vector<TensorType> types = choose_types(model, mix, options.importances != nullptr);
  refuse_missing(model, mix, types, options.importances);
  std::vector<TensorPlan> plans;
  plans.reserve(types.size());
  for (size_t i = 0; i < types.size(); ++i) {
    plans.push_back({model.tensors()[i].name, types[i], model.tensors()[i].shape});
  }
  const RowOrder order(model);
  Converter converter(model, options.threads);
  GgufWriter writer(out, output_metadata(model, mix, options.importances), plans);
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
      const std::vector<float>* importance =
          options.importances != nullptr ? options.importances->find(tensor) : nullptr;
      converter.convert(tensor, from, types[i], importance, writer, report);
    }
  }
  writer.finish();
  return writer.bytes_written();
}

}  // namespace outboard::formats
