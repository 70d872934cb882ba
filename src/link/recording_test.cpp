// Recording passes everything on unchanged, and keeps no more than it may.
#include "link/recording.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "support/error.h"

namespace outboard::link {
namespace {

using ::testing::HasSubstr;
using Kind = TrafficRecord::Kind;

// A card that counts what is asked of it.
class CountingMemory : public SystemRegion {
 public:
  CountingMemory(uint64_t size, int& calls) : bytes_(size), calls_(calls) {}
  uint64_t size() const override { return bytes_.size(); }
  const std::vector<Segment>& segments() const override { return segments_; }
  std::byte* host() override { return bytes_.data(); }
  void read(uint64_t offset, std::span<std::byte> bytes) override {
    ++calls_;
    std::memcpy(bytes.data(), &bytes_[offset], bytes.size());
  }
  void write(uint64_t offset, std::span<const std::byte> bytes) override {
    ++calls_;
    std::memcpy(&bytes_[offset], bytes.data(), bytes.size());
  }

 private:
  std::vector<std::byte> bytes_;
  std::vector<Segment> segments_{{BusAddress{0x10000}, bytes_.size()}};
  int& calls_;
};

class CountingLink : public Link {
 public:
  std::string name() const override { return "counting"; }
  uint32_t config_read(uint32_t offset, uint32_t) override {
    ++calls;
    if (gone) throw LinkLost("counting: /home/someone is gone", "hint");
    if (offset == 0x400) return 0x00010003;  // the serial number's capability
    return offset * 3;
  }
  void config_write(uint32_t, uint32_t, uint32_t) override { ++calls; }
  Bar bar(int) override {
    ++calls;
    return {BusAddress{0x1000}, 0x2000};
  }
  void read(int, BarOffset, std::span<std::byte> bytes) override {
    ++calls;
    std::ranges::fill(bytes, std::byte{0x5a});
  }
  void write(int, BarOffset, std::span<const std::byte>) override { ++calls; }
  std::unique_ptr<SystemRegion> share(uint64_t size, bool) override {
    ++calls;
    return std::make_unique<CountingMemory>(size, calls);
  }
  void reset() override { ++calls; }
  void resize_bar(int) override { ++calls; }

  int calls = 0;
  bool gone = false;
};

struct Bench {
  explicit Bench(RecordingOptions options = {})
      : inner(std::make_shared<CountingLink>()),
        recording(std::make_shared<Recording>(std::move(options))),
        link(Recording::record(inner, recording)) {}

  // What was recorded, without times.
  std::vector<TrafficRecord> finish() {
    link.reset();
    const auto file = recording->finish();
    std::array<std::byte, 4096> piece{};
    while (const size_t got = std::fread(piece.data(), 1, piece.size(), file.get()))
      stream.insert(stream.end(), piece.begin(), piece.begin() + static_cast<ptrdiff_t>(got));
    std::vector<TrafficRecord> records = read_traffic(stream);
    std::erase_if(records, [](const TrafficRecord& r) { return r.kind == Kind::kTime; });
    return records;
  }

  std::shared_ptr<CountingLink> inner;
  std::shared_ptr<Recording> recording;
  std::unique_ptr<Link> link;
  std::vector<std::byte> stream;
};

std::vector<Kind> kinds(const std::vector<TrafficRecord>& records) {
  std::vector<Kind> out;
  for (const TrafficRecord& record : records) out.push_back(record.kind);
  return out;
}

TEST(Recording, EveryCallIsPassedOnOnceAndKept) {
  Bench bench;
  std::array<std::byte, 8> bytes{};
  bench.recording->note("start");
  EXPECT_EQ(bench.link->config_read(4, 2), 12U);
  bench.link->config_write(4, 6, 2);
  EXPECT_EQ(bench.link->bar(5).size, 0x2000U);
  bench.link->read(5, BarOffset{0x100}, bytes);
  EXPECT_EQ(bytes[7], std::byte{0x5a});
  bench.link->write(5, BarOffset{0x108}, bytes);
  const auto memory = bench.link->share(0x4000, true);
  memory->write(0x10, bytes);
  std::array<std::byte, 8> back{};
  memory->read(0x10, back);
  EXPECT_EQ(back, bytes);
  bench.link->reset();
  bench.link->resize_bar(0);
  EXPECT_EQ(bench.inner->calls, 10);  // as many as were made
  EXPECT_EQ(bench.recording->last_read()->offset, BarOffset{0x100});
  const std::vector<TrafficRecord> records = bench.finish();
  EXPECT_THAT(
      kinds(records),
      ::testing::ElementsAre(Kind::kNote, Kind::kConfigRead, Kind::kConfigWrite, Kind::kBar,
                             Kind::kRead, Kind::kWrite, Kind::kShare, Kind::kSystemWrite,
                             Kind::kSystemRead, Kind::kReset, Kind::kResizeBar, Kind::kClosed));
  EXPECT_EQ(records[4].data[0], std::byte{0x5a});
  EXPECT_EQ(records[6].length, 0x4000U);
}

TEST(Recording, MemoryIsSeenThroughItsCalls) {
  Bench bench;
  EXPECT_EQ(bench.link->share(0x1000, false)->host(), nullptr);
  EXPECT_EQ(kinds(bench.finish()).at(1), Kind::kUnshare);
}

TEST(Recording, FirmwareIsLeftOut) {
  Bench bench({{{0, BarOffset{0x100000}, 0x100000}}, {}});
  std::array<std::byte, 64> secret{};
  std::ranges::fill(secret, std::byte{0xa5});
  bench.link->write(0, BarOffset{0x100000}, secret);
  bench.link->write(0, BarOffset{0xfffe0}, secret);  // partly inside
  bench.link->write(0, BarOffset{0x200000}, secret);
  bench.link->write(5, BarOffset{0x100000}, secret);
  const std::vector<TrafficRecord> records = bench.finish();
  EXPECT_EQ(records[0].kind, Kind::kWriteHash);
  EXPECT_EQ(records[1].kind, Kind::kWriteHash);
  EXPECT_EQ(records[2].kind, Kind::kWrite);
  EXPECT_EQ(records[3].kind, Kind::kWrite);
  EXPECT_TRUE(std::ranges::equal(records[0].data, sha256(secret)));
}

TEST(Recording, LongContentsAreHashedPieceByPiece) {
  Bench bench;
  std::vector<std::byte> bytes(5 << 20);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i >> 16);
  const auto memory = bench.link->share(bytes.size(), false);
  memory->write(0, bytes);
  memory->write(0, std::span(bytes).first(1 << 20));
  const std::vector<TrafficRecord> records = bench.finish();
  EXPECT_EQ(records[1].kind, Kind::kSystemWriteHash);
  EXPECT_EQ(records[1].data.size(), bytes.size() / kHashPiece * 32);
  EXPECT_EQ(records[2].kind, Kind::kSystemWrite);
}

TEST(Recording, WeightsAreLeftOut) {
  Bench bench;
  const std::vector<std::byte> bytes(8 << 10);
  const auto memory = bench.link->share(bytes.size(), false);
  bench.recording->leave_out_contents(true);
  memory->write(0, bytes);
  memory->write(0, std::span(bytes).first(64));  // arguments
  bench.recording->leave_out_contents(false);
  memory->write(0, bytes);
  const std::vector<TrafficRecord> records = bench.finish();
  EXPECT_EQ(records[1].kind, Kind::kSystemWriteHash);
  EXPECT_EQ(records[2].kind, Kind::kSystemWrite);
  EXPECT_EQ(records[3].kind, Kind::kSystemWrite);
}

TEST(Recording, SerialNumbersAreNotKept) {
  Bench bench;
  bench.link->config_read(0x400, 4);
  for (uint32_t offset = 0x404; offset < 0x410; offset += 4) bench.link->config_read(offset, 4);
  bench.link->config_read(0x40b, 1);
  bench.recording->hide_config(0x20, 2);
  EXPECT_EQ(bench.link->config_read(0x20, 4), 0x60U);  // whoever asks gets it
  EXPECT_THAT(kinds(bench.finish()),
              ::testing::ElementsAre(Kind::kConfigRead, Kind::kConfigHidden, Kind::kConfigHidden,
                                     Kind::kConfigRead, Kind::kConfigHidden, Kind::kConfigHidden,
                                     Kind::kClosed));
}

TEST(Recording, FailuresAreKeptWithoutNames) {
  Bench bench({{}, [](std::string_view text) {
                 std::string out(text);
                 out.replace(out.find("someone"), 7, "(user)");
                 return out;
               }});
  bench.inner->gone = true;
  EXPECT_THROW(bench.link->config_read(0, 4), LinkLost);
  const std::vector<TrafficRecord> records = bench.finish();
  ASSERT_EQ(records[0].kind, Kind::kFailed);
  EXPECT_EQ(records[0].value, 1U);
  EXPECT_THAT(
      std::string(reinterpret_cast<const char*>(records[0].data.data()), records[0].data.size()),
      HasSubstr("/home/(user) is gone"));
}

}  // namespace
}  // namespace outboard::link
