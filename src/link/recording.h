// Keeps what passes over a link, for a person who can help. Nothing is asked of the card that would
// not be asked without it.
//
// Left out, with their SHA-256 in place: what is written to the ranges that the caller withholds
// (the card's firmware is AMD's and passes through BAR 0), and long contents (weights). Serial
// numbers in configuration space are left out altogether.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "link/link.h"
#include "link/traffic.h"

namespace outboard::link {

struct RecordingOptions {
  struct Range {
    int bar = 0;
    BarOffset offset{};
    uint64_t bytes = 0;
  };
  std::vector<Range> withheld;  // what is written there is hashed, however short
  std::function<std::string(std::string_view)> scrub;  // of the texts of errors; none: as they are
};

// One recording: of all links that are opened while it lasts. One thread at a time.
class Recording {
 public:
  explicit Recording(RecordingOptions options);

  // A link that passes everything on and keeps it. The memory that it shares has no host pointer:
  // what is read and written there is seen, too.
  static std::unique_ptr<Link> record(std::shared_ptr<Link> link,
                                      std::shared_ptr<Recording> recording);

  // What is being done from here on ("boot: firmware boot").
  void note(std::string_view what);
  // From now on these bytes of configuration space are not told.
  void hide_config(uint32_t offset, uint32_t bytes) { hidden_.emplace_back(offset, bytes); }

  // While it is on, only short contents are kept: weights are under way.
  void leave_out_contents(bool on) { leaves_out_ = on; }

  struct Place {
    int bar = 0;
    BarOffset offset{};
  };
  std::optional<Place> last_read() const { return last_read_; }  // of a BAR
  bool is_empty() const { return calls_ == 0; }

  // Ends it: a stream of traffic.h. Throws Error when it could not be written.
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> finish() { return writer_.finish(); }

 private:
  friend class RecordingLink;
  friend class RecordedMemory;
  using Kind = TrafficRecord::Kind;

  void add(const TrafficRecord& record) { writer_.add(record); }
  void add_config_read(uint32_t offset, uint32_t size, uint32_t value);
  // Contents, or their hashes. kind: of the contents; the next one is that of the hashes.
  void add_contents(Kind kind, uint32_t where, uint64_t offset, std::span<const std::byte> bytes,
                    bool whole);
  bool is_withheld(int bar, BarOffset offset, uint64_t bytes) const;
  bool keeps(uint64_t bytes);
  // Runs a call, and keeps its failure.
  template <typename Call>
  auto watch(const Call& call);
  void add_failure(const Error& error, bool lost);

  RecordingOptions options_;
  TrafficWriter writer_;
  std::vector<std::pair<uint32_t, uint32_t>> hidden_;
  std::optional<Place> last_read_;
  uint64_t calls_ = 0;
  uint64_t kept_ = 0;  // bytes of long contents
  uint32_t regions_ = 0;
  bool leaves_out_ = false;
};

}  // namespace outboard::link
