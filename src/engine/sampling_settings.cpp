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

void SamplingSettings::check() const {
  const auto within = [](std::string_view name, double value, double low, double high) {
    if (!(value >= low && value <= high))
      fail("{}: {:g}, expected {:g} to {:g}", name, value, low, high);
  };
  within("temperature", temperature, 0, 100);
  within("top_k", top_k, 0, INT32_MAX);
  within("top_p", top_p, 0, 1);
  within("min_p", min_p, 0, 1);
  within("typical_p", typical_p, 0, 1);
  within("repeat_penalty", repeat_penalty, 0.01, 100);
  within("repeat_last", repeat_last, 0, INT32_MAX);
  within("frequency_penalty", frequency_penalty, -100, 100);
  within("presence_penalty", presence_penalty, -100, 100);
  within("xtc_probability", xtc_probability, 0, 1);
  within("xtc_threshold", xtc_threshold, 0, 1);
  within("dry_multiplier", dry_multiplier, 0, 100);
  within("dry_base", dry_base, 1, 10);
  within("dry_allowed_length", dry_allowed_length, 0, INT32_MAX);
  within("dry_last", dry_last, -1, INT32_MAX);
  within("mirostat", mirostat, 0, 2);
  within("mirostat_tau", mirostat_tau, 0, 100);
  within("mirostat_eta", mirostat_eta, 0, 1);
  for (const auto& [token, bias] : logit_bias)
    if (std::isnan(bias)) fail("logit_bias of token {}: not a number", token);
}

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
    } else if (name == "xtc_probability") {
      settings.xtc_probability = static_cast<float>(number(0, 1));
    } else if (name == "xtc_threshold") {
      settings.xtc_threshold = static_cast<float>(number(0, 1));
    } else if (name == "mirostat") {
      settings.mirostat = static_cast<int>(number(0, 2));
    } else if (name == "mirostat_tau") {
      settings.mirostat_tau = static_cast<float>(number(0, 100));
    } else if (name == "mirostat_eta") {
      settings.mirostat_eta = static_cast<float>(number(0, 1));
    } else if (unheard != nullptr) {
      unheard->push_back(fmt::format("metadata {}", key));
    }
  }
  return settings;
}

}  // namespace outboard::engine
