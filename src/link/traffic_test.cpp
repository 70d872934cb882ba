#include "link/traffic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>

#include "link/link.h"
#include "support/error.h"

namespace outboard::link {
namespace {

using ::testing::HasSubstr;
using Kind = TrafficRecord::Kind;

std::vector<std::byte> bytes_of(std::FILE* file) {
  std::vector<std::byte> out;
  std::array<std::byte, 4096> piece{};
  while (const size_t got = std::fread(piece.data(), 1, piece.size(), file))
    out.insert(out.end(), piece.begin(), piece.begin() + static_cast<ptrdiff_t>(got));
  return out;
}

std::vector<std::byte> finish(TrafficWriter& writer) { return bytes_of(writer.finish().get()); }

bool is_told(const TrafficRecord& record) { return record.kind != Kind::kTime; }

std::vector<TrafficRecord> read_told(std::span<const std::byte> stream) {
  std::vector<TrafficRecord> records = read_traffic(stream);
  std::erase_if(records, [](const TrafficRecord& r) { return !is_told(r); });
  return records;
}

constexpr std::array<uint32_t, 3> kWords = {1, 2, 3};
constexpr Segment kSegment{BusAddress{0x123000}, 0x2000};

std::span<const std::byte> word(size_t i) {
  return std::as_bytes(std::span(kWords)).subspan(i * 4, 4);
}
TrafficRecord look(uint64_t offset, size_t value) {
  return {Kind::kRead, 5, offset, 4, 0, word(value)};
}

// One of every kind that a link makes.
std::vector<TrafficRecord> one_of_each() {
  static const std::vector<std::byte> long_bytes(kHashPiece + 1, std::byte{7});
  static const std::vector<std::byte> hashes = hash_pieces(long_bytes);
  static constexpr std::string_view kText = "boot: bus";
  const auto text = std::as_bytes(std::span(kText));
  return {
      {Kind::kNote, 0, 0, 0, 0, text},
      {Kind::kConfigRead, 0, 4, 2, 7, {}},
      {Kind::kConfigHidden, 0, 0x404, 4, 0, {}},
      {Kind::kConfigWrite, 0, 4, 2, 6, {}},
      {Kind::kBar, 5, 0x80000000, 1 << 20, 0, {}},
      look(0x58244, 0),
      {Kind::kReadHash, 0, 0, long_bytes.size(), 0, hashes},
      {Kind::kWrite, 5, 0x10, 12, 0, std::as_bytes(std::span(kWords))},
      {Kind::kWriteHash, 0, 1 << 20, long_bytes.size(), 0, hashes},
      {Kind::kShare, 1, 0, 0x2000, 1, std::as_bytes(std::span(&kSegment, 1))},
      {Kind::kSystemWrite, 1, 0x1ffc, 4, 0, word(1)},
      {Kind::kSystemRead, 1, 0, 4, 0, word(2)},
      {Kind::kUnshare, 1, 0, 0, 0, {}},
      {Kind::kReset, 0, 0, 0, 0, {}},
      {Kind::kResizeBar, 2, 0, 0, 0, {}},
      {Kind::kFailed, 0, 0, 0, 1, text},
      {Kind::kClosed, 0, 0, 0, 0, {}},
  };
}

void expect_equal(const TrafficRecord& a, const TrafficRecord& b) {
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.where, b.where);
  EXPECT_EQ(a.offset, b.offset);
  EXPECT_EQ(a.length, b.length);
  EXPECT_EQ(a.value, b.value);
  EXPECT_TRUE(std::ranges::equal(a.data, b.data));
}

TEST(Traffic, EveryKindComesBack) {
  TrafficWriter writer;
  const std::vector<TrafficRecord> wrote = one_of_each();
  for (const TrafficRecord& record : wrote) writer.add(record);
  const std::vector<std::byte> stream = finish(writer);
  const std::vector<TrafficRecord> read = read_told(stream);
  ASSERT_EQ(read.size(), wrote.size());
  for (size_t i = 0; i < read.size(); ++i) expect_equal(read[i], wrote[i]);
}

TEST(Traffic, TheExampleOfTheHeader) {
  TrafficWriter writer;
  writer.add(look(0x58244, 0));
  const std::vector<std::byte> stream = finish(writer);
  EXPECT_THAT(to_hex(stream), HasSubstr("0805c484160401000000"));
}

TEST(Traffic, ACutOffStreamIsRefusedAtEveryLength) {
  TrafficWriter writer;
  for (const TrafficRecord& record : one_of_each()) writer.add(record);
  for (int i = 0; i < 9; ++i) writer.add(look(0x40, i == 8 ? 1 : 0));
  const std::vector<std::byte> stream = finish(writer);
  EXPECT_NO_THROW(read_traffic(stream));
  size_t step = 1;
  for (size_t length = 0; length < stream.size(); length += step) {
    EXPECT_THROW(read_traffic(std::span(stream).first(length)), Error) << length;
  }
}

// What remains readable is consistent; nothing is read outside. (Sanitizers watch.)
TEST(Traffic, FlippedBytesDoNoHarm) {
  TrafficWriter writer;
  for (const TrafficRecord& record : one_of_each()) writer.add(record);
  const std::vector<std::byte> stream = finish(writer);
  std::mt19937 random(1);
  size_t refused = 0;
  for (size_t at = 0; at < stream.size(); ++at) {
    std::vector<std::byte> damaged = stream;
    damaged[at] ^= static_cast<std::byte>(1 + random() % 255);
    try {
      for (const TrafficRecord& r : read_traffic(damaged)) EXPECT_LE(r.data.size(), stream.size());
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, stream.size() / 5);
}

TEST(Traffic, PollsAreCounted) {
  TrafficWriter writer;
  constexpr int kLooks = 100000;
  for (int i = 0; i < kLooks; ++i) {
    writer.add(look(0x40, 0));
    writer.add(look(0x44, 1));
  }
  writer.add(look(0x40, 0));
  writer.add(look(0x44, 2));
  const std::vector<std::byte> stream = finish(writer);
  EXPECT_LT(stream.size(), 200U);
  const std::vector<TrafficRecord> read = read_told(stream);
  ASSERT_EQ(read.size(), 5U);  // twice a look, the repetition, twice a look
  EXPECT_EQ(read[2].kind, Kind::kRepeat);
  EXPECT_EQ(read[2].value, kLooks - 1U);
  expect_equal(read[3], look(0x40, 0));
  expect_equal(read[4], look(0x44, 2));
}

TEST(Traffic, RepeatedWritesComeBackOneByOne) {
  TrafficWriter writer;
  const TrafficRecord index{Kind::kWrite, 5, 0x14, 4, 0, word(1)};
  std::vector<TrafficRecord> wrote;
  std::mt19937 random(5);
  for (int i = 0; i < 3000; ++i) {  // periods of one to four, and no order at all
    const int kind = (i / 100) % 6;
    const int phase = kind < 5 ? i % (kind + 1) : static_cast<int>(random() % 3);
    wrote.push_back(phase == 0 ? index : look(0x18, static_cast<size_t>(phase) % 3));
  }
  for (const TrafficRecord& record : wrote) writer.add(record);
  const std::vector<std::byte> stream = finish(writer);
  std::vector<TrafficRecord> read = read_told(stream);
  std::erase_if(read, [](const TrafficRecord& r) { return r.kind == Kind::kRepeat; });
  // Repeated reads alone are left out; writes never are.
  const auto writes = [](const std::vector<TrafficRecord>& records) {
    return std::ranges::count(records, Kind::kWrite, &TrafficRecord::kind);
  };
  EXPECT_EQ(writes(read), writes(wrote));
  EXPECT_LT(stream.size(), 3000U * 4);
}

// A stream by hand: the start, the records, an end that counts them.
std::vector<std::byte> by_hand(std::string_view records, int count) {
  std::string text = "OBTRAF1\n";
  text += records;
  text += '\0';
  text += static_cast<char>(count);
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

void expect_refused(std::string_view records, int count, const std::string& why) {
  const std::vector<std::byte> stream = by_hand(records, count);
  try {
    read_traffic(stream);
    ADD_FAILURE() << "accepted: " << why;
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), HasSubstr(why));
  }
}

TEST(Traffic, WhatCannotBeIsRefusedByName) {
  using namespace std::string_view_literals;
  EXPECT_NO_THROW(read_traffic(by_hand("", 0)));
  expect_refused("", 1, "ends after 0 records, expected 1");
  expect_refused("\x7f"sv, 1, "kind 127 is unknown");
  expect_refused("\x04\x00\x03\x00"sv, 1, "configuration read of 3 bytes");
  expect_refused("\x04\xff\x1f\x04\x00"sv, 1, "configuration read at 0xfff");
  expect_refused("\x08\x06\x00\x01\x00"sv, 1, "read of BAR 6");
  expect_refused("\x08\x05\x00\xff\xff\xff\x7f"sv, 1, "bytes are left, expected 268435455");
  expect_refused("\x0e\x01\x00\x01\x00"sv, 1, "system memory read of region 1");
  expect_refused("\x0d\x01"sv, 1, "1 is no region");
  expect_refused("\x0c\x01\x80\x20\x00\x00"sv, 1, "segments for 0x0");
  expect_refused("\x03\x01\x05"sv, 1, "the last 1 records again");
  expect_refused("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"sv, 1, "longer than 64 bits");
  const std::vector<std::byte> other(16, std::byte{'x'});
  EXPECT_THROW(read_traffic(other), Error);
}

}  // namespace
}  // namespace outboard::link
