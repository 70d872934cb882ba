// What passes over a link, as a stream of records: written while it passes, read back for replay.
//
//   stream  := "OBTRAF1\n" record* end
//   record  := kind (a byte), the fields that the kind has (below; each a LEB128 number, in the
//              order where, offset, length, value), then its data
//   end     := the kind kEnd, whose value is the number of records before it
//
// Example: a read of 4 bytes at 0x58244 of BAR 5 that gave 1 is 08 05 c4 84 16 04 01 00 00 00.
// Everything is checked when it is read: a stream may come from anywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "support/sha256.h"

namespace outboard::link {

struct TrafficRecord {
  enum class Kind : uint8_t {
    kEnd,
    kTime,          // value: microseconds since the start
    kNote,          // data: a text, what is being done ("boot: firmware boot")
    kRepeat,        // the last `where` records again, `value` times; no other kind among them
    kConfigRead,    // offset, length, value
    kConfigHidden,  // the same, with a value that is not told (a serial number)
    kConfigWrite,   // offset, length, value
    kBar,           // where: which; offset: its address; length: its size
    kRead,          // where: BAR; offset, length; data: what came back
    kReadHash,      // the same; data: kHashPiece by kHashPiece, the SHA-256 of what came back
    kWrite,         // where: BAR; offset, length; data
    kWriteHash,
    kShare,       // where: a number for the region; length; value: 1 contiguous; data: segments
    kUnshare,     // where
    kSystemRead,  // where: region; offset, length; data
    kSystemReadHash,
    kSystemWrite,
    kSystemWriteHash,
    kReset,
    kResizeBar,  // where
    kFailed,     // a call did not pass; value: 1 the link is lost; data: why
    kClosed,
  };
  Kind kind = Kind::kEnd;
  uint32_t where = 0;
  uint64_t offset = 0, length = 0, value = 0;
  std::span<const std::byte> data;
};

// Contents that are left out have a hash for each so many bytes: what was written in other pieces
// than it is read in is still recognized.
inline constexpr uint64_t kHashPiece = 64 << 10;
std::vector<std::byte> hash_pieces(std::span<const std::byte> bytes);

// Writes records to a temporary file that goes with it. Reads that repeat (a register that is
// polled) are counted, not written again. Throws nothing: a file that cannot be written is told of
// by finish().
class TrafficWriter {
 public:
  TrafficWriter();

  void add(const TrafficRecord& record);
  uint64_t records() const { return records_; }
  bool is_full() const { return full_; }

  // Ends the stream; what is added after it is lost. The file, at its start. Throws Error when
  // something could not be written.
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> finish();

 private:
  void add_time();
  void end_repeat();
  void put(std::string_view bytes);

  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  uint64_t records_ = 0, bytes_ = 0;
  uint64_t start_, last_time_ = 0;  // microseconds
  bool failed_ = false, full_ = false;
  int error_ = 0;
  std::deque<std::string> last_;  // short records, packed, that stand behind each other
  size_t period_ = 0;             // of the repetition under way; 0: none
  uint64_t matched_ = 0;          // records of it
};

// All records, repetitions written out unless they are mere reads (those stay kRepeat, with `where`
// 0: they tell nothing new). The data of a record points into `stream`. Throws Error saying where
// and what is wrong; regions, ranges and lengths are consistent in what it returns.
std::vector<TrafficRecord> read_traffic(std::span<const std::byte> stream);

}  // namespace outboard::link
