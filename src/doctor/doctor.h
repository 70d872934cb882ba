// From the cable to the card's own work, layer by layer: what is there, what it means, what to do.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "devices/amd/driver/card.h"
#include "doctor/command.h"
#include "link/connect.h"
#include "link/link.h"

namespace outboard::doctor {

namespace driver = devices::amd::driver;
namespace hw = hardware::amd::navi31;

enum class Verdict : uint8_t {
  kGood,
  kNote,     // worth knowing; nothing is wrong
  kWarning,  // works, and could be better
  kBad,      // what follows cannot work
};
std::string_view words(Verdict verdict);  // "ok", "note", "warning", "bad"

// One step.
struct Finding {
  std::string step;  // "server", "boot: firmware boot", "memory", ...
  Verdict verdict = Verdict::kGood;
  std::string diagnosis;  // "ok", or a name of diagnoses.cpp
  std::string seen;       // what was seen
  std::string meaning;    // what that means; empty when it is good
  std::string todo;       // what to do; empty: nothing
  double milliseconds = 0;
};

// What is found while it is found. A step that throws Error is bad, and named by its text.
class Examination {
 public:
  explicit Examination(std::function<void(const Finding&)> on_finding)
      : on_finding_(std::move(on_finding)) {}

  // Runs a step that returns what it saw. False: it was bad.
  bool step(std::string_view name, const std::function<std::string()>& body);
  // A finding that is no error. diagnosis: a name of diagnoses.cpp.
  void add(std::string_view name, Verdict verdict, std::string_view diagnosis, std::string seen,
           double milliseconds = 0);
  void add(Finding finding);

  const std::vector<Finding>& findings() const { return findings_; }
  bool is_healthy() const;  // nothing was bad

 private:
  std::function<void(const Finding&)> on_finding_;
  std::vector<Finding> findings_;
};

struct DoctorOptions {
  link::ConnectOptions connect;  // what to examine, and how long to wait
  // Instead of connect(): the simulated card's link.
  std::function<std::unique_ptr<link::Link>()> open;
  driver::BootOptions boot;
  bool read_only = false;  // nothing is booted
  // A Mac's own layers: looked at where `commands` is set (run_command on a Mac; replayed in
  // tests).
  CommandRunner commands;
  // What lies above the driver: kernels, a small decode. Gets the link of a card that is at rest.
  std::function<void(std::unique_ptr<link::Link>, Examination&)> more;
  std::function<void(const Finding&)> on_finding;
};

// Read-only layers first; boots and tests the card only where they pass. Does not throw Error:
// everything ends as a finding.
Examination examine(const DoctorOptions& options);

// The layers, for examine().
void examine_mac(const CommandRunner& run, const std::string& app, Examination& out);
// Identity, link, BARs. False: the card must not be booted.
bool examine_bus(link::Link& link, Examination& out);
// Boots, tests memory, copies and queues, puts to rest. False: something was bad.
bool examine_card(link::Link& link, const driver::BootOptions& boot, Examination& out);

}  // namespace outboard::doctor
