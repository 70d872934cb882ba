// Lets the Python tests reach src/formats: see usage().
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "formats/importance.h"
#include "formats/model_file.h"
#include "formats/quantize.h"
#include "formats/quantize_model.h"
#include "models/models.h"
#include "support/error.h"

namespace {

using namespace outboard::formats;
using nlohmann::json;
using outboard::Error;
using outboard::fail;

constexpr const char* kUsage =
    "format_tool dequantize TYPE IN OUT        blocks to float32\n"
    "format_tool dequantize-half TYPE IN OUT   blocks to float16\n"
    "format_tool quantize TYPE IN OUT [WEIGHTS]  float32 to blocks; WEIGHTS: a float32 a value\n"
    "format_tool dump MODEL                    metadata, tensors, unknown, notes as JSON\n"
    "format_tool tensor MODEL NAME OUT         one tensor's bytes\n"
    "format_tool types MODEL MIX [importances]  the type each tensor gets in a mix, as JSON\n"
    "format_tool convert MODEL OUT MIX [IMPORTANCES]  the model as a GGUF file in a mix of types\n";

std::vector<char> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw outboard::system_error("open", path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const void* data, size_t bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
  if (!file.flush()) throw outboard::system_error("write", path);
}

TensorType parse_type(const std::string& name) {
  const auto type = tensor_type(std::string_view(name));
  if (!type) fail("type {}: unknown", name);
  return *type;
}

template <typename Out, typename Convert>
void decode_file(const std::string& type_name, const std::string& in, const std::string& out,
                 Convert convert) {
  const TensorType type = parse_type(type_name);
  const std::vector<char> blocks = read_file(in);
  const TypeInfo& info = type_info(type);
  std::vector<Out> values(blocks.size() / info.block_bytes *
                          static_cast<size_t>(info.block_elements));
  convert(type, reinterpret_cast<const std::byte*>(blocks.data()), std::span<Out>(values));
  write_file(out, values.data(), values.size() * sizeof(Out));
}

std::vector<float> read_floats(const std::string& path) {
  const std::vector<char> bytes = read_file(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

void quantize_file(const std::string& type_name, const std::string& in, const std::string& out,
                   const std::vector<float>& weights) {
  const TensorType type = parse_type(type_name);
  const std::vector<float> values = read_floats(in);
  std::vector<std::byte> blocks(storage_bytes(type, static_cast<int64_t>(values.size())));
  quantize(type, values, blocks.data(), weights);
  write_file(out, blocks.data(), blocks.size());
}

json to_json(const MetadataArray& array);

// Strings as lists of bytes: they may be invalid UTF-8.
json to_json(const std::string& text) {
  json bytes = json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return {{"bytes", bytes}};
}

template <typename T>
json element_to_json(const T& value) {
  if constexpr (std::is_same_v<T, MetadataArray> || std::is_same_v<T, std::string>) {
    return to_json(value);
  } else if constexpr (std::is_floating_point_v<T>) {
    return static_cast<double>(value);
  } else {
    return value;
  }
}

json to_json(const MetadataArray& array) {
  return std::visit(
      [](const auto& values) {
        json list = json::array();
        for (size_t i = 0; i < values.size(); ++i) {
          using Element = typename std::decay_t<decltype(values)>::value_type;
          list.push_back(element_to_json<Element>(values[i]));
        }
        return list;
      },
      array.values);
}

void dump(const std::string& path) {
  const Model model = outboard::models::open_model(path);
  json out = {{"metadata", json::object()},
              {"tensors", json::object()},
              {"unknown", model.unknown},
              {"notes", model.notes}};
  for (const auto& [key, value] : model.metadata.entries()) {
    out["metadata"][key] = std::visit(
        [](const auto& held) { return element_to_json<std::decay_t<decltype(held)>>(held); },
        value);
  }
  for (const Tensor& tensor : model.tensors()) {
    out["tensors"][tensor.name] = {{"type", type_info(tensor.type).name},
                                   {"shape", tensor.shape},
                                   {"bytes", tensor.data.size()}};
  }
  std::cout << out.dump() << '\n';
}

Mix parse_mix(const std::string& name) {
  const auto mix = mix_by_name(name);
  if (!mix) fail("mix {}: unknown", name);
  return *mix;
}

void print_types(const std::string& path, const std::string& mix, bool has_importances) {
  const Model model = outboard::models::open_model(path);
  const std::vector<TensorType> types = choose_types(model, parse_mix(mix), has_importances);
  json out;
  for (size_t i = 0; i < types.size(); ++i) {
    out[model.tensors()[i].name] = type_info(types[i]).name;
  }
  std::cout << out.dump() << '\n';
}

int run(const std::vector<std::string>& args) {
  const auto is = [&](const char* command, size_t count) {
    return !args.empty() && args[0] == command && args.size() == count + 1;
  };
  if (is("dequantize", 3)) {
    decode_file<float>(args[1], args[2], args[3], dequantize);
  } else if (is("dequantize-half", 3)) {
    decode_file<uint16_t>(args[1], args[2], args[3], dequantize_half);
  } else if (is("quantize", 3)) {
    quantize_file(args[1], args[2], args[3], {});
  } else if (is("quantize", 4)) {
    quantize_file(args[1], args[2], args[3], read_floats(args[4]));
  } else if (is("dump", 1)) {
    dump(args[1]);
  } else if (is("tensor", 3)) {
    const Model model = outboard::models::open_model(args[1]);
    const Tensor& tensor = model.get(args[2]);
    write_file(args[3], tensor.data.data(), tensor.data.size());
  } else if (is("types", 2)) {
    print_types(args[1], args[2], false);
  } else if (is("types", 3) && args[3] == "importances") {
    print_types(args[1], args[2], true);
  } else if (is("convert", 3)) {
    quantize_model(outboard::models::open_model(args[1]), args[2], parse_mix(args[3]));
  } else if (is("convert", 4)) {
    const ImportanceMatrix importances = read_importances(args[4]);
    QuantizeOptions how;
    how.importances = &importances;
    quantize_model(outboard::models::open_model(args[1]), args[2], parse_mix(args[3]), how);
  } else {
    std::cerr << kUsage;
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
