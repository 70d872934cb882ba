#include <array>

#include "engine/engine.h"
#include "support/error.h"

namespace outboard::engine {

std::string_view name_of(Pooling pooling) {
  static constexpr std::array<std::string_view, 4> kNames = {"none", "mean", "cls", "last"};
  return kNames[static_cast<size_t>(pooling)];
}

std::optional<Pooling> pooling_of(const formats::Metadata& metadata) {
  const std::string key = metadata.get_string("general.architecture", "") + ".pooling_type";
  if (!metadata.contains(key)) return std::nullopt;
  const int64_t type = metadata.get_int(key);
  static constexpr std::array kTypes = {Pooling::kNone, Pooling::kMean, Pooling::kFirst,
                                        Pooling::kLast};
  if (type < 0 || type >= static_cast<int64_t>(kTypes.size()))
    throw Error(fmt::format("{} = {}: expected 0 (none), 1 (mean), 2 (cls) or 3 (last)", key, type),
                "Models that rank are not served.");
  return kTypes[static_cast<size_t>(type)];
}

}  // namespace outboard::engine
