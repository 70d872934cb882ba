#include "link/traffic.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <utility>

#include "link/link.h"
#include "link/protocol.h"
#include "support/error.h"

namespace outboard::link {
namespace {

using Kind = TrafficRecord::Kind;

constexpr std::string_view kMagic = "OBTRAF1\n";
constexpr size_t kLongestPeriod = 4;
constexpr size_t kShort = 40;                       // bytes of a record that may be repeated
constexpr uint64_t kTimeStep = 1000;                // microseconds between two times
constexpr uint64_t kMostBytes = uint64_t{1} << 30;  // of a stream; the rest is left out
// Of what is read.
constexpr uint64_t kMostRecords = uint64_t{1} << 24;
constexpr uint64_t kLeftForEnd = 1024;  // records that the writer may still add when it is full
constexpr uint64_t kMostSystemBytes = uint64_t{64} << 30;
constexpr uint64_t kConfigBytes = 4096;
constexpr uint32_t kBars = 6;
constexpr uint64_t kSegmentBytes = 16;

enum class Data : uint8_t { kNone, kBytes, kHashes, kText, kSegments };
struct Shape {
  std::string_view name;
  bool where, offset, length, value;
  Data data;
};
constexpr std::array<Shape, 22> kShapes = {{
    {"end", false, false, false, true, Data::kNone},
    {"time", false, false, false, true, Data::kNone},
    {"note", false, false, false, false, Data::kText},
    {"repeat", true, false, false, true, Data::kNone},
    {"configuration read", false, true, true, true, Data::kNone},
    {"hidden configuration read", false, true, true, false, Data::kNone},
    {"configuration write", false, true, true, true, Data::kNone},
    {"BAR", true, true, true, false, Data::kNone},
    {"read", true, true, true, false, Data::kBytes},
    {"hashed read", true, true, true, false, Data::kHashes},
    {"write", true, true, true, false, Data::kBytes},
    {"hashed write", true, true, true, false, Data::kHashes},
    {"share", true, false, true, true, Data::kSegments},
    {"unshare", true, false, false, false, Data::kNone},
    {"system memory read", true, true, true, false, Data::kBytes},
    {"hashed system memory read", true, true, true, false, Data::kHashes},
    {"system memory write", true, true, true, false, Data::kBytes},
    {"hashed system memory write", true, true, true, false, Data::kHashes},
    {"reset", false, false, false, false, Data::kNone},
    {"resize", true, false, false, false, Data::kNone},
    {"failure", false, false, false, true, Data::kText},
    {"close", false, false, false, false, Data::kNone},
}};
const Shape& shape_of(Kind kind) { return kShapes[static_cast<size_t>(kind)]; }

uint64_t now() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

void put_number(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  out += static_cast<char>(value);
}

std::string pack(const TrafficRecord& record) {
  const Shape& shape = shape_of(record.kind);
  std::string out(1, static_cast<char>(record.kind));
  if (shape.where) put_number(out, record.where);
  if (shape.offset) put_number(out, record.offset);
  if (shape.length) put_number(out, record.length);
  if (shape.value) put_number(out, record.value);
  if (shape.data == Data::kText) put_number(out, record.data.size());
  if (shape.data == Data::kSegments) put_number(out, record.data.size() / kSegmentBytes);
  out.append(reinterpret_cast<const char*>(record.data.data()), record.data.size());
  return out;
}

bool is_read(Kind kind) {
  return kind == Kind::kConfigRead || kind == Kind::kConfigHidden || kind == Kind::kRead ||
         kind == Kind::kReadHash || kind == Kind::kSystemRead || kind == Kind::kSystemReadHash ||
         kind == Kind::kBar;
}

// Whether a record may be repeated: what changes the state of the reader may not.
bool is_repeatable(Kind kind) {
  return is_read(kind) || kind == Kind::kConfigWrite || kind == Kind::kWrite ||
         kind == Kind::kSystemWrite;
}

uint64_t pieces_of(uint64_t length) { return length / kHashPiece + (length % kHashPiece != 0); }

class Reader {
 public:
  explicit Reader(std::span<const std::byte> stream) : stream_(stream) {}

  std::vector<TrafficRecord> read() {
    const auto magic = take(kMagic.size());
    if (std::memcmp(magic.data(), kMagic.data(), kMagic.size()) != 0)
      fail("traffic: it does not begin as a recording of this version does");
    for (;;) {
      const TrafficRecord record = next();
      if (record.kind == Kind::kEnd) {
        if (record.value != count_)
          fail("traffic: it ends after {} records, expected {}", count_, record.value);
        if (at_ != stream_.size()) fail("traffic: {} bytes follow its end", stream_.size() - at_);
        return std::move(out_);
      }
      ++count_;
      check(record);
      if (record.kind == Kind::kRepeat) {
        repeat(record);
        continue;
      }
      add(record);
      if (record.kind == Kind::kTime) continue;
      if (!is_repeatable(record.kind)) {
        last_.clear();
        continue;
      }
      last_.push_back(record);
      if (last_.size() > kLongestPeriod) last_.pop_front();
    }
  }

 private:
  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    throw Error(fmt::format("traffic: record {}, before byte {}: {}", count_ + 1, at_,
                            fmt::format(format, std::forward<Args>(args)...)),
                "The file is cut off, damaged, or of another version of Outboard.");
  }

  std::span<const std::byte> take(uint64_t bytes) {
    if (bytes > stream_.size() - at_)
      refuse("{} bytes are left, expected {}", stream_.size() - at_, bytes);
    const auto out = stream_.subspan(at_, bytes);
    at_ += bytes;
    return out;
  }

  uint64_t number() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint64_t>(take(1)[0]);
      if (shift == 63 && byte > 1) break;
      value |= (byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    refuse("a number is longer than 64 bits");
  }

  TrafficRecord next() {
    TrafficRecord record;
    const auto kind = static_cast<size_t>(take(1)[0]);
    if (kind >= kShapes.size()) refuse("kind {} is unknown", kind);
    record.kind = static_cast<Kind>(kind);
    const Shape& shape = shape_of(record.kind);
    if (shape.where) {
      const uint64_t where = number();
      if (where > UINT32_MAX) refuse("{} of {}", shape.name, where);
      record.where = static_cast<uint32_t>(where);
    }
    if (shape.offset) record.offset = number();
    if (shape.length) record.length = number();
    if (shape.value) record.value = number();
    switch (shape.data) {
      case Data::kNone:
        break;
      case Data::kBytes:
        record.data = take(record.length);
        break;
      case Data::kHashes:
        record.data = take_many(pieces_of(record.length), sizeof(Sha256));
        break;
      case Data::kText:
        record.data = take(number());
        break;
      case Data::kSegments:
        record.data = take_many(number(), kSegmentBytes);
        break;
    }
    return record;
  }

  std::span<const std::byte> take_many(uint64_t count, uint64_t bytes) {
    if (count > stream_.size() / bytes)
      refuse("{} times {} bytes do not fit the file", count, bytes);
    return take(count * bytes);
  }

  void check(const TrafficRecord& record) {
    const Shape& shape = shape_of(record.kind);
    switch (record.kind) {
      case Kind::kConfigRead:
      case Kind::kConfigHidden:
      case Kind::kConfigWrite:
        if (record.length != 1 && record.length != 2 && record.length != 4)
          refuse("{} of {} bytes", shape.name, record.length);
        if (record.offset > kConfigBytes - record.length)
          refuse("{} at {:#x}", shape.name, record.offset);
        if (record.value > UINT32_MAX) refuse("{} of the value {:#x}", shape.name, record.value);
        break;
      case Kind::kBar:
      case Kind::kRead:
      case Kind::kReadHash:
      case Kind::kWrite:
      case Kind::kWriteHash:
      case Kind::kResizeBar:
        if (record.where >= kBars) refuse("{} of BAR {}", shape.name, record.where);
        if (record.kind != Kind::kBar && record.length > protocol::kBulkBytes)
          refuse("{} of {} bytes", shape.name, record.length);
        if (record.offset > UINT64_MAX - record.length)
          refuse("{} at {:#x}", shape.name, record.offset);
        break;
      case Kind::kShare:
        check_share(record);
        break;
      case Kind::kUnshare:
        if (regions_.erase(record.where) == 0) refuse("{} is no region", record.where);
        break;
      case Kind::kSystemRead:
      case Kind::kSystemReadHash:
      case Kind::kSystemWrite:
      case Kind::kSystemWriteHash: {
        const auto region = regions_.find(record.where);
        if (region == regions_.end()) refuse("{} of region {}", shape.name, record.where);
        if (record.offset > region->second || record.length > region->second - record.offset)
          refuse("{} of {} bytes at {:#x} of a region of {}", shape.name, record.length,
                 record.offset, region->second);
        break;
      }
      default:
        break;
    }
  }

  void check_share(const TrafficRecord& record) {
    uint64_t sum = 0;
    for (size_t i = 0; i < record.data.size(); i += kSegmentBytes) {
      Segment segment;
      std::memcpy(&segment.address, &record.data[i], 8);
      std::memcpy(&segment.size, &record.data[i + 8], 8);
      if (segment.size == 0 || segment.size % protocol::kPage != 0 ||
          value(segment.address) % protocol::kPage != 0 || segment.size > kMostSystemBytes ||
          value(segment.address) > UINT64_MAX - segment.size)
        refuse("a system memory segment of {:#x} bytes at {:#x}", segment.size, segment.address);
      sum += segment.size;
      if (sum > kMostSystemBytes) refuse("a system memory region of {:#x} bytes or more", sum);
    }
    if (sum < record.length || record.length == 0)
      refuse("a system memory region of {:#x} bytes with segments for {:#x}", record.length, sum);
    system_bytes_ += sum;
    if (system_bytes_ > kMostSystemBytes) refuse("{:#x} bytes of system memory", system_bytes_);
    if (!regions_.emplace(record.where, record.length).second)
      refuse("region {} is shared twice", record.where);
  }

  void add(const TrafficRecord& record) {
    if (out_.size() >= kMostRecords) refuse("more than {} records", kMostRecords);
    out_.push_back(record);
  }

  void repeat(const TrafficRecord& record) {
    if (record.where == 0 || record.where > last_.size() || record.value == 0)
      refuse("the last {} records again, {} times; {} can be", record.where, record.value,
             last_.size());
    last_.erase(last_.begin(), last_.end() - record.where);
    if (std::ranges::all_of(last_, [](const TrafficRecord& r) { return is_read(r.kind); })) {
      TrafficRecord looks = record;
      looks.where = 0;
      add(looks);
      return;
    }
    if (record.value > kMostRecords) refuse("{} repetitions", record.value);
    for (uint64_t i = 0; i < record.value; ++i) {
      for (const TrafficRecord& each : last_) add(each);
    }
  }

  std::span<const std::byte> stream_;
  uint64_t at_ = 0, count_ = 0, system_bytes_ = 0;
  std::map<uint32_t, uint64_t> regions_;  // to their bytes
  std::deque<TrafficRecord> last_;
  std::vector<TrafficRecord> out_;
};

}  // namespace

std::vector<std::byte> hash_pieces(std::span<const std::byte> bytes) {
  std::vector<std::byte> out;
  out.reserve(pieces_of(bytes.size()) * sizeof(Sha256));
  for (; !bytes.empty(); bytes = bytes.subspan(std::min<size_t>(bytes.size(), kHashPiece))) {
    const Sha256 hash = sha256(bytes.first(std::min<size_t>(bytes.size(), kHashPiece)));
    out.insert(out.end(), hash.begin(), hash.end());
  }
  return out;
}

TrafficWriter::TrafficWriter() : file_(std::tmpfile(), &std::fclose), start_(now()) {
  if (!file_) throw system_error("make", "a temporary file for the recording");
  put(kMagic);
}

void TrafficWriter::put(std::string_view bytes) {
  if (failed_) return;
  bytes_ += bytes.size();
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) == bytes.size()) return;
  failed_ = true;
  error_ = errno;
}

void TrafficWriter::add_time() {
  const uint64_t time = now() - start_;
  if (time - last_time_ < kTimeStep) return;
  last_time_ = time;
  put(pack({Kind::kTime, 0, 0, 0, time, {}}));
  ++records_;
}

void TrafficWriter::add(const TrafficRecord& record) {
  if (full_ || !file_) return;
  if (bytes_ + record.data.size() > kMostBytes || records_ + kLeftForEnd > kMostRecords) {
    constexpr std::string_view kFull = "the recording is full: what follows is not in it";
    end_repeat();
    put(pack({Kind::kNote, 0, 0, 0, 0, std::as_bytes(std::span(kFull))}));
    ++records_;
    full_ = true;
    return;
  }
  std::string packed = pack(record);
  const bool may_repeat = packed.size() <= kShort && is_repeatable(record.kind);
  if (period_ != 0) {
    if (may_repeat && packed == last_[last_.size() - period_ + matched_ % period_]) {
      ++matched_;
      return;
    }
    end_repeat();
  }
  if (may_repeat) {
    for (size_t period = 1; period <= std::min(last_.size(), kLongestPeriod); ++period) {
      if (packed != last_[last_.size() - period]) continue;
      period_ = period;
      matched_ = 1;
      return;
    }
  }
  add_time();
  put(packed);
  ++records_;
  if (!may_repeat) {
    last_.clear();
    return;
  }
  last_.push_back(std::move(packed));
  if (last_.size() > kLongestPeriod) last_.pop_front();
}

void TrafficWriter::end_repeat() {
  if (period_ == 0) return;
  const uint64_t times = matched_ / period_, rest = matched_ % period_;
  if (times > 0) {
    put(pack({Kind::kRepeat, static_cast<uint32_t>(period_), 0, 0, times, {}}));
    ++records_;
    last_.erase(last_.begin(), last_.end() - static_cast<ptrdiff_t>(period_));
  }
  const size_t first = last_.size() - period_;
  const std::vector<std::string> more(last_.begin() + static_cast<ptrdiff_t>(first),
                                      last_.begin() + static_cast<ptrdiff_t>(first + rest));
  for (const std::string& packed : more) {
    put(packed);
    ++records_;
    last_.push_back(packed);
    if (last_.size() > kLongestPeriod) last_.pop_front();
  }
  period_ = 0;
  matched_ = 0;
}

std::unique_ptr<std::FILE, int (*)(std::FILE*)> TrafficWriter::finish() {
  end_repeat();
  put(pack({Kind::kEnd, 0, 0, 0, records_, {}}));
  if (!failed_ && std::fseek(file_.get(), 0, SEEK_SET) != 0) {  // writes what is left
    failed_ = true;
    error_ = errno;
  }
  if (failed_) {
    errno = error_;
    throw system_error("write", "the temporary file of the recording");
  }
  return std::move(file_);
}

std::vector<TrafficRecord> read_traffic(std::span<const std::byte> stream) {
  return Reader(stream).read();
}

}  // namespace outboard::link
