#include "formats/importance.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::formats {
namespace {

constexpr std::string_view kSums = ".in_sum2";
constexpr std::string_view kCounts = ".counts";

// From bytes without alignment.
std::vector<float> to_floats(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

// The older format's numbers and texts, checked against the bytes that there are.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  bool at_end() const { return bytes_.empty(); }
  int32_t number(std::string_view what) {
    int32_t value = 0;
    std::memcpy(&value, take(sizeof(value), what).data(), sizeof(value));
    return value;
  }
  // A length in front of as many items.
  size_t count(std::string_view what, size_t item) {
    const int32_t value = number(what);
    if (value < 0 || static_cast<size_t>(value) > bytes_.size() / item)
      fail("{}: found {}, expected what fits into the {} bytes that follow", what, value,
           bytes_.size());
    return static_cast<size_t>(value);
  }
  std::string text(std::string_view what) {
    const size_t length = count(what, 1);
    const auto bytes = take(length, what);
    return {reinterpret_cast<const char*>(bytes.data()), length};
  }
  std::vector<float> floats(std::string_view what) {
    return to_floats(take(count(what, sizeof(float)) * sizeof(float), what));
  }

 private:
  std::span<const std::byte> take(size_t size, std::string_view what) {
    if (size > bytes_.size()) fail("{}: the file ends before it", what);
    const auto taken = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return taken;
  }
  std::span<const std::byte> bytes_;
};

void check_values(std::string_view name, const std::vector<float>& values) {
  if (!std::ranges::all_of(values, [](float x) { return std::isfinite(x) && x >= 0; }))
    fail("{}: found a mean of squares that is negative or no number", name);
}

void read_old(std::span<const std::byte> bytes, ImportanceMatrix& out) {
  Reader reader(bytes);
  const int32_t entries = reader.number("number of entries");
  if (entries < 1) fail("number of entries: found {}, expected at least 1", entries);
  for (int32_t i = 0; i < entries; ++i) {
    const std::string name = reader.text(fmt::format("name of entry {}", i));
    const int32_t calls = reader.number(name);
    std::vector<float> values = reader.floats(name);
    if (calls > 1)
      for (float& value : values) value /= static_cast<float>(calls);
    check_values(name, values);
    out.means[name] = std::move(values);
  }
  if (reader.at_end()) return;
  out.chunks = reader.number("number of chunks");
  if (!reader.at_end()) out.texts.push_back(reader.text("name of the text"));
}

std::vector<float> floats_of(std::span<const std::byte> file, const GgufTensor& tensor) {
  if (tensor.type != TensorType::F32)
    fail("{}: found {}, expected F32", tensor.name, type_info(tensor.type).name);
  return to_floats(file.subspan(tensor.offset, tensor.bytes));
}

void read_gguf(std::span<const std::byte> file, ImportanceMatrix& out) {
  const GgufHeader header = parse_gguf(file);
  if (header.metadata.contains("imatrix.datasets"))
    out.texts = header.metadata.get_strings("imatrix.datasets");
  out.chunks = header.metadata.get_int("imatrix.chunk_count", 0);
  std::map<std::string, const GgufTensor*, std::less<>> counts;
  for (const GgufTensor& tensor : header.tensors)
    if (tensor.name.ends_with(kCounts))
      counts[tensor.name.substr(0, tensor.name.size() - kCounts.size())] = &tensor;
  for (const GgufTensor& tensor : header.tensors) {
    if (!tensor.name.ends_with(kSums)) continue;
    const std::string name = tensor.name.substr(0, tensor.name.size() - kSums.size());
    const auto place = counts.find(name);
    if (place == counts.end()) fail("{}: there are sums, but no {}{}", name, name, kCounts);
    std::vector<float> values = floats_of(file, tensor);
    const std::vector<float> rows = floats_of(file, *place->second);
    if (rows.empty() || values.size() % rows.size() != 0)
      fail("{}: found {} sums for {} matrices", name, values.size(), rows.size());
    const size_t inputs = values.size() / rows.size();
    for (size_t matrix = 0; matrix < rows.size(); ++matrix) {
      const std::span<float> of_matrix = std::span(values).subspan(matrix * inputs, inputs);
      if (!(rows[matrix] > 0)) {
        std::ranges::fill(of_matrix, 1.0F);
      } else {
        for (float& value : of_matrix) value /= rows[matrix];
      }
    }
    check_values(name, values);
    out.means[name] = std::move(values);
  }
  if (out.means.empty())
    fail("found no tensor NAME{}, expected an importance matrix: a model's own file is another",
         kSums);
}

}  // namespace

const std::vector<float>* ImportanceMatrix::find(const Tensor& tensor) const {
  const auto place = means.find(tensor.name);
  if (place == means.end()) return nullptr;
  const auto columns = static_cast<size_t>(tensor.columns());
  const size_t matrices = tensor.shape.size() > 2 ? static_cast<size_t>(tensor.shape[0]) : 1;
  const size_t found = place->second.size();
  if (found == columns || found == columns * matrices) return &place->second;
  throw Error(fmt::format("{}: {}: found {} importances, expected one for each of {} columns{}",
                          path.string(), tensor.name, found, columns,
                          matrices > 1 ? fmt::format(" of {} matrices", matrices) : ""),
              "It was made of another model. `outboard imatrix` makes one of this.");
}

ImportanceMatrix read_importances(const std::filesystem::path& path) {
  ImportanceMatrix out;
  out.path = path;
  const MappedFile file(path);
  try {
    if (looks_like_gguf(file.bytes())) {
      read_gguf(file.bytes(), out);
    } else {
      read_old(file.bytes(), out);
    }
  } catch (Error& e) {
    e.add_context("importance matrix");
    e.add_context(path.string());
    throw;
  }
  return out;
}

void write_importances(const CollectedInputs& inputs, const std::filesystem::path& path) {
  Metadata metadata;
  metadata.set("general.type", std::string("imatrix"));
  metadata.set("imatrix.datasets", MetadataArray{std::vector<std::string>{inputs.text}});
  metadata.set("imatrix.chunk_count", inputs.chunks);
  metadata.set("imatrix.chunk_size", inputs.chunk_tokens);
  std::vector<TensorPlan> plans;
  for (const auto& [name, sums] : inputs.weights) {
    const auto matrices = static_cast<int64_t>(sums.counts.size());
    const int64_t columns = static_cast<int64_t>(sums.squares.size()) / matrices;
    plans.push_back({name + std::string(kSums), TensorType::F32, {matrices, columns}});
    plans.push_back({name + std::string(kCounts), TensorType::F32, {matrices, 1}});
  }
  GgufWriter writer(path, metadata, plans);
  for (const auto& [name, sums] : inputs.weights) {
    std::vector<float> values(sums.squares.begin(), sums.squares.end());
    writer.append(std::as_bytes(std::span(values)));
    values.assign(sums.counts.begin(), sums.counts.end());
    writer.append(std::as_bytes(std::span(values)));
  }
  writer.finish();
}

}  // namespace outboard::formats
