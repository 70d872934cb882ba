// Source: Linux Documentation/PCI/sysfs-pci.rst, Documentation/admin-guide/mm/pagemap.rst; tinygrad
// 0.14.0, runtime/support/system.py (PCIDevice).
#include "link/linux_link.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

#include "hardware/amd/chips.h"
#include "link/guard.h"
#include "support/error.h"

namespace outboard::link {
namespace {

namespace fs = std::filesystem;

// Hexadecimal, as sysfs writes it ("0x1002"); nothing for a file that is not there or is no number.
std::optional<uint64_t> read_number(const fs::path& path) {
  std::ifstream file(path);
  std::string text;
  if (!(file >> text)) return std::nullopt;
  const char* begin = text.data() + (text.starts_with("0x") ? 2 : 0);
  uint64_t value = 0;
  if (std::from_chars(begin, text.data() + text.size(), value, 16).ec != std::errc())
    return std::nullopt;
  return value;
}

std::string driver_of(const fs::path& device) {
  std::error_code none;  // no driver is bound
  return fs::read_symlink(device / "driver", none).filename().string();
}

}  // namespace

std::vector<LinuxCard> find_linux_cards(const std::string& sysfs) {
  std::vector<LinuxCard> cards;
  std::error_code none;  // a machine without PCI has no cards
  for (const auto& device : fs::directory_iterator(sysfs + "/bus/pci/devices", none)) {
    const fs::path& path = device.path();
    if (read_number(path / "vendor") != hardware::kVendorAmd) continue;
    const hardware::amd::Chip* chip =
        hardware::amd::find_chip(static_cast<uint32_t>(read_number(path / "device").value_or(0)));
    if (chip == nullptr) continue;
    if (read_number(path / "class").value_or(0) >> 16 != hardware::kDisplayClass) continue;
    cards.push_back({path.filename().string(), driver_of(path), chip,
                     static_cast<uint32_t>(read_number(path / "revision").value_or(0))});
  }
  std::sort(cards.begin(), cards.end(),
            [](const LinuxCard& a, const LinuxCard& b) { return a.address < b.address; });
  return cards;
}

#if defined(__linux__)
namespace {

constexpr uint64_t kPage = 4096, kHugePage = uint64_t{2} << 20;
constexpr const char* kNeedsRoot = "Run it as root (sudo).";

Error sysfs_error(std::string_view action, const fs::path& path) {
  const bool denied = errno == EACCES || errno == EPERM;
  return Error(system_error(action, path.string()).message(), denied ? kNeedsRoot : "");
}

void write_file(const fs::path& path, const std::string& text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) throw sysfs_error("open", path);
  const ssize_t written = ::write(file, text.data(), text.size());
  const int error = errno;
  ::close(file);
  errno = error;
  if (written != static_cast<ssize_t>(text.size())) throw sysfs_error("write", path);
}

// A mapping, unmapped when destroyed.
struct Mapping {
  std::byte* memory = nullptr;
  uint64_t bytes = 0;
  Mapping() = default;
  Mapping(void* m, uint64_t size) : memory(static_cast<std::byte*>(m)), bytes(size) {}
  ~Mapping() {
    if (memory != nullptr) ::munmap(memory, bytes);
  }
  Mapping(Mapping&& other) noexcept
      : memory(std::exchange(other.memory, nullptr)), bytes(other.bytes) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(memory, other.memory);
    std::swap(bytes, other.bytes);
    return *this;
  }
};

// Registers want whole 32-bit accesses; what is left over goes byte by byte.
void copy_words(volatile std::byte* to, const volatile std::byte* from, uint64_t bytes) {
  uint64_t i = 0;
  if (reinterpret_cast<uintptr_t>(to) % 4 == 0 && reinterpret_cast<uintptr_t>(from) % 4 == 0) {
    for (; i + 4 <= bytes; i += 4) {
      *reinterpret_cast<volatile uint32_t*>(to + i) =
          *reinterpret_cast<const volatile uint32_t*>(from + i);
    }
  }
  for (; i < bytes; ++i) to[i] = from[i];
}

// Memory of this process that stays where it is. Huge pages where there are some: few, long
// segments.
class LockedMemory : public SystemRegion {
 public:
  // guard: keeps the memory should this program die; null: nobody does.
  LockedMemory(uint64_t size, bool contiguous, Socket* guard) {
    const uint64_t small = (size + kPage - 1) / kPage * kPage;
    const uint64_t huge = (size + kHugePage - 1) / kHugePage * kHugePage;
    if (size <= kPage || !map(huge, MFD_HUGETLB, guard)) {
      if (contiguous && size > kPage) {
        throw Error(fmt::format("share {} bytes in one piece: no huge page is free", size),
                    "Reserve some: echo 16 > /proc/sys/vm/nr_hugepages");
      }
      if (!map(small, 0, guard))
        throw system_error("lock", fmt::format("{} bytes of memory", size));
    }
    find_segments();
    if (contiguous && segments_.size() != 1)
      fail("share {} bytes in one piece: they lie in {}", size, segments_.size());
  }

  uint64_t size() const override { return mapping_.bytes; }
  const std::vector<Segment>& segments() const override { return segments_; }
  std::byte* host() override { return mapping_.memory; }
  void read(uint64_t offset, std::span<std::byte> bytes) override {
    std::memcpy(bytes.data(), host() + offset, bytes.size());
  }
  void write(uint64_t offset, std::span<const std::byte> bytes) override {
    std::memcpy(host() + offset, bytes.data(), bytes.size());
  }

 private:
  // A file in memory, so that another process can keep it.
  bool map(uint64_t size, unsigned flags, Socket* guard) {
    const int file = ::memfd_create("outboard-system", MFD_CLOEXEC | flags);
    if (file < 0) return false;
    void* memory = MAP_FAILED;
    if (::ftruncate(file, static_cast<off_t>(size)) == 0) {
      memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE | MAP_LOCKED,
                      file, 0);
    }
    const bool kept = memory != MAP_FAILED && (guard == nullptr || keep(*guard, file));
    const int error = errno;
    ::close(file);
    errno = error;
    if (memory == MAP_FAILED) return false;
    mapping_ = Mapping(memory, size);
    if (!kept) fail("system memory: the guard process is gone");
    return true;
  }

  void find_segments() {
    constexpr uint64_t kPresent = uint64_t{1} << 63, kFrame = (uint64_t{1} << 55) - 1;
    const int file = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (file < 0) throw sysfs_error("open", "/proc/self/pagemap");
    std::vector<uint64_t> pages(mapping_.bytes / kPage);
    const auto at = static_cast<off_t>(reinterpret_cast<uintptr_t>(mapping_.memory) / kPage * 8);
    const ssize_t got = ::pread(file, pages.data(), pages.size() * 8, at);
    ::close(file);
    if (got != static_cast<ssize_t>(pages.size() * 8))
      throw system_error("read", "/proc/self/pagemap");
    for (const uint64_t page : pages) {
      const uint64_t address = (page & kFrame) * kPage;
      if ((page & kPresent) == 0 || address == 0)
        throw Error("the kernel does not tell physical addresses (/proc/self/pagemap)", kNeedsRoot);
      if (!segments_.empty() &&
          segments_.back().address + segments_.back().size == BusAddress{address}) {
        segments_.back().size += kPage;
      } else {
        segments_.push_back({BusAddress{address}, kPage});
      }
    }
  }

  Mapping mapping_;
  std::vector<Segment> segments_;
};

class LinuxLink : public Link {
 public:
  explicit LinuxLink(const LinuxOptions& options)
      : address_(options.address),
        device_(fs::path(options.sysfs) / "bus/pci/devices" / options.address) {
    std::error_code none;
    if (!fs::exists(device_, none)) {
      throw Error(fmt::format("{}: no such PCI device", name()),
                  "List the cards with lspci -D -d 1002:744c");
    }
    release_from_kernel(options.take);
    write_file(device_ / "enable", "1");
    config_ = ::open((device_ / "config").c_str(), O_RDWR | O_SYNC | O_CLOEXEC);
    if (config_ < 0) throw sysfs_error("open", device_ / "config");
    if (!options.guarded) return;
    static const CardLock kNone;
    guard_ = start_keeper(options.sysfs, address_, options.lock != nullptr ? *options.lock : kNone);
  }
  // Memory of this process is about to go: the card must not write there any more.
  ~LinuxLink() override {
    constexpr uint32_t kCommand = 4, kBusMaster = 4;
    try {
      config_write(kCommand, config_read(kCommand, 2) & ~kBusMaster, 2);
    } catch (const Error&) {  // the card is off the bus, and writes nowhere
    }
    ::close(config_);
    guard_.socket = Socket();  // ends the guard, which finds the card at rest
  }
  LinuxLink(const LinuxLink&) = delete;
  LinuxLink& operator=(const LinuxLink&) = delete;

  std::string name() const override { return "pci:" + address_; }

  uint32_t config_read(uint32_t offset, uint32_t size) override {
    uint32_t value = 0;
    if (::pread(config_, &value, size, offset) != static_cast<ssize_t>(size))
      throw sysfs_error("read", device_ / "config");
    return value;
  }
  void config_write(uint32_t offset, uint32_t value, uint32_t size) override {
    if (::pwrite(config_, &value, size, offset) != static_cast<ssize_t>(size))
      throw sysfs_error("write", device_ / "config");
  }

  // "START END FLAGS" a line, all hexadecimal; zeros for none.
  Bar bar(int index) override {
    std::ifstream file(device_ / "resource");
    std::string start, end, flags;
    for (int line = 0; line <= index; ++line) file >> start >> end >> flags;
    if (!file) fail("{}: {} has no line {}", name(), (device_ / "resource").string(), index);
    const auto number = [](const std::string& text) { return std::stoull(text, nullptr, 16); };
    if (number(end) == 0) return {};
    return {BusAddress{number(start)}, number(end) - number(start) + 1};
  }
  void read(int index, BarOffset offset, std::span<std::byte> bytes) override {
    copy_words(bytes.data(), at(index, offset, bytes.size()), bytes.size());
  }
  void write(int index, BarOffset offset, std::span<const std::byte> bytes) override {
    copy_words(at(index, offset, bytes.size()), bytes.data(), bytes.size());
  }
  bool writes_by_dword() const override { return true; }  // copy_words()
  std::unique_ptr<SystemRegion> share(uint64_t size, bool contiguous) override {
    return std::make_unique<LockedMemory>(size, contiguous,
                                          guard_.socket.is_open() ? &guard_.socket : nullptr);
  }
  void reset() override { write_file(device_ / "reset", "1"); }
  void resize_bar(int index) override {
    const fs::path path = device_ / fmt::format("resource{}_resize", index);
    const std::optional<uint64_t> sizes = read_number(path);
    if (!sizes || *sizes == 0) fail("{}: BAR {} cannot be resized", name(), index);
    mapped_.at(static_cast<size_t>(index)) = Mapping();
    write_file(path, std::to_string(std::bit_width(*sizes) - 1));
  }

 private:
  void release_from_kernel(bool take) {
    const std::string driver = driver_of(device_);
    if (driver.empty()) return;
    if (!take) {
      throw Error(fmt::format("{}: the kernel's driver {} holds the card", name(), driver),
                  "If no screen or program needs it, give it up with --take.");
    }
    write_file(device_ / "driver" / "unbind", address_);
    if (!driver_of(device_).empty()) fail("{}: the driver {} did not let go", name(), driver);
  }

  std::byte* at(int index, BarOffset from, uint64_t bytes) {
    const uint64_t offset = value(from);
    Mapping& mapping = mapped_.at(static_cast<size_t>(index));
    if (mapping.memory == nullptr) map(index, mapping);
    if (offset > mapping.bytes || bytes > mapping.bytes - offset) {
      fail("{}: BAR {} has {:#x} bytes; {:#x} at {:#x} lie outside", name(), index, mapping.bytes,
           bytes, offset);
    }
    return mapping.memory + offset;
  }
  void map(int index, Mapping& mapping) {
    const fs::path path = device_ / fmt::format("resource{}", index);
    const int file = ::open(path.c_str(), O_RDWR | O_SYNC | O_CLOEXEC);
    if (file < 0) throw sysfs_error("open", path);
    const uint64_t size = bar(index).size;
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    const int error = errno;
    ::close(file);
    errno = error;
    if (memory == MAP_FAILED) throw sysfs_error("map", path);
    mapping = Mapping(memory, size);
  }

  std::string address_;
  fs::path device_;
  int config_ = -1;
  Guarded guard_;
  std::array<Mapping, 6> mapped_;
};

}  // namespace

std::unique_ptr<Link> connect_linux(const LinuxOptions& options) {
  return std::make_unique<LinuxLink>(options);
}
#else
std::unique_ptr<Link> connect_linux(const LinuxOptions& options) {
  throw Error(fmt::format("pci:{}: this works on Linux only", options.address),
              "On a Mac the card is reached through TinyGPU.app: --device tinygpu.");
}
#endif

}  // namespace outboard::link
