#include <algorithm>
#include <cmath>

#include "engine/engine.h"
#include "support/error.h"

namespace outboard::engine {
namespace {

constexpr std::string_view kSpace = "general.sampling.";

double checked(const formats::Metadata& metadata, const std::string& key, double low, double high) {
  const double found = metadata.get_float(key);
  if (!(found >= low && found <= high)) fail("{}: {}, expected {} to {}", key, found, low, high);
  return found;
}

// Filters that are off, and settings of filters that then change nothing.
bool asks_for_nothing(const formats::Metadata& metadata, const std::string& key) {
  const std::string_view name = std::string_view(key).substr(kSpace.size());
  if (name == "xtc_probability" || name == "mirostat") return metadata.get_float(key) == 0;
  return name == "xtc_threshold" || name == "mirostat_tau" || name == "mirostat_eta";
}

// The order of the filters, "top_k;top_p;temperature": ours may have filters between that are off.
bool is_our_order(std::string_view sequence) {
  constexpr std::string_view kOurs[] = {"penalties", "top_k", "top_p", "min_p", "temperature"};
  size_t next = 0;
  while (!sequence.empty()) {
    const std::string_view name = sequence.substr(0, sequence.find(';'));
    sequence.remove_prefix(std::min(name.size() + 1, sequence.size()));
    const auto* place = std::find(std::begin(kOurs), std::end(kOurs), name);
    if (place == std::end(kOurs)) continue;
    if (place != std::begin(kOurs) + next) return false;
    ++next;
  }
  return next == std::size(kOurs);
}

}  // namespace

SamplingSettings sampling_of(const formats::Metadata& metadata, std::vector<std::string>* unheard) {
  SamplingSettings settings;
  for (const formats::Metadata::Entry& entry : metadata.entries()) {
    const std::string& key = entry.first;
    if (!key.starts_with(kSpace)) continue;
    const std::string_view name = std::string_view(key).substr(kSpace.size());
    const auto number = [&](double low, double high) { return checked(metadata, key, low, high); };
    if (name == "temp") {
      settings.temperature = static_cast<float>(number(0, 100));
    } else if (name == "top_k") {  // llama.cpp: 0 and less stand for all
      settings.top_k = static_cast<int>(std::max(0.0, number(-1e9, 1e9)));
    } else if (name == "top_p") {
      settings.top_p = static_cast<float>(number(0, 1));
    } else if (name == "min_p") {
      settings.min_p = static_cast<float>(number(0, 1));
    } else if (name == "penalty_repeat") {
      settings.repeat_penalty = static_cast<float>(number(0.01, 100));
    } else if (name == "penalty_last_n") {  // -1: the whole context
      const auto last = static_cast<int>(number(-1, 1e9));
      settings.repeat_last = last < 0 ? 1 << 30 : last;
    } else if (name == "sequence") {
      const std::string& order = metadata.get_string(key);
      if (!is_our_order(order) && unheard != nullptr)
        unheard->push_back(fmt::format("metadata {} = \"{}\"", key, order));
    } else if (!asks_for_nothing(metadata, key) && unheard != nullptr) {
      unheard->push_back(fmt::format("metadata {}", key));
    }
  }
  return settings;
}

}  // namespace outboard::engine
