#include "simulator/card/replay.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "hardware/amd/navi31/nbio.h"
#include "hardware/amd/navi31/register.h"
#include "simulator/card/firmware_images.h"
#include "support/error.h"
#include "support/sha256.h"

namespace outboard::simulator::card {
namespace {

namespace hw = hardware::amd::navi31;
namespace nb = hw::nbio;
using link::TrafficRecord;
using Kind = TrafficRecord::Kind;
using Bytes = std::vector<std::byte>;

constexpr int kVramBar = 0, kRegisterBar = 5;
constexpr size_t kMostDifferences = 10'000;

// --- Names ---

std::string_view block_of(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kPrefixes = {{
      {"MP0_", "psp"},
      {"MP1_", "smu"},
      {"MM", "mmhub"},
      {"GCVM_", "gchub"},
      {"GCMC_", "gchub"},
      {"IH_", "ih"},
      {"HDP_", "hdp"},
      {"BIF_", "nbio"},
      {"RCC_", "nbio"},
      {"S2A_", "nbio"},
      {"SDMA", "sdma"},
      {"RLC_", "rlc"},
  }};
  for (const auto& [prefix, block] : kPrefixes) {
    if (name.starts_with(prefix)) return block;
  }
  return "gfx";
}

std::string_view register_name(uint32_t address) {
  static const auto names = [] {
    std::unordered_map<uint32_t, std::string_view> out;
    for (const hw::RegisterInfo& info : hw::registers()) out.emplace(info.address, info.name);
    return out;
  }();
  const auto found = names.find(address);
  return found == names.end() ? std::string_view() : found->second;
}

// Of a type 0 header (PCI Express base specification; Linux pci_regs.h).
std::string config_name(uint64_t offset) {
  static constexpr std::array<std::pair<uint64_t, std::string_view>, 13> kFields = {{
      {0x3c, "interrupt line"},
      {0x34, "capability pointer"},
      {0x30, "ROM address"},
      {0x2c, "subsystem"},
      {0x28, "CardBus pointer"},
      {0x10, "BAR"},
      {0x0e, "header type"},
      {0x0c, "cache line"},
      {0x09, "class"},
      {0x08, "revision"},
      {0x06, "status"},
      {0x04, "command"},
      {0x00, "identity"},
  }};
  if (offset >= 0x40) return fmt::format("byte {:#x}", offset);
  for (const auto& [start, name] : kFields) {
    if (offset >= start) return fmt::format("{} (byte {:#x})", name, offset);
  }
  return {};
}

// --- What is asked ---

// The index/data windows of BAR 5: what a read of the data register means depends on the index.
struct Windows {
  uint32_t mm_index = 0, mm_index_high = 0, rsmu_index = 0, pcie_index = 0;

  // False: it is no index register.
  bool write(uint32_t address, uint32_t value) {
    switch (address) {
      case nb::BIF_BX_PF0_MM_INDEX::kAddress:
        mm_index = value;
        return true;
      case nb::BIF_BX_PF0_MM_INDEX_HI::kAddress:
        mm_index_high = value;
        return true;
      case nb::BIF_BX_PF0_RSMU_INDEX::kAddress:
        rsmu_index = value;
        return true;
      case nb::BIF_BX0_PCIE_INDEX2::kAddress:
        pcie_index = value;
        return true;
      default:
        return false;
    }
  }

  struct Target {
    bool vram = false;
    uint64_t at = 0;  // VRAM: bytes; else the register's dword address
    bool direct = true;
  };
  Target target(uint32_t address) const {
    if (address == nb::BIF_BX_PF0_MM_DATA::kAddress) {
      const uint64_t offset = nb::BIF_BX_PF0_MM_INDEX::MM_OFFSET.get(mm_index);
      if (nb::BIF_BX_PF0_MM_INDEX::MM_APER.get(mm_index) == 0) return {false, offset / 4, false};
      return {true, uint64_t{mm_index_high} << 31 | offset, false};
    }
    if (address == nb::BIF_BX_PF0_RSMU_DATA::kAddress) return {false, rsmu_index / 4, false};
    if (address == nb::BIF_BX0_PCIE_DATA2::kAddress) return {false, pcie_index / 4, false};
    return {false, address, true};
  }
};

uint32_t dword(std::span<const std::byte> bytes, size_t at) {
  uint32_t value = 0;
  std::memcpy(&value, &bytes[at], std::min<size_t>(4, bytes.size() - at));
  return value;
}

bool is_register_access(const TrafficRecord& r) {
  return r.where == kRegisterBar && r.offset % 4 == 0 && r.length % 4 == 0;
}

// Which records only look, and which of these are looks of a poll that goes on. A poll reads the
// same again with nothing between but other reads and the index of a window.
struct Looks {
  enum class Role : uint8_t { kNone, kOnce, kGoesOn, kLast };
  std::vector<Role> roles;

  explicit Looks(std::span<const TrafficRecord> traffic) : roles(traffic.size(), Role::kNone) {
    constexpr size_t kFar = 8;  // records between two looks
    std::vector<uint64_t> keys(traffic.size(), 0);
    std::vector<bool> transparent(traffic.size(), false);
    Windows windows;
    for (size_t i = 0; i < traffic.size(); ++i) {
      const TrafficRecord& r = traffic[i];
      transparent[i] = r.kind == Kind::kTime || r.kind == Kind::kRepeat;
      if (r.kind == Kind::kWrite && is_register_access(r) && r.length == 4)
        transparent[i] = windows.write(static_cast<uint32_t>(r.offset / 4), dword(r.data, 0));
      keys[i] = key_of(r, windows);
    }
    for (size_t i = 0; i < traffic.size(); ++i) {
      if (keys[i] == 0) continue;
      if (roles[i] == Role::kNone) roles[i] = Role::kOnce;
      size_t passed = 0;
      for (size_t j = i + 1; j < traffic.size() && passed < kFar; ++j) {
        if (keys[j] == keys[i]) {
          roles[i] = Role::kGoesOn;
          roles[j] = Role::kLast;
          break;
        }
        if (traffic[j].kind == Kind::kRepeat && j == i + 1) roles[i] = Role::kLast;
        if (transparent[j]) continue;
        if (keys[j] == 0) break;
        ++passed;
      }
    }
  }

 private:
  static uint64_t key_of(const TrafficRecord& r, const Windows& windows) {
    if (r.kind != Kind::kConfigRead && r.kind != Kind::kRead && r.kind != Kind::kSystemRead)
      return 0;
    uint64_t key = static_cast<uint64_t>(r.kind);
    const auto mix = [&](uint64_t value) {
      key = (key ^ value) * 0x9e3779b97f4a7c15;
      key ^= key >> 29;
    };
    mix(r.where);
    mix(r.offset);
    mix(r.length);
    if (r.kind == Kind::kRead && is_register_access(r)) {
      const Windows::Target target = windows.target(static_cast<uint32_t>(r.offset / 4));
      mix(target.at);
      mix(target.vram ? 1 : 0);
    }
    return key | 1;
  }
};

// --- Stand-ins for contents that are only known by their hashes ---

class Unknown {
 public:
  // Bytes that are the same for the same hash.
  void fill(std::span<std::byte> to, std::span<const std::byte> hashes) {
    for (size_t at = 0; at < to.size(); at += link::kHashPiece) {
      const auto piece = to.subspan(at, std::min<size_t>(link::kHashPiece, to.size() - at));
      const auto hash = hashes.subspan(at / link::kHashPiece * sizeof(Sha256), sizeof(Sha256));
      for (size_t i = 0; i < piece.size(); ++i) piece[i] = hash[i % hash.size()];
      known_.insert(text(hash));
    }
    bytes_ += to.size();
  }
  uint64_t bytes() const { return bytes_; }

  // Whether bytes are what the hashes stand for, or its stand-in.
  bool agree(std::span<const std::byte> bytes, std::span<const std::byte> hashes) const {
    for (size_t at = 0; at < bytes.size(); at += link::kHashPiece) {
      const auto piece = bytes.subspan(at, std::min<size_t>(link::kHashPiece, bytes.size() - at));
      const auto hash = hashes.subspan(at / link::kHashPiece * sizeof(Sha256), sizeof(Sha256));
      if (known_.contains(text(hash)) ? !is_stand_in(piece, hash)
                                      : !std::ranges::equal(sha256(piece), hash))
        return false;
    }
    return true;
  }

 private:
  static std::string text(std::span<const std::byte> hash) {
    return {reinterpret_cast<const char*>(hash.data()), hash.size()};
  }
  static bool is_stand_in(std::span<const std::byte> piece, std::span<const std::byte> hash) {
    for (size_t i = 0; i < piece.size(); ++i) {
      if (piece[i] != hash[i % hash.size()]) return false;
    }
    return true;
  }

  std::set<std::string> known_;
  uint64_t bytes_ = 0;
};

// --- The replay ---

class Player {
 public:
  Player(Card& card, std::span<const TrafficRecord> traffic, const ReplayOptions& options)
      : card_(card), traffic_(traffic), options_(options), looks_(traffic) {}

  ReplayOutcome play() {
    for (at_ = 0; at_ < traffic_.size(); ++at_) step(traffic_[at_]);
    out_.records = traffic_.size();
    for (const auto& [id, region] : regions_) card_.unshare(region->id());
    return std::move(out_);
  }

 private:
  using Role = Looks::Role;

  void step(const TrafficRecord& r) {
    switch (r.kind) {
      case Kind::kTime:
        time_ = r.value;
        return;
      case Kind::kNote:
        during_ = text(r);
        return;
      case Kind::kConfigRead:
        return read_config(r);
      case Kind::kConfigWrite:
        return card_.config_write(static_cast<uint32_t>(r.offset), static_cast<uint32_t>(r.value),
                                  static_cast<uint32_t>(r.length));
      case Kind::kBar:
        return look_at_bar(r);
      case Kind::kRead:
      case Kind::kReadHash:
        return read_bar(r);
      case Kind::kWrite:
      case Kind::kWriteHash:
        return write_bar(r);
      case Kind::kShare:
        return share(r);
      case Kind::kUnshare:
        if (const auto found = regions_.find(r.where); found != regions_.end()) {
          card_.unshare(found->second->id());
          regions_.erase(found);
        }
        return;
      case Kind::kSystemRead:
      case Kind::kSystemReadHash:
        return read_system(r);
      case Kind::kSystemWrite:
      case Kind::kSystemWriteHash:
        return write_system(r);
      case Kind::kReset:
        return card_.reset();
      case Kind::kResizeBar:
        card_.resize_bar(static_cast<int>(r.where));
        return;
      case Kind::kFailed:
        out_.failures.push_back(text(r));
        return;
      case Kind::kClosed:
        return card_.close_client();
      case Kind::kEnd:
      case Kind::kRepeat:        // mere looks
      case Kind::kConfigHidden:  // not told
        return;
    }
  }

  static std::string text(const TrafficRecord& r) {
    return {reinterpret_cast<const char*>(r.data.data()), r.data.size()};
  }

  // Asks again when nothing moves any more. How a poll ended is judged only then: an engine that is
  // about to do what the recorded one never did would pass else.
  template <typename Agrees>
  bool comes_to_agree(const Agrees& agrees) {
    if (looks_.roles[at_] != Role::kLast && agrees()) return true;
    if (!card_.settle(patience_)) patience_ = std::min(patience_, 0.1);  // a kernel without an end
    return agrees();
  }

  void differ(std::string block, std::string place, std::string recorded, std::string simulated) {
    ++out_.differing;
    ++out_.by_block[block];
    for (Difference& known : out_.differences) {
      if (known.place != place || known.block != block || known.recorded != recorded ||
          known.simulated != simulated)
        continue;
      ++known.times;
      return;
    }
    if (out_.differences.size() == kMostDifferences) return;
    out_.differences.push_back({at_, time_, during_, std::move(block), std::move(place),
                                std::move(recorded), std::move(simulated), 1});
  }

  void read_config(const TrafficRecord& r) {
    const auto offset = static_cast<uint32_t>(r.offset);
    const auto size = static_cast<uint32_t>(r.length);
    if (looks_.roles[at_] == Role::kGoesOn) return;
    uint32_t value = 0;
    ++out_.compared;
    const bool agree = comes_to_agree([&] {
      value = card_.config_read(offset, size);
      constexpr uint32_t kBars = 0x10, kBarsEnd = 0x28, kRom = 0x30, kLine = 0x3c;
      const bool address = (offset >= kBars && offset < kBarsEnd) || offset / 4 == kRom / 4;
      // The host's own: whether there is one counts.
      if (address) return (value == 0) == (r.value == 0);
      return offset == kLine || value == r.value;
    });
    if (!agree)
      differ("configuration", config_name(offset), fmt::format("{:#x}", r.value),
             fmt::format("{:#x}", value));
  }

  void look_at_bar(const TrafficRecord& r) {
    ++out_.compared;
    const uint64_t size = card_.bar(static_cast<int>(r.where)).size;
    if (size != r.length)
      differ("configuration", fmt::format("size of BAR {}", r.where),
             fmt::format("{:#x}", r.length), fmt::format("{:#x}", size));
  }

  void read_bar(const TrafficRecord& r) {
    if (looks_.roles[at_] == Role::kGoesOn) return;
    Bytes bytes(r.length);
    ++out_.compared;
    const bool agree = comes_to_agree([&] {
      card_.bar_read(static_cast<int>(r.where), link::BarOffset{r.offset}, bytes);
      if (r.kind == Kind::kReadHash) return unknown_.agree(bytes, r.data);
      return agrees_at(r, bytes);
    });
    if (agree) return;
    if (r.kind == Kind::kReadHash)
      return differ(r.where == kVramBar ? "vram" : "link", place_in_bar(r, 0), "other contents",
                    "other contents");
    for (size_t i = 0; i < bytes.size(); i += 4) {
      const uint32_t was = dword(r.data, i), is = dword(bytes, i);
      if (was == is) continue;
      const auto [block, place] = name_of(r, i);
      if (follows_last(r, i)) return;
      differ(block, place, fmt::format("{:#010x}", was), fmt::format("{:#010x}", is));
      if (r.where != kRegisterBar) return;  // one is enough: the rest belongs to it
    }
  }

  // Whether a dword of VRAM is read through a window right behind the last that differed: a table
  // that is another one is one difference.
  bool follows_last(const TrafficRecord& r, size_t at) {
    if (!is_register_access(r)) return false;
    const Windows::Target target = windows_.target(static_cast<uint32_t>((r.offset + at) / 4));
    if (!target.vram) return false;
    const bool follows = target.at == behind_last_ && !out_.differences.empty();
    behind_last_ = target.at + 4;
    if (!follows) return false;
    ++out_.differing;
    ++out_.by_block[out_.differences.back().block];
    ++out_.differences.back().times;
    return true;
  }

  bool agrees_at(const TrafficRecord& r, Bytes& bytes) const {
    if (std::ranges::equal(bytes, r.data)) return true;
    if (r.where != kVramBar || !options_.blank_vram) return false;
    Bytes recorded(r.data.begin(), r.data.end());
    options_.blank_vram(hardware::VramOffset{r.offset}, bytes);
    options_.blank_vram(hardware::VramOffset{r.offset}, recorded);
    return bytes == recorded;
  }

  std::string place_in_bar(const TrafficRecord& r, size_t at) const {
    const uint64_t offset = r.offset + at;
    if (r.where != kVramBar) return fmt::format("BAR {} byte {:#x}", r.where, offset);
    return place_in_vram(offset);
  }
  std::string place_in_vram(uint64_t offset) const {
    const std::string name =
        options_.name_vram ? options_.name_vram(hardware::VramOffset{offset}) : "";
    return name.empty() ? fmt::format("byte {:#x}", offset)
                        : fmt::format("{} (byte {:#x})", name, offset);
  }

  std::pair<std::string, std::string> name_of(const TrafficRecord& r, size_t at) const {
    if (r.where == kVramBar) return {"vram", place_in_bar(r, at)};
    if (!is_register_access(r)) return {"link", place_in_bar(r, at)};
    const Windows::Target target = windows_.target(static_cast<uint32_t>((r.offset + at) / 4));
    if (target.vram) return {"vram", place_in_vram(target.at)};
    const auto address = static_cast<uint32_t>(target.at);
    const std::string_view name = register_name(address);
    if (name.empty()) return {"unknown", fmt::format("register at dword {:#x}", address)};
    return {std::string(block_of(name)),
            fmt::format("{}{}", name, target.direct ? "" : " (through a window)")};
  }

  void write_bar(const TrafficRecord& r) {
    if (r.kind == Kind::kWrite) {
      if (is_register_access(r) && r.length == 4)
        windows_.write(static_cast<uint32_t>(r.offset / 4), dword(r.data, 0));
      card_.bar_write(static_cast<int>(r.where), link::BarOffset{r.offset}, r.data);
      return;
    }
    Bytes bytes(r.length);
    unknown_.fill(bytes, r.data);
    if (r.where == kVramBar) make_stand_in_image(bytes);
    card_.bar_write(static_cast<int>(r.where), link::BarOffset{r.offset}, bytes);
  }

  void share(const TrafficRecord& r) {
    std::vector<link::Segment> segments(r.data.size() / sizeof(link::Segment));
    std::memcpy(segments.data(), r.data.data(), r.data.size());
    auto region = card_.share_at(segments);
    if (!region)
      fail("replay: record {}: the simulated card cannot share {} bytes at the recorded addresses",
           at_ + 1, r.length);
    regions_[r.where] = std::move(region);
  }

  void read_system(const TrafficRecord& r) {
    if (looks_.roles[at_] == Role::kGoesOn) return;
    const auto found = regions_.find(r.where);
    if (found == regions_.end()) return;
    ++out_.compared;
    Bytes bytes(r.length);
    const bool agree = comes_to_agree([&] {
      std::memcpy(bytes.data(), &found->second->bytes()[r.offset], r.length);
      if (r.kind == Kind::kSystemReadHash) return unknown_.agree(bytes, r.data);
      return std::ranges::equal(bytes, r.data) || unknown_.agree(bytes, link::hash_pieces(r.data));
    });
    if (agree) return;
    constexpr uint64_t kControlWord = 8;  // fences and read pointers, which run ahead or behind
    if (r.length == kControlWord && !is_final(r)) return;
    // Kernels that compute with stand-ins compute something else, and may even fault; none of that
    // says anything about the card.
    const bool behind = r.length == kControlWord && is_less(bytes, r.data);
    if (system_unknown_ && (r.length != kControlWord || behind)) {
      ++out_.unknowable;
      return;
    }
    const auto place = [&](size_t at) {
      return fmt::format("region {}, byte {:#x}", r.where, r.offset + at);
    };
    if (r.kind == Kind::kSystemReadHash)
      return differ("system memory", place(0), "other contents", "other contents");
    if (r.length == kControlWord) {
      uint64_t was = 0, is = 0;
      std::memcpy(&was, r.data.data(), 8);
      std::memcpy(&is, bytes.data(), 8);
      return differ("system memory", place(0) + ", a fence", fmt::format("{}", was),
                    fmt::format("{}", is));
    }
    const auto wrong = std::ranges::mismatch(bytes, r.data).in1 - bytes.begin();
    const auto word = static_cast<size_t>(wrong) / 4 * 4;
    differ("system memory", place(word), fmt::format("{:#010x}", dword(r.data, word)),
           fmt::format("{:#010x}", dword(bytes, word)));
  }

  static bool is_less(std::span<const std::byte> a, std::span<const std::byte> b) {
    uint64_t left = 0, right = 0;
    std::memcpy(&left, a.data(), sizeof left);
    std::memcpy(&right, b.data(), sizeof right);
    return left < right;
  }

  // Whether a control word that was polled stayed as it was read until the host wrote it or all was
  // over: then the card had stopped. Else the engines were only slower or faster.
  bool is_final(const TrafficRecord& r) const {
    if (looks_.roles[at_] != Role::kLast || is_read_pointer(r)) return false;
    for (const TrafficRecord& later : traffic_.subspan(at_ + 1)) {
      if (later.kind == Kind::kReset) return true;
      if (later.where != r.where) continue;
      if (later.kind == Kind::kUnshare) return true;
      if (later.kind == Kind::kSystemWrite && later.offset < r.offset + r.length &&
          r.offset < later.offset + later.length)
        return true;
      if (later.kind == Kind::kSystemRead && later.offset == r.offset && later.length == r.length &&
          !std::ranges::equal(later.data, r.data))
        return false;
    }
    return true;
  }

  // Whether it is a read pointer: that lies behind the fence of its queue (driver/queue.h), and is
  // looked at beside it now and then. Where it stood when the fence came says nothing.
  bool is_read_pointer(const TrafficRecord& r) const {
    constexpr uint64_t kBehindFence = 64;
    return r.offset >= kBehindFence &&
           std::ranges::any_of(traffic_.first(at_), [&](const TrafficRecord& earlier) {
             return earlier.kind == Kind::kSystemRead && earlier.where == r.where &&
                    earlier.length == r.length && earlier.offset == r.offset - kBehindFence;
           });
  }

  void write_system(const TrafficRecord& r) {
    const auto found = regions_.find(r.where);
    if (found == regions_.end()) return;
    const auto to = found->second->bytes().subspan(r.offset, r.length);
    if (r.kind == Kind::kSystemWrite) {
      std::ranges::copy(r.data, to.begin());
      return;
    }
    unknown_.fill(to, r.data);
    system_unknown_ = true;
  }

  Card& card_;
  std::span<const TrafficRecord> traffic_;
  const ReplayOptions& options_;
  Looks looks_;
  Windows windows_;
  Unknown unknown_;
  bool system_unknown_ = false;
  uint64_t behind_last_ = ~uint64_t{0};  // VRAM offset
  std::map<uint32_t, std::shared_ptr<SystemRegion>> regions_;
  double patience_ = options_.patience;
  size_t at_ = 0;
  uint64_t time_ = 0;
  std::string during_;
  ReplayOutcome out_;
};

}  // namespace

ReplayOutcome replay(Card& card, std::span<const TrafficRecord> traffic,
                     const ReplayOptions& options) {
  return Player(card, traffic, options).play();
}

CardOptions card_like(std::span<const TrafficRecord> traffic) {
  CardOptions options;
  options.strict = false;
  options.cache_model = false;
  const auto bar = std::ranges::find_if(
      traffic, [](const TrafficRecord& r) { return r.kind == Kind::kBar && r.where == kVramBar; });
  constexpr uint64_t kSmallest = uint64_t{256} << 20;
  if (bar != traffic.end() && std::has_single_bit(bar->length) && bar->length >= kSmallest &&
      bar->length <= options.bar0_bytes)
    options.bar0_bytes = bar->length;
  return options;
}

}  // namespace outboard::simulator::card
