// NumPy's arrays: one in a .npy file, many in a .npz (a ZIP archive of .npy files).
//
// Layout of .npy: "\x93NUMPY", major and minor version, the header's length (u16 in version 1, u32
// in 2 and 3), the header, the elements. The header is a Python dict of 'descr' ("<f4"),
// 'fortran_order' and 'shape'. Source: numpy.lib.format's description.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/zip_archive.h"

namespace outboard::formats {

struct NpyArray {
  std::string descr;           // "<f4", "|i1": byte order, kind, bytes an element
  std::vector<int64_t> shape;  // outermost first; empty for a single number
  bool fortran_order = false;  // the first dimension is the innermost
  size_t offset = 0;           // of the elements, bytes from the start of the file
  size_t bytes = 0;            // of the elements
};

// Reads a whole .npy file's header. Numbers only, little-endian; Python objects, structures and
// text are refused by name. Checked: every length, and that the elements fill the file. Throws
// Error naming the field.
NpyArray parse_npy(std::span<const std::byte> file);

// One array of a .npz, unpacked.
struct NpzArray {
  NpyArray header;
  std::vector<std::byte> file;  // the whole .npy
  std::span<const std::byte> data() const {
    return std::span(file).subspan(header.offset, header.bytes);
  }
};

class NpzFile {
 public:
  // `file` must outlive this. Throws Error as ZipArchive does.
  explicit NpzFile(std::span<const std::byte> file) : archive_(file) {}

  // Arrays' names, without ".npy", in the archive's order.
  std::vector<std::string> names() const;
  bool contains(std::string_view name) const;
  // Throws Error naming the array when it is absent or damaged.
  NpzArray read(std::string_view name) const;

 private:
  ZipArchive archive_;
};

}  // namespace outboard::formats
