// Faults on request: rules read from a file say what goes wrong, where and when.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace outboard::simulator::card {

// One rule. In the file, a JSON array of objects:
//   [{"what": "psp.bootloader-stuck"},
//    {"what": "link.drop", "request": 1200},
//    {"what": "smu.no-answer", "skip": 2, "count": 1, "where": "SetSoftMinByFreq"}]
struct FaultRule {
  std::string what;      // one of FaultPlan::known()
  std::string where;     // narrows it: a substring of the place that asks; empty: anywhere
  uint64_t request = 0;  // not before link request number N (counted from 1)
  uint64_t skip = 0;     // lets this many occasions pass
  uint64_t count = 0;    // fires this many times, then is spent; 0: always
  std::map<std::string, uint64_t> parameters;  // any other number in the object
};

// Thread-safe. The parts of the card ask fires() at the places where a fault could strike.
class FaultPlan {
 public:
  FaultPlan() = default;
  explicit FaultPlan(std::vector<FaultRule> rules);
  // Throws Error naming the rule for unknown faults, unknown fields and bad JSON.
  static std::unique_ptr<FaultPlan> parse(std::string_view json, std::string_view source);

  struct Known {
    std::string_view what;
    std::string_view meaning;
  };
  static const std::vector<Known>& known();

  void begin_request();  // the links call this for each request
  uint64_t requests() const;
  // The rule that fires here and now, if any. `what` must be one of known().
  std::optional<FaultRule> fires(std::string_view what, std::string_view where = {});

 private:
  struct Progress {
    FaultRule rule;
    uint64_t seen = 0, fired = 0;
  };
  mutable std::mutex mutex_;
  uint64_t requests_ = 0;
  std::vector<Progress> rules_;
};

}  // namespace outboard::simulator::card
