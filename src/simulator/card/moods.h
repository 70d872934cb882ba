// Moods: what nobody here can know of the real card, behaved in the worst way that the references
// and public reports allow. A driver that works in every mood, alone and in all at once, does not
// depend on luck.
#pragma once

#include <bitset>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace outboard::simulator::card {

enum class Mood : uint8_t {
  kQueueReset,
  kUserSgprs,
  kBootComplete,
  kLinkPower,
  kUnusedSegments,
  kStrictPayload,
  kStaleLines,
  kWideWrites,
  kConditionInRing,
  kDequeue,
  kFirmwareMissing,
  kFirmwareEmpty,
  kFirmwareHeader,
  kPowerSlow,
  kPowerSilent,
  kOldInterrupts,
  kPosted,
  kNotPosted,
  kCopiesSlow,
  kDescriptor,
  kDoorbellLate,
  kDoorbellMerged,
  kDoorbellLost,
};

struct MoodInfo {
  Mood mood;
  std::string_view name;       // "queue.reset"
  std::string_view behaviour;  // what the card does
  std::string_view source;     // why that may be
  // What tinygrad 0.14.0 does in it: empty when it boots and computes, else why it does not.
  std::string_view tinygrad;
};
std::span<const MoodInfo> mood_list();

// A set of moods.
class Moods {
 public:
  Moods() = default;
  // "all": every one that can be together with the others. Throws Error with the list for a name
  // that is none.
  static Moods parse(std::span<const std::string> names);

  bool has(Mood mood) const { return set_[static_cast<size_t>(mood)]; }
  void add(Mood mood) { set_.set(static_cast<size_t>(mood)); }
  bool any() const { return set_.any(); }

 private:
  std::bitset<32> set_;
};

}  // namespace outboard::simulator::card
