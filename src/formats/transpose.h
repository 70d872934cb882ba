// A matrix the other way round. Internal to formats.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace outboard::formats {

// [rows, columns] of plain elements, row-major, as [columns, rows]. `data` is at least one element
// for each; its size is a multiple of rows * columns.
std::shared_ptr<std::vector<std::byte>> transpose(std::span<const std::byte> data, size_t rows,
                                                  size_t columns);

}  // namespace outboard::formats
