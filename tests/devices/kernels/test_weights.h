// For tests: matrices of every type, as a file would hold them, as float32, and as planes.
#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "devices/gpu/kernels/planes.h"
#include "formats/blocks.h"
#include "formats/quantize.h"
#include "tests/devices/kernels/kernel_runner.h"

namespace outboard::devices::gpu::kernels {

inline constexpr formats::TensorType kAllTypes[] = {
    formats::TensorType::F32,  formats::TensorType::F16,    formats::TensorType::BF16,
    formats::TensorType::Q4_0, formats::TensorType::Q4_1,   formats::TensorType::Q5_0,
    formats::TensorType::Q5_1, formats::TensorType::Q8_0,   formats::TensorType::Q2_K,
    formats::TensorType::Q3_K, formats::TensorType::Q4_K,   formats::TensorType::Q5_K,
    formats::TensorType::Q6_K, formats::TensorType::IQ4_NL, formats::TensorType::IQ4_XS,
    formats::TensorType::MXFP4};

inline std::string type_name(formats::TensorType type) {
  return std::string(formats::type_info(type).name);
}

struct TestMatrix {
  formats::TensorType type{};
  int rows = 0;
  int columns = 0;
  std::vector<std::byte> blocks;
  std::vector<float> values;  // what formats::dequantize makes of the blocks
  Matrix matrix;              // its planes

  double at(int row, int column) const {
    return values[static_cast<size_t>(row) * static_cast<size_t>(columns) +
                  static_cast<size_t>(column)];
  }
};

// Types that nothing encodes: random codes, with scales that keep weights near 1.
template <typename Block>
void random_blocks(std::span<std::byte> bytes, std::mt19937& random) {
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  for (size_t at = 0; at < bytes.size(); at += sizeof(Block)) {
    auto& block = *reinterpret_cast<Block*>(bytes.data() + at);
    const auto half = [&](float magnitude) {
      return formats::float_to_half(magnitude *
                                    (0.5F + static_cast<float>(random() % 1024) / 1024));
    };
    if constexpr (requires { block.e; }) {
      block.e = static_cast<uint8_t>(120 + random() % 8);
    } else {
      block.d.set(half(std::is_same_v<Block, formats::BlockIq4Nl> ? 0.01F : 0.002F));
    }
    if constexpr (requires { block.dmin; }) block.dmin.set(half(0.05F));
  }
}

inline std::vector<std::byte> make_blocks(formats::TensorType type, std::span<const float> values,
                                          std::mt19937& random) {
  std::vector<std::byte> out(formats::storage_bytes(type, static_cast<int64_t>(values.size())));
  switch (type) {
    case formats::TensorType::Q2_K:
      random_blocks<formats::BlockQ2_K>(out, random);
      break;
    case formats::TensorType::Q3_K:
      random_blocks<formats::BlockQ3_K>(out, random);
      break;
    case formats::TensorType::IQ4_NL:
      random_blocks<formats::BlockIq4Nl>(out, random);
      break;
    case formats::TensorType::IQ4_XS:
      random_blocks<formats::BlockIq4Xs>(out, random);
      break;
    case formats::TensorType::MXFP4:
      random_blocks<formats::BlockMxfp4>(out, random);
      break;
    default:
      formats::quantize(type, values, out.data());
  }
  return out;
}

// Takes m.blocks apart by `repack`.
inline void upload_matrix(KernelRunner& runner, TestMatrix& m) {
  const Planes size = planes(m.type, m.rows, m.columns);
  const std::span<uint8_t> memory = runner.allocate<uint8_t>(size.bytes);
  m.matrix = matrix(m.type, m.rows, m.columns, KernelRunner::ptr(memory).address);
  const std::span<std::byte> blocks = runner.upload(std::span<const std::byte>(m.blocks));
  RepackArgs repack{};
  repack.blocks = {reinterpret_cast<uint64_t>(blocks.data())};
  repack.matrix = m.matrix;
  repack.first_row = 0;
  repack.rows = m.rows;
  runner.run("repack", repack, {repack_workgroups(repack), 1, 1});
}

// Random weights near 1, with a mean and a few that are large.
inline TestMatrix make_matrix(KernelRunner& runner, formats::TensorType type, int rows, int columns,
                              std::mt19937& random) {
  TestMatrix m{type, rows, columns, {}, {}, {}};
  std::normal_distribution<float> normal(0.1F, 1);
  std::vector<float> values(static_cast<size_t>(rows) * static_cast<size_t>(columns));
  for (float& v : values) v = normal(random) * (random() % 50 == 0 ? 5 : 1);
  m.blocks = make_blocks(type, values, random);
  m.values.resize(values.size());
  formats::dequantize(type, m.blocks.data(), m.values);
  upload_matrix(runner, m);
  return m;
}

// A large matrix whose rows repeat the same 16, for tests that only count; it has no values.
inline TestMatrix make_repeated_matrix(KernelRunner& runner, formats::TensorType type, int rows,
                                       int columns, std::mt19937& random) {
  constexpr int kDistinct = 16;
  TestMatrix m{type, rows, columns, {}, {}, {}};
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(kDistinct) * static_cast<size_t>(columns));
  for (float& v : values) v = normal(random);
  const std::vector<std::byte> some = make_blocks(type, values, random);
  const size_t row_bytes = some.size() / kDistinct;
  while (m.blocks.size() < row_bytes * static_cast<size_t>(rows))
    m.blocks.insert(m.blocks.end(), some.begin(), some.end());
  m.blocks.resize(row_bytes * static_cast<size_t>(rows));
  upload_matrix(runner, m);
  return m;
}

}  // namespace outboard::devices::gpu::kernels
