// Importances: how much each input of a linear layer matters, by the mean of its squares over a
// text. An encoder that knows them spends its precision where it counts.
//
// Files as llama.cpp's imatrix writes them. GGUF: for each weight a tensor NAME.in_sum2 (float32
// [matrices, inputs]: sums of squares) and NAME.counts (float32 [matrices, 1]: over how many rows),
// and the keys imatrix.datasets (texts' names), imatrix.chunk_count, imatrix.chunk_size (tokens).
// The older format, little-endian: i32 entries; each i32 length and the name, i32 calls, i32 count
// and as many float32, which are means times calls; then, perhaps, i32 chunks, i32 length and the
// text's name. Sources: tools/imatrix/imatrix.cpp and common/imatrix-loader.cpp of llama.cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "formats/model_file.h"

namespace outboard::formats {

struct ImportanceMatrix {
  std::filesystem::path path;
  // By the weight's name: means of squares [matrices, inputs]; of a matrix that no row went through
  // (an expert never chosen) all are 1.
  std::map<std::string, std::vector<float>, std::less<>> means;
  std::vector<std::string> texts;
  int64_t chunks = 0;  // 0: not told

  // One a column of the tensor, of one matrix after another: columns() or matrices * columns();
  // null where nothing is known of it. Throws Error where the sizes differ: it is another model's.
  const std::vector<float>* find(const Tensor& tensor) const;
};

// Reads either format. Throws Error naming the file and the field: no such file, cut, NaN,
// infinite or negative numbers, sums without counts.
ImportanceMatrix read_importances(const std::filesystem::path& path);

struct InputSums {
  std::vector<double> squares;   // [matrices, inputs]
  std::vector<uint64_t> counts;  // of rows, one a matrix
};
struct CollectedInputs {
  std::map<std::string, InputSums, std::less<>> weights;  // by name
  std::string text;                                       // its name
  uint32_t chunks = 0;
  uint32_t chunk_tokens = 0;
};
// Writes the GGUF form. Throws Error as GgufWriter does.
void write_importances(const CollectedInputs& inputs, const std::filesystem::path& path);

}  // namespace outboard::formats
