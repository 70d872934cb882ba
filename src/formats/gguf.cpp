#include "formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "formats/foreign_types.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr int kMaxArrayDepth = 8;
constexpr uint32_t kMaxDimensions = 4;
constexpr uint64_t kMaxNameBytes = 65535;  // the specification's limit for keys

// The smallest possible encodings, to check counts before anything is allocated.
constexpr size_t kSmallestEntry = 8 + 1 + 4 + 1;       // key length, key, type, value
constexpr size_t kSmallestTensor = 8 + 1 + 4 + 4 + 8;  // name length, name, dims, type, offset
constexpr size_t kSmallestString = 8;
constexpr size_t kSmallestArray = 4 + 8;

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }

  template <typename T>
  T number(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what), sizeof(T));
    return value;
  }

  std::string_view string(std::string_view what, uint64_t limit = UINT64_MAX) {
    const auto length = number<uint64_t>(what);
    if (length > remaining()) {
      throw Error(
          fmt::format("{}: found a string of {} bytes at offset {}, expected at most the {} "
                      "left in the file",
                      what, length, position_, remaining()),
          kGgufIncomplete);
    }
    if (length > limit) {
      fail("{}: found a string of {} bytes, expected at most {}", what, length, limit);
    }
    return {reinterpret_cast<const char*>(take(length, what)), static_cast<size_t>(length)};
  }

  // A count of things that take at least `smallest` bytes each.
  size_t count(std::string_view what, size_t smallest) {
    const auto found = number<uint64_t>(what);
    check_count(what, found, smallest);
    return static_cast<size_t>(found);
  }

  void check_count(std::string_view what, uint64_t found, size_t smallest) const {
    if (found > remaining() / smallest) {
      throw Error(fmt::format("{}: found {}, expected at most {} ({} bytes are left in the file at "
                              "offset {})",
                              what, found, remaining() / smallest, remaining(), position_),
                  kGgufIncomplete);
    }
  }

  const std::byte* take(size_t length, std::string_view what) {
    if (length > remaining()) {
      throw Error(fmt::format("{}: the file ends after {} of {} bytes at offset {}", what,
                              remaining(), length, position_),
                  kGgufIncomplete);
    }
    const std::byte* start = bytes_.data() + position_;
    position_ += length;
    return start;
  }

 private:
  std::span<const std::byte> bytes_;
  size_t position_ = 0;
};

GgufValueType read_value_type(Reader& reader, std::string_view what) {
  const auto number = reader.number<uint32_t>(what);
  if (number > static_cast<uint32_t>(GgufValueType::F64)) {
    fail("{}: found {}, expected a GGUF value type (0 to 12)", what, number);
  }
  return static_cast<GgufValueType>(number);
}

bool read_bool(Reader& reader) {
  const auto byte = reader.number<uint8_t>("value");
  if (byte > 1) fail("value: found bool {}, expected 0 or 1", byte);
  return byte == 1;
}

template <typename T>
MetadataArray read_numbers(Reader& reader) {
  const size_t count = reader.count("array length", sizeof(T));
  std::vector<T> numbers(count);
  const std::byte* bytes = reader.take(count * sizeof(T), "array");
  if (count != 0) std::memcpy(numbers.data(), bytes, count * sizeof(T));
  return {std::move(numbers)};
}

MetadataArray read_bools(Reader& reader) {
  const size_t count = reader.count("array length", 1);
  std::vector<bool> bools(count);
  for (size_t i = 0; i < count; ++i) bools[i] = read_bool(reader);
  return {std::move(bools)};
}

MetadataArray read_strings(Reader& reader) {
  const size_t count = reader.count("array length", kSmallestString);
  std::vector<std::string> strings;
  strings.reserve(count);
  for (size_t i = 0; i < count; ++i) strings.emplace_back(reader.string("array element"));
  return {std::move(strings)};
}

MetadataArray read_array(Reader& reader, int depth) {
  if (depth > kMaxArrayDepth) {
    fail("array: found arrays nested deeper than {}, expected at most {}", kMaxArrayDepth,
         kMaxArrayDepth);
  }
  switch (read_value_type(reader, "array element type")) {
    case GgufValueType::U8:
      return read_numbers<uint8_t>(reader);
    case GgufValueType::I8:
      return read_numbers<int8_t>(reader);
    case GgufValueType::U16:
      return read_numbers<uint16_t>(reader);
    case GgufValueType::I16:
      return read_numbers<int16_t>(reader);
    case GgufValueType::U32:
      return read_numbers<uint32_t>(reader);
    case GgufValueType::I32:
      return read_numbers<int32_t>(reader);
    case GgufValueType::F32:
      return read_numbers<float>(reader);
    case GgufValueType::Bool:
      return read_bools(reader);
    case GgufValueType::String:
      return read_strings(reader);
    case GgufValueType::U64:
      return read_numbers<uint64_t>(reader);
    case GgufValueType::I64:
      return read_numbers<int64_t>(reader);
    case GgufValueType::F64:
      return read_numbers<double>(reader);
    case GgufValueType::Array:
      break;
  }
  const size_t count = reader.count("array length", kSmallestArray);
  std::vector<MetadataArray> arrays;
  arrays.reserve(count);
  for (size_t i = 0; i < count; ++i) arrays.push_back(read_array(reader, depth + 1));
  return {std::move(arrays)};
}

MetadataValue read_value(Reader& reader) {
  switch (read_value_type(reader, "value type")) {
    case GgufValueType::U8:
      return reader.number<uint8_t>("value");
    case GgufValueType::I8:
      return reader.number<int8_t>("value");
    case GgufValueType::U16:
      return reader.number<uint16_t>("value");
    case GgufValueType::I16:
      return reader.number<int16_t>("value");
    case GgufValueType::U32:
      return reader.number<uint32_t>("value");
    case GgufValueType::I32:
      return reader.number<int32_t>("value");
    case GgufValueType::F32:
      return reader.number<float>("value");
    case GgufValueType::Bool:
      return read_bool(reader);
    case GgufValueType::String:
      return std::string(reader.string("value"));
    case GgufValueType::U64:
      return reader.number<uint64_t>("value");
    case GgufValueType::I64:
      return reader.number<int64_t>("value");
    case GgufValueType::F64:
      return reader.number<double>("value");
    case GgufValueType::Array:
      break;
  }
  return read_array(reader, 1);
}

// Runs body with "part: " in front of any error it throws; costs nothing when all is well.
template <typename Body>
auto in_context(const char* kind, std::string_view name, Body&& body) {
  try {
    return body();
  } catch (Error& error) {
    error.add_context(fmt::format("{} {}", kind, name));
    throw;
  }
}

void read_metadata(Reader& reader, size_t count, Metadata& metadata) {
  for (size_t i = 0; i < count; ++i) {
    std::string_view key;
    try {
      key = reader.string("key", kMaxNameBytes);
      if (key.empty()) fail("key: found an empty string, expected a name");
    } catch (Error& error) {
      error.add_context(fmt::format("metadata entry {} of {}", i + 1, count));
      throw;
    }
    in_context("metadata", key, [&] {
      if (metadata.contains(key)) fail("found the key twice, expected it once");
      metadata.set(std::string(key), read_value(reader));
    });
  }
}

std::vector<int64_t> read_shape(Reader& reader) {
  const auto dimensions = reader.number<uint32_t>("dimension count");
  if (dimensions > kMaxDimensions) {
    fail("dimension count: found {}, expected at most {}", dimensions, kMaxDimensions);
  }
  std::vector<int64_t> shape(dimensions);
  int64_t elements = 1;
  for (size_t i = 0; i < dimensions; ++i) {
    const auto size = reader.number<uint64_t>("dimension");
    if (size > static_cast<uint64_t>(INT64_MAX)) {
      fail("dimension {}: found {}, expected at most 2^63 - 1", i, size);
    }
    shape[dimensions - 1 - i] = static_cast<int64_t>(size);
    // Without the zeros: the product of the others fits in whatever order they are multiplied.
    const auto factor = std::max<int64_t>(1, static_cast<int64_t>(size));
    if (__builtin_mul_overflow(elements, factor, &elements)) {
      fail("dimensions: their product overflows 63 bits");
    }
  }
  return shape;
}

// The offset stays as stored, counted from the data section, until that is known.
GgufTensor read_tensor(Reader& reader) {
  GgufTensor tensor;
  tensor.shape = read_shape(reader);
  const auto number = reader.number<uint32_t>("type");
  const auto type = tensor_type(number);
  if (!type) throw unknown_type(number);
  tensor.type = *type;
  tensor.offset = reader.number<uint64_t>("offset");

  const TypeInfo& info = type_info(tensor.type);
  const int64_t columns = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (columns % info.block_elements != 0) {
    fail("dimension 0: found {}, expected a multiple of {} for {}", columns, info.block_elements,
         info.name);
  }
  int64_t elements = 1;
  for (const int64_t size : tensor.shape) elements *= size;  // checked in read_shape
  tensor.bytes = storage_bytes(tensor.type, elements);
  return tensor;
}

// Turns offsets into offsets from the file's start and checks that the bytes are there.
void place_tensors(GgufHeader& header, size_t file_bytes) {
  for (GgufTensor& tensor : header.tensors) {
    in_context("tensor", tensor.name, [&] {
      if (tensor.offset % header.alignment != 0) {
        fail("offset: found {}, expected a multiple of the alignment {}", tensor.offset,
             header.alignment);
      }
      size_t end = 0;
      if (__builtin_add_overflow(tensor.offset, header.data_offset, &tensor.offset) ||
          __builtin_add_overflow(tensor.offset, tensor.bytes, &end) || end > file_bytes) {
        throw Error(
            fmt::format("found {} bytes at offset {} of the file, expected them to end within its "
                        "{} bytes",
                        tensor.bytes, tensor.offset, file_bytes),
            kGgufIncomplete);
      }
    });
  }
}

void check_overlaps(const std::vector<GgufTensor>& tensors) {
  std::vector<const GgufTensor*> order;
  order.reserve(tensors.size());
  for (const GgufTensor& tensor : tensors)
    if (tensor.bytes > 0) order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const GgufTensor& before = *order[i - 1];
    const GgufTensor& tensor = *order[i];
    if (tensor.offset < before.offset + before.bytes) {
      fail(
          "tensor {}: found its bytes at offset {}, inside those of {} ({} to {}), expected no "
          "overlap",
          tensor.name, tensor.offset, before.name, before.offset, before.offset + before.bytes);
    }
  }
}

uint32_t read_version(Reader& reader) {
  const auto version = reader.number<uint32_t>("version");
  if (version == 2 || version == 3) return version;
  if ((version & 0xffff) == 0 && version != 0) {
    throw Error("version: found a big-endian file, expected a little-endian one",
                "Get the model in a little-endian file, or turn it around with the Python package "
                "gguf: gguf-convert-endian FILE little.");
  }
  if (version == 1) {
    throw Error("version: found 1, expected 2 or 3: this is GGUF's first version, of August 2023",
                "Get the model in a newer file, or convert it again from its original weights.");
  }
  fail("version: found {}, expected 2 or 3", version);
}

}  // namespace

size_t gguf_alignment(const Metadata& metadata) {
  const int64_t alignment = metadata.get_int(kGgufAlignmentKey, kGgufDefaultAlignment);
  if (alignment <= 0 || alignment > (1 << 30) ||
      !std::has_single_bit(static_cast<uint64_t>(alignment))) {
    fail("metadata {}: found {}, expected a power of two up to 2^30", kGgufAlignmentKey, alignment);
  }
  return static_cast<size_t>(alignment);
}

bool looks_like_gguf(std::span<const std::byte> file) {
  return file.size() >= kMagic.size() &&
         std::memcmp(file.data(), kMagic.data(), kMagic.size()) == 0;
}

GgufHeader parse_gguf(std::span<const std::byte> file) {
  if (!looks_like_gguf(file)) {
    throw Error("magic: expected the file to begin with \"GGUF\"",
                "A model is a GGUF file, or a Hugging Face folder with config.json.");
  }
  Reader reader(file);
  reader.take(kMagic.size(), "magic");

  GgufHeader header;
  header.version = read_version(reader);
  const auto tensor_count = reader.number<uint64_t>("tensor count");
  const size_t entry_count = reader.count("metadata count", kSmallestEntry);
  reader.check_count("tensor count", tensor_count, kSmallestTensor);
  read_metadata(reader, entry_count, header.metadata);
  header.alignment = gguf_alignment(header.metadata);

  reader.check_count("tensor count", tensor_count, kSmallestTensor);
  header.tensors.reserve(tensor_count);
  std::unordered_set<std::string_view> names;  // views into the file
  for (size_t i = 0; i < tensor_count; ++i) {
    const std::string_view name =
        in_context("tensor", fmt::format("{} of {}", i + 1, tensor_count), [&] {
          const std::string_view found = reader.string("name", kMaxNameBytes);
          if (found.empty()) fail("name: found an empty string, expected a name");
          return found;
        });
    in_context("tensor", name, [&] {
      if (!names.insert(name).second) fail("found the name twice, expected it once");
      header.tensors.push_back(read_tensor(reader));
      header.tensors.back().name = name;
    });
  }

  header.data_offset = (reader.position() + header.alignment - 1) & ~(header.alignment - 1);
  place_tensors(header, file.size());
  check_overlaps(header.tensors);
  return header;
}

}  // namespace outboard::formats
