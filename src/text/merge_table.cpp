#include "text/merge_table.h"

#include "support/error.h"

namespace outboard::text {

MergeTable read_merges(const formats::Metadata& metadata, const Vocabulary& vocabulary) {
  if (!metadata.contains(kMerges))
    throw Error(
        fmt::format("{}: missing; a tokenizer without merges, expected a list of pairs", kMerges),
        "Convert the model to GGUF again with its complete tokenizer.");
  const std::vector<std::string>& merges = metadata.get_strings(kMerges);
  if (merges.size() >= size_t{1} << 30)
    fail("{}: {} pairs, expected less than 2^30", kMerges, merges.size());
  MergeTable table;
  table.reserve(merges.size());
  std::string merged;
  for (size_t i = 0; i < merges.size(); ++i) {
    const std::string_view merge = merges[i];
    // The first part may itself be a space in vocabularies that do not spell bytes.
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size())
      fail("{}[{}]: \"{}\", expected two tokens with a space between", kMerges, i, merge);
    const std::string_view left = merge.substr(0, space);
    const std::string_view right = merge.substr(space + 1);
    merged.assign(left).append(right);
    const int32_t left_id = vocabulary.find(left);
    const int32_t right_id = vocabulary.find(right);
    const int32_t merged_id = vocabulary.find(merged);
    if (left_id < 0 || right_id < 0 || merged_id < 0)
      fail("{}[{}]: \"{}\" names the token \"{}\", which is not in tokenizer.ggml.tokens", kMerges,
           i, merge,
           left_id < 0    ? left
           : right_id < 0 ? right
                          : std::string_view(merged));
    table.add(left_id, right_id, static_cast<int32_t>(i), merged_id);
  }
  return table;
}

}  // namespace outboard::text
