// outboard_product TYPE ROWS COLUMNS TOKENS REPEATS FILE: the product that ggml_product wrote to
// FILE, by Outboard's kernels (OUTBOARD_CPU chooses the table), REPEATS times, packing of the input
// included. With ":bytes" behind TYPE the input is packed with 8 bits, as translation models have
// it. Prints the root mean square of the difference, relative to that of ggml's product.
#include <fmt/core.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string_view>
#include <vector>

#include "devices/cpu/kernels/kernels.h"
#include "support/aligned_buffer.h"

namespace {

template <typename T>
void read(std::ifstream& file, std::vector<T>& into) {
  file.read(reinterpret_cast<char*>(into.data()),
            static_cast<std::streamsize>(into.size() * sizeof(T)));
}

}  // namespace

int main(int argc, char** argv) {
  using namespace outboard;
  if (argc != 7) return 2;
  const std::string_view name = argv[1];
  const bool bytes = name.ends_with(":bytes");
  const formats::TensorType type = formats::tensor_type(name.substr(0, name.find(':'))).value();
  const int64_t rows = std::atoll(argv[2]);
  const int64_t columns = std::atoll(argv[3]);
  const int tokens = std::atoi(argv[4]);
  const int repeats = std::atoi(argv[5]);

  std::vector<std::byte> weight(formats::storage_bytes(type, rows * columns));
  std::vector<float> inputs(static_cast<size_t>(tokens * columns));
  std::vector<float> expected(static_cast<size_t>(tokens * rows));
  std::ifstream file(argv[6], std::ios::binary);
  read(file, weight);
  read(file, inputs);
  read(file, expected);
  if (!file) return 1;

  const devices::cpu::Kernels& kernels = devices::cpu::best_kernels();
  const devices::cpu::Matrix matrix{type, rows, columns, weight.data(), bytes};
  const devices::cpu::Packing packing = devices::cpu::packing_for(type, bytes);
  const AlignedBuffer packed(kernels.packed_row_bytes(packing, columns) *
                             static_cast<size_t>(tokens));
  const AlignedBuffer scratch(kernels.linear_scratch_bytes(columns));
  std::vector<float> product(expected.size());
  for (int i = 0; i < repeats; ++i) {
    kernels.pack(packing, inputs.data(), columns, tokens, columns, packed.data());
    kernels.linear(matrix, packed.data(), tokens, product.data(), rows, 0, rows, nullptr, false,
                   scratch.data());
  }

  double difference = 0;
  double size = 0;
  for (size_t i = 0; i < product.size(); ++i) {
    difference += std::pow(product[i] - expected[i], 2);
    size += std::pow(expected[i], 2);
  }
  fmt::print("{:.2e}\n", std::sqrt(difference / size));
}
