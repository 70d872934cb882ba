#include "formats/torch_file.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <unordered_set>

#include "formats/pickle.h"
#include "formats/zip_archive.h"
#include "support/error.h"

namespace outboard::formats {
namespace {

struct StorageType {
  std::string_view name;  // in the pickle
  std::string_view dtype;
  size_t bytes;
  std::optional<TensorType> type;
};

constexpr StorageType kStorageTypes[] = {
    {"FloatStorage", "float32", 4, TensorType::F32},
    {"HalfStorage", "float16", 2, TensorType::F16},
    {"BFloat16Storage", "bfloat16", 2, TensorType::BF16},
    {"DoubleStorage", "float64", 8, TensorType::F64},
    {"LongStorage", "int64", 8, TensorType::I64},
    {"IntStorage", "int32", 4, TensorType::I32},
    {"ShortStorage", "int16", 2, TensorType::I16},
    {"CharStorage", "int8", 1, TensorType::I8},
    {"ByteStorage", "uint8", 1, {}},
    {"BoolStorage", "bool", 1, {}},
};

using Bytes = std::span<const std::byte>;

// Which bytes are the storage of a key.
using Storages = std::map<std::string, Bytes, std::less<>>;

const PickleValue& item(const PickleValue& tuple, size_t index, PickleKind kind,
                        std::string_view what) {
  if (index >= tuple.items.size() || tuple.items[index]->kind != kind) {
    fail("{}: found {}, expected {}", what,
         index < tuple.items.size() ? kind_name(tuple.items[index]->kind) : "nothing",
         kind_name(kind));
  }
  return *tuple.items[index];
}

std::vector<int64_t> sizes(const PickleValue& tuple, std::string_view what) {
  constexpr size_t kMaxDimensions = 16;
  if (tuple.items.size() > kMaxDimensions) {
    fail("{}: found {} dimensions, expected at most {}", what, tuple.items.size(), kMaxDimensions);
  }
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < tuple.items.size(); ++i) {
    const int64_t size = item(tuple, i, PickleKind::kInt, what).number;
    if (size < 0) fail("{}: found {}, expected at least 0", what, size);
    numbers.push_back(size);
  }
  return numbers;
}

// ("storage", class, key, device, elements); older files add what part of another storage it is.
struct StorageId {
  const StorageType* type;
  std::string_view key;
  uint64_t elements;
};

StorageId storage_id(const PickleValue& storage) {
  if (item(storage, 0, PickleKind::kString, "storage").text != "storage") {
    fail("storage: found another persistent id, expected \"storage\"");
  }
  const std::string_view name = item(storage, 1, PickleKind::kGlobal, "storage: class").text;
  const auto* type = std::find_if(std::begin(kStorageTypes), std::end(kStorageTypes),
                                  [&](const StorageType& row) { return row.name == name; });
  if (type == std::end(kStorageTypes)) fail("storage: class: found {}, expected a storage", name);
  const std::string_view key = item(storage, 2, PickleKind::kString, "storage: key").text;
  const int64_t elements = item(storage, 4, PickleKind::kInt, "storage: elements").number;
  if (elements < 0) fail("storage: elements: found {}, expected at least 0", elements);
  if (storage.items.size() > 5 && storage.items[5]->kind != PickleKind::kNone) {
    fail("storage {}: found a part of another storage, which is not supported", key.substr(0, 60));
  }
  return {type, key, static_cast<uint64_t>(elements)};
}

uint64_t bytes_of(const StorageId& id) {
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(id.elements, id.type->bytes, &bytes)) {
    fail("storage: elements: found {}, more bytes than 64 bits count", id.elements);
  }
  return bytes;
}

// Reads the state_dict's tensors out of their storages.
class TensorReader {
 public:
  TensorReader(TorchFile& file, const Storages& storages) : file_(file), storages_(storages) {
    uint64_t total = 0;
    for (const auto& [key, bytes] : storages) total += bytes.size();
    may_copy_ = 4 * total;
  }

  void read(const PickleValue& state) {
    if (state.kind != PickleKind::kDict) {
      fail("found {}, expected a dict of tensors", kind_name(state.kind));
    }
    std::unordered_set<std::string_view> names;
    for (size_t i = 0; i < state.items.size(); i += 2) {
      const PickleValue& name = item(state, i, PickleKind::kString, "a tensor's name");
      const std::string shown(name.text.substr(0, 200));
      if (!names.insert(name.text).second) fail("tensor {}: found the name twice", shown);
      try {
        file_.tensors.push_back(tensor(std::string(name.text), *state.items[i + 1]));
      } catch (Error& error) {
        error.add_context("tensor " + shown);
        throw;
      }
    }
  }

 private:
  // The arguments: storage, offset, shape, strides, requires_grad, hooks.
  TorchTensor tensor(std::string name, const PickleValue& value) {
    if (value.kind != PickleKind::kTensor) {
      fail("found {}, expected a tensor", kind_name(value.kind));
    }
    const StorageId id = storage_id(item(value, 0, PickleKind::kStorage, "storage"));
    const Bytes storage = storage_bytes_of(id);
    const int64_t offset = item(value, 1, PickleKind::kInt, "offset").number;
    TorchTensor tensor{std::move(name),
                       std::string(id.type->dtype),
                       id.type->type,
                       sizes(item(value, 2, PickleKind::kTuple, "shape"), "shape"),
                       {}};
    const auto strides = sizes(item(value, 3, PickleKind::kTuple, "strides"), "strides");
    if (strides.size() != tensor.shape.size()) {
      fail("strides: found {}, expected {}, one a dimension", strides.size(), tensor.shape.size());
    }

    const size_t size = id.type->bytes;
    // 1 + the last element's index: at most the storage's elements.
    uint64_t elements = 1;
    uint64_t end = 1;
    bool row_major = true;
    for (size_t i = tensor.shape.size(); i-- > 0;) {
      const auto length = static_cast<uint64_t>(tensor.shape[i]);
      const auto stride = static_cast<uint64_t>(strides[i]);
      row_major = row_major && (length == 1 || stride == elements);
      uint64_t reach = 0;
      if (__builtin_mul_overflow(elements, length, &elements) ||
          (length > 0 && (__builtin_mul_overflow(length - 1, stride, &reach) ||
                          __builtin_add_overflow(end, reach, &end)))) {
        fail("shape: the product of its sizes and strides overflows 64 bits");
      }
    }
    if (elements == 0) return tensor;
    if (offset < 0 || __builtin_add_overflow(end, static_cast<uint64_t>(offset), &end) ||
        end > id.elements) {
      fail("strides: found an element outside of its storage of {} elements (offset {})",
           id.elements, offset);
    }
    if (elements > id.elements) {
      fail("shape: found {} elements in a storage of {}: an expanded view", elements, id.elements);
    }
    const Bytes from = storage.subspan(static_cast<size_t>(offset) * size);
    tensor.data = row_major ? from.first(elements * size)
                            : gather(from, tensor.shape, strides, elements, size);
    return tensor;
  }

  Bytes storage_bytes_of(const StorageId& id) const {
    const auto place = storages_.find(id.key);
    const std::string key(id.key.substr(0, 60));
    if (place == storages_.end()) fail("storage {}: it is missing in the file", key);
    if (bytes_of(id) != place->second.size()) {
      throw Error(fmt::format("storage {}: found {} bytes, expected {} elements of {}", key,
                              place->second.size(), id.elements, id.type->dtype),
                  "The file is incomplete or damaged: get it again.");
    }
    return place->second;
  }

  // A copy in row-major order.
  Bytes gather(Bytes from, const std::vector<int64_t>& shape, const std::vector<int64_t>& strides,
               uint64_t elements, size_t size) {
    if (elements * size > may_copy_) {
      fail("strides: the file asks for more copies of its storages than a model needs");
    }
    may_copy_ -= elements * size;
    auto copy = std::make_shared<std::vector<std::byte>>(elements * size);
    std::vector<int64_t> index(shape.size());
    size_t at = 0;  // the element of the storage at `index`
    for (uint64_t i = 0; i < elements; ++i) {
      std::memcpy(copy->data() + i * size, from.data() + at * size, size);
      for (size_t d = shape.size(); d-- > 0;) {
        at += static_cast<size_t>(strides[d]);
        if (++index[d] < shape[d]) break;
        at -= static_cast<size_t>(shape[d]) * static_cast<size_t>(strides[d]);
        index[d] = 0;
      }
    }
    file_.owners.push_back(copy);
    return *copy;
  }

  TorchFile& file_;
  const Storages& storages_;
  uint64_t may_copy_ = 0;  // bytes; a hostile file may name one storage many times
};

// Storages as the state_dict's pickle tells of them, by key.
std::map<std::string, StorageId, std::less<>> storages_of(const PickleValue& state) {
  std::map<std::string, StorageId, std::less<>> storages;
  if (state.kind != PickleKind::kDict) return storages;  // TensorReader refuses it
  for (size_t i = 1; i < state.items.size(); i += 2) {
    const PickleValue& tensor = *state.items[i];
    if (tensor.kind != PickleKind::kTensor) continue;
    const StorageId id = storage_id(item(tensor, 0, PickleKind::kStorage, "storage"));
    storages.emplace(std::string(id.key), id);
  }
  return storages;
}

TorchFile read_zip(Bytes bytes) {
  const ZipArchive archive(bytes);
  constexpr std::string_view kPickle = "/data.pkl";
  const ZipArchive::Member* pickle_member = nullptr;
  for (const ZipArchive::Member& member : archive.members()) {
    // NAME/data.pkl, not deeper.
    if (member.name.find('/') == member.name.size() - kPickle.size() &&
        member.name.ends_with(kPickle)) {
      if (pickle_member != nullptr) fail("found two members */data.pkl, expected one");
      pickle_member = &member;
    }
  }
  if (pickle_member == nullptr) fail("found no member */data.pkl: this is no file of torch.save()");
  const std::string prefix =
      pickle_member->name.substr(0, pickle_member->name.size() - kPickle.size() + 1);
  const auto text_of = [&](const std::vector<std::byte>& content) {
    return std::string_view(reinterpret_cast<const char*>(content.data()), content.size());
  };
  if (const auto* order = archive.find(prefix + "byteorder"); order != nullptr) {
    const std::vector<std::byte> content = archive.read(*order);
    if (text_of(content) != "little") fail("byteorder: expected little");
  }

  TorchFile file;
  Storages storages;
  const std::string data = prefix + "data/";
  for (const ZipArchive::Member& member : archive.members()) {
    if (!member.name.starts_with(data)) continue;
    auto content = std::make_shared<const std::vector<std::byte>>(archive.read(member));
    storages[member.name.substr(data.size())] = *content;
    file.owners.push_back(std::move(content));
  }
  const std::vector<std::byte> pickled = archive.read(*pickle_member);
  const Pickle state(pickled);
  TensorReader(file, storages).read(state.value());
  return file;
}

// PROTO 2, LONG1 of 10 bytes, STOP: torch's magic number, 0x1950a86a20f9469cfc6c.
constexpr std::string_view kLegacyMagic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
                                        15);

TorchFile read_legacy(Bytes bytes) {
  Bytes rest = bytes.subspan(kLegacyMagic.size());
  const auto next = [&] {
    auto pickle = std::make_unique<Pickle>(rest);
    rest = rest.subspan(pickle->size());
    return pickle;
  };
  const auto protocol = next();
  if (protocol->value().kind != PickleKind::kInt || protocol->value().number != 1001) {
    fail("protocol: expected 1001");
  }
  const auto machine = next();
  const std::vector<const PickleValue*>& facts = machine->value().items;
  for (size_t i = 0; machine->value().kind == PickleKind::kDict && i < facts.size(); i += 2) {
    if (facts[i]->text == "little_endian" && facts[i + 1]->number != 1) {
      fail("little_endian: found False, expected True");
    }
  }
  const auto state = next();
  const auto keys = next();
  const auto expected = storages_of(state->value());

  TorchFile file;
  Storages storages;
  if (keys->value().kind != PickleKind::kList) fail("keys of the storages: expected a list");
  for (size_t i = 0; i < keys->value().items.size(); ++i) {
    const std::string key(item(keys->value(), i, PickleKind::kString, "key of a storage").text);
    const auto id = expected.find(key);
    // Without a tensor that uses it, nothing tells how long its elements are.
    if (id == expected.end()) fail("storage {}: no tensor uses it", key.substr(0, 60));
    const uint64_t size = bytes_of(id->second);
    uint64_t count = 0;
    if (rest.size() < sizeof(count) || rest.size() - sizeof(count) < size) {
      throw Error(fmt::format("storage {}: found the end of the file, expected {} bytes",
                              key.substr(0, 60), size),
                  "The file is incomplete or damaged: get it again.");
    }
    std::memcpy(&count, rest.data(), sizeof(count));
    if (count != id->second.elements) {
      fail("storage {}: found {} elements, expected {}", key.substr(0, 60), count,
           id->second.elements);
    }
    storages[key] = rest.subspan(sizeof(count), size);
    rest = rest.subspan(sizeof(count) + size);
  }
  TensorReader(file, storages).read(state->value());
  return file;
}

}  // namespace

TorchFile read_torch_file(std::span<const std::byte> file) {
  if (is_zip(file)) return read_zip(file);
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  if (text.starts_with(kLegacyMagic)) return read_legacy(file);
  throw Error("found neither a ZIP archive nor PyTorch's magic number",
              "This is no file of torch.save(); if it was downloaded, get it again.");
}

}  // namespace outboard::formats
