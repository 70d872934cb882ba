#include "formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <string_view>
#include <tuple>

#include "formats/json_file.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own library
constexpr int kMaxDepth = 4;                       // file, tensor, list, and one to spare

struct Dtype {
  std::string_view name;
  size_t bytes;
  std::optional<TensorType> type;
};

constexpr Dtype kDtypes[] = {
    {"F32", 4, TensorType::F32},
    {"F16", 2, TensorType::F16},
    {"BF16", 2, TensorType::BF16},
    {"F64", 8, TensorType::F64},
    {"I8", 1, TensorType::I8},
    {"I16", 2, TensorType::I16},
    {"I32", 4, TensorType::I32},
    {"I64", 8, TensorType::I64},
    {"BOOL", 1, {}},
    {"U8", 1, {}},
    {"U16", 2, {}},
    {"U32", 4, {}},
    {"U64", 8, {}},
    {"F8_E4M3", 1, {}},
    {"F8_E5M2", 1, {}},
};

const Dtype& find_dtype(const std::string& name) {
  for (const Dtype& dtype : kDtypes) {
    if (dtype.name == name) return dtype;
  }
  fail("dtype: found \"{}\", expected a known one (F32, F16, BF16, ...)", name.substr(0, 40));
}

// A list of integers of at least 0.
std::vector<int64_t> read_sizes(const Json& tensor, const char* key) {
  const Json* list = json_field(tensor, key);
  if (list == nullptr || !list->is_array()) fail("{}: expected a list of integers", key);
  std::vector<int64_t> sizes;
  for (const Json& size : *list) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > INT64_MAX) {
      fail("{}: found something else than an integer of at least 0", key);
    }
    sizes.push_back(size.get<int64_t>());
  }
  return sizes;
}

SafeTensor read_tensor(const std::string& name, const Json& entry, size_t data_bytes) {
  if (!entry.is_object()) fail("expected an object");
  SafeTensor tensor;
  tensor.name = name;
  const auto dtype_name = json_string(entry, "dtype");
  if (!dtype_name) fail("dtype: it is missing");
  const Dtype& dtype = find_dtype(*dtype_name);
  tensor.dtype = dtype.name;
  tensor.type = dtype.type;
  tensor.shape = read_sizes(entry, "shape");
  tensor.bytes = dtype.bytes;
  for (const int64_t size : tensor.shape) {
    if (__builtin_mul_overflow(tensor.bytes, static_cast<size_t>(size), &tensor.bytes)) {
      fail("shape: the product of its sizes overflows 64 bits");
    }
  }
  const std::vector<int64_t> offsets = read_sizes(entry, "data_offsets");
  if (offsets.size() != 2) fail("data_offsets: found {} numbers, expected 2", offsets.size());
  const auto begin = static_cast<size_t>(offsets[0]);
  const auto end = static_cast<size_t>(offsets[1]);
  if (begin > end || end > data_bytes) {
    throw Error(fmt::format("data_offsets: found [{}, {}], expected them in order and within the "
                            "{} bytes after the header",
                            begin, end, data_bytes),
                "The file is incomplete or damaged: get it again.");
  }
  if (end - begin != tensor.bytes) {
    fail("data_offsets: found {} bytes, expected {} for {} of this shape", end - begin,
         tensor.bytes, tensor.dtype);
  }
  tensor.offset = begin;
  return tensor;
}

// The format allows neither overlaps nor holes.
void check_layout(const std::vector<SafeTensor>& tensors, size_t data_bytes) {
  size_t end = 0;
  for (const SafeTensor& tensor : tensors) {
    if (tensor.offset != end) {
      fail("tensor {}: data_offsets: found {}, expected {}, where the tensor before it ends",
           tensor.name, tensor.offset, end);
    }
    end += tensor.bytes;
  }
  if (end != data_bytes) {
    fail("found {} bytes after the header, expected the {} of the tensors", data_bytes, end);
  }
}

}  // namespace

std::vector<SafeTensor> parse_safetensors(std::span<const std::byte> file) {
  if (file.size() < kLengthBytes) {
    fail("header length: found {} bytes, expected at least {}", file.size(), kLengthBytes);
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), kLengthBytes);
  const uint64_t limit = std::min<uint64_t>(file.size() - kLengthBytes, kMaxHeaderBytes);
  if (header_bytes > limit) {
    fail("header length: found {}, expected at most {}", header_bytes, limit);
  }
  const Json header = [&] {
    try {
      return parse_json({reinterpret_cast<const char*>(file.data()) + kLengthBytes, header_bytes},
                        kMaxDepth);
    } catch (Error& error) {
      error.add_context("header");
      throw;
    }
  }();
  if (!header.is_object()) fail("header: expected an object");

  const size_t data_offset = kLengthBytes + header_bytes;
  const size_t data_bytes = file.size() - data_offset;
  std::vector<SafeTensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    try {
      tensors.push_back(read_tensor(name, entry, data_bytes));
    } catch (Error& error) {
      error.add_context("tensor " + name);
      throw;
    }
  }
  std::sort(tensors.begin(), tensors.end(), [](const SafeTensor& a, const SafeTensor& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  check_layout(tensors, data_bytes);
  for (SafeTensor& tensor : tensors) tensor.offset += data_offset;
  return tensors;
}

std::vector<std::filesystem::path> safetensors_files(const std::filesystem::path& folder) {
  const std::filesystem::path single = folder / "model.safetensors";
  const std::filesystem::path index_path = folder / "model.safetensors.index.json";
  if (!std::filesystem::exists(index_path)) {
    if (std::filesystem::exists(single)) return {single};
    throw Error(fmt::format("{}: found neither model.safetensors nor model.safetensors.index.json",
                            folder.string()),
                "Outboard reads weights from these and from pytorch_model.bin in one part.");
  }
  const Json index = read_json(index_path);
  const Json* weights = json_field(index, "weight_map");
  if (weights == nullptr || !weights->is_object()) {
    fail("{}: weight_map: expected an object", index_path.string());
  }
  std::set<std::string> names;
  for (const auto& [tensor, file] : weights->items()) {
    if (!file.is_string())
      fail("{}: weight_map: {}: expected a file name", index_path.string(), tensor);
    names.insert(file.get<std::string>());
  }
  std::vector<std::filesystem::path> files;
  for (const std::string& name : names) {
    const std::filesystem::path path(name);
    if (name.empty() || path.filename() != path || name == "." || name == "..") {
      fail("{}: weight_map: found \"{}\", expected a file name without a folder",
           index_path.string(), name);
    }
    if (!std::filesystem::exists(folder / path)) {
      throw Error(fmt::format("{}: the file is missing", (folder / path).string()),
                  "model.safetensors.index.json names it: all parts must lie in the folder.");
    }
    files.push_back(folder / path);
  }
  if (files.empty()) fail("{}: weight_map: found no files", index_path.string());
  return files;
}

}  // namespace outboard::formats
