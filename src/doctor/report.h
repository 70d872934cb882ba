// What a person who has the card can send to one who can help: everything that doctor saw, and what
// passed over the link meanwhile. docs/hardware.md tells its owner what is in it and what is not.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "doctor/doctor.h"
#include "hardware/amd/chip.h"
#include "link/recording.h"
#include "support/scrub.h"

namespace outboard::doctor {

// How a recording for others is made: the card's firmware is left out, and texts are scrubbed.
std::shared_ptr<link::Recording> make_recording(const Scrubber& scrub);

class Report {
 public:
  // version: of Outboard.
  Report(std::string version, Scrubber scrub);

  // Puts itself between doctor and what it examines: every function of the options that is called
  // goes on being called.
  void watch(DoctorOptions& options);

  // Looks at the interrupt ring and at the fault registers, if the card was booted and still
  // answers, and lets the link go.
  void finish(const Examination& examination);

  // Each file of the report by its name, but for the traffic: report.json, and as they are the
  // configuration space (config.bin) and the discovery table (discovery.bin), where they were read.
  std::vector<std::pair<std::string, std::vector<std::byte>>> files() const;
  link::Recording& recording() { return *recording_; }

 private:
  struct Stage {
    std::string name;
    std::chrono::steady_clock::time_point start;
    double milliseconds = 0;
    nlohmann::ordered_json waits = nlohmann::ordered_json::array();
  };

  std::unique_ptr<link::Link> open(std::unique_ptr<link::Link> link);
  void begin_stage(std::string_view name);
  void end_stage();
  void add_wait(const driver::WaitRecord& wait);
  void add_firmware();
  const hardware::amd::Chip& chip() const;
  void read_config();
  void read_registers();

  std::string version_;
  Scrubber scrub_;
  std::shared_ptr<link::Recording> recording_;
  std::shared_ptr<link::Link> link_;  // without the recording
  driver::BootOptions boot_;          // where the firmware is
  std::vector<Stage> stages_;
  bool in_stage_ = false;
  std::vector<std::byte> config_, table_;
  nlohmann::ordered_json firmware_, capabilities_, registers_, interrupts_, findings_;
  std::string link_name_;
  std::vector<std::string> notes_;  // what could not be looked at
};

// Config space in words: the header and each capability's name and place.
nlohmann::ordered_json describe_config(std::span<const std::byte> config);

}  // namespace outboard::doctor
