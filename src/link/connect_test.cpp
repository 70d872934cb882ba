// Finding the way to a card: names, locks, TinyGPU's server, Linux's sysfs.
#include "link/connect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "link/card_lock.h"
#include "link/linux_link.h"
#include "support/error.h"

namespace outboard::link {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

struct Folder : ::testing::Test {
  Folder() { fs::create_directories(path); }
  ~Folder() override { fs::remove_all(path); }
  void write(const fs::path& name, const std::string& text) const {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << text;
  }
  std::string read(const fs::path& name) const {
    std::ifstream file(path / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  fs::path path = fs::temp_directory_path() / fmt::format("outboard-link-{}", ::getpid());
};

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.message() + " | " + e.hint();
  }
  return "no error";
}

ConnectOptions to(const std::string& spec) {
  ConnectOptions options;
  options.spec = spec;
  return options;
}

// --- Names ---

TEST(Connect, KnowsItsNames) {
  for (const char* name : {"amd", "tinygpu", "tinygpu:/tmp/x", "remote:host:1", "pci:0000:03:00.0"})
    EXPECT_TRUE(is_link_spec(name)) << name;
  for (const char* name : {"cpu", "sim", "auto", "", "pci"}) EXPECT_FALSE(is_link_spec(name));
  EXPECT_THAT(error_of([] { connect(to("nonsense")); }), HasSubstr("names no card"));
}

TEST(Connect, SaysThatNobodyListens) {
  EXPECT_THAT(error_of([] { connect(to("remote:127.0.0.1:1")); }),
              HasSubstr("connect to 127.0.0.1:1"));
  ::unlink(lock_path("remote:127.0.0.1:1").c_str());
}

// --- TinyGPU.app ---

struct AppTest : Folder {
  ConnectOptions options() const {
    ConnectOptions out;
    out.spec = "tinygpu:" + (path / "s").string();
    out.app.program = (path / "TinyGPU").string();
    out.app.patience = milliseconds(400);
    return out;
  }
  void install(const std::string& script) const {
    write("TinyGPU", "#!/bin/sh\n" + script + "\n");
    fs::permissions(path / "TinyGPU", fs::perms::owner_all);
  }
  ~AppTest() override { ::unlink(lock_path("tinygpu:" + (path / "s").string()).c_str()); }
};

TEST_F(AppTest, SaysWhatToInstall) {
  const std::string error = error_of([&] { connect(options()); });
  EXPECT_THAT(error, HasSubstr("is not installed"));
  EXPECT_THAT(error, HasSubstr("put TinyGPU.app into /Applications"));
}

TEST_F(AppTest, StartsItsServerOnceAndWaits) {
  install("echo \"$@\" >> " + (path / "started").string() + "; sleep 3");
  const std::string error = error_of([&] { connect(options()); });
  EXPECT_THAT(error, HasSubstr("does not listen after 400 ms"));
  EXPECT_EQ(read("started"), "server " + (path / "s").string() + "\n");
}

TEST_F(AppTest, AServerThatEndsIsSaid) {
  install("exit 3");
  const std::string error = error_of([&] { connect(options()); });
  EXPECT_THAT(error, HasSubstr("ended with status 3 before it listened"));
  EXPECT_THAT(error, HasSubstr("Driver Extensions"));
}

TEST(TinyGpuSocket, LiesWhereTinygradLooks) {
  ::setenv("APL_REMOTE_SOCK", "/x/y.sock", 1);
  EXPECT_EQ(tinygpu_socket_path(), "/x/y.sock");
  ::unsetenv("APL_REMOTE_SOCK");
  ::setenv("TMPDIR", "/var/folders/a/", 1);
  EXPECT_EQ(tinygpu_socket_path(), "/var/folders/a/tinygpu.sock");
  ::unsetenv("TMPDIR");
  EXPECT_EQ(tinygpu_socket_path(), "/tmp/tinygpu.sock");
}

// --- Locks ---

TEST_F(Folder, ASecondHolderIsToldOfTheFirst) {
  const std::string file = (path / "lock").string();
  CardLock first(file, milliseconds(0));
  first.sign("outboard chat");
  EXPECT_THAT(error_of([&] { CardLock(file, milliseconds(1000)); }),
              HasSubstr(fmt::format("held by process {}: outboard chat", ::getpid())));
  first = CardLock();
  EXPECT_EQ(error_of([&] { CardLock(file, milliseconds(0)); }), "no error");
}

// A program that died, whose guard still works on the card: the next one waits a moment.
TEST_F(Folder, AGuardIsWaitedForAndThenNamed) {
  const std::string file = (path / "lock").string();
  const CardLock first(file, milliseconds(0));
  first.sign("guard");
  const auto start = std::chrono::steady_clock::now();
  const std::string error = error_of([&] { CardLock(file, milliseconds(150)); });
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(150));
  EXPECT_THAT(error, HasSubstr("could not put it to rest"));
  EXPECT_THAT(error, HasSubstr(fmt::format("kill {}", ::getpid())));
}

TEST_F(Folder, ALockLivesAsLongAsWhoInheritedIt) {
  const std::string file = (path / "lock").string();
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  pid_t child = 0;
  {
    const CardLock first(file, milliseconds(0));
    child = ::fork();
    if (child == 0) {  // holds the descriptor until it is told to end
      char c = 0;
      ::close(pipe[1]);
      ::_exit(::read(pipe[0], &c, 1) == 1 ? 0 : 1);
    }
  }
  EXPECT_NE(error_of([&] { CardLock(file, milliseconds(0)); }), "no error");
  ASSERT_EQ(::write(pipe[1], "x", 1), 1);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(error_of([&] { CardLock(file, milliseconds(0)); }), "no error");
  ::close(pipe[0]);
  ::close(pipe[1]);
}

// --- Linux ---

#if defined(__linux__)
// A card in a folder that looks like sysfs.
struct LinuxTest : Folder {
  LinuxTest() {
    write(device / "vendor", "0x1002\n");
    write(device / "device", "0x744c\n");
    write(device / "class", "0x030000\n");
    write(device / "enable", "0");
    std::string config(4096, '\0');
    config.replace(0, 8, std::string("\x02\x10\x4c\x74\x06\x00\x10\x00", 8));
    write(device / "config", config);
    write(device / "resource",
          "0x0000006000000000 0x0000006000003fff 0x000000000014220c\n"
          "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
          "0x0000007000000000 0x0000007000000fff 0x000000000014220c\n"
          "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
          "0x0000000000001000 0x00000000000010ff 0x0000000000040101\n"
          "0x0000000080000000 0x0000000080000fff 0x0000000000040200\n");
    write(device / "resource0", std::string(0x4000, '\0'));
    write(device / "resource0_resize", "00000000000003f0\n");
    write(device / "reset", "");
    // Another card, and this one's audio function.
    write("bus/pci/devices/0000:04:00.0/vendor", "0x10de\n");
    write("bus/pci/devices/0000:03:00.1/vendor", "0x1002\n");
    write("bus/pci/devices/0000:03:00.1/device", "0xab30\n");
  }
  std::unique_ptr<Link> open(bool take = false) const {
    return connect_linux({path.string(), "0000:03:00.0", take, false, nullptr});
  }
  const fs::path device = "bus/pci/devices/0000:03:00.0";
};

TEST_F(LinuxTest, FindsTheCardAlone) {
  fs::create_directories(path / "bus/pci/drivers/amdgpu");
  fs::create_symlink(path / "bus/pci/drivers/amdgpu", path / device / "driver");
  const auto cards = find_linux_cards(path.string());
  ASSERT_EQ(cards.size(), 1U);
  EXPECT_EQ(cards[0].address, "0000:03:00.0");
  EXPECT_EQ(cards[0].driver, "amdgpu");
  EXPECT_TRUE(find_linux_cards("/nowhere").empty());
}

TEST_F(LinuxTest, LeavesTheKernelsDriverAlone) {
  fs::create_directories(path / "bus/pci/drivers/amdgpu");
  fs::create_symlink(path / "bus/pci/drivers/amdgpu", path / device / "driver");
  const std::string error = error_of([&] { open(); });
  EXPECT_THAT(error, HasSubstr("the kernel's driver amdgpu holds the card"));
  EXPECT_THAT(error, HasSubstr("--take"));
  // The kernel would take the link away; here it stays, which is noticed.
  write("bus/pci/drivers/amdgpu/unbind", "");
  EXPECT_THAT(error_of([&] { open(true); }), HasSubstr("did not let go"));
  EXPECT_EQ(read("bus/pci/drivers/amdgpu/unbind"), "0000:03:00.0");
}

TEST_F(LinuxTest, ReadsAndWritesConfigurationAndBars) {
  {
    const auto link = open();
    EXPECT_EQ(read(device / "enable"), "1");
    EXPECT_EQ(link->config_read(0, 4), 0x744c1002U);
    EXPECT_EQ(link->bar(0).size, 0x4000U);
    EXPECT_EQ(link->bar(0).address, BusAddress{uint64_t{0x60} << 32});
    EXPECT_EQ(link->bar(1).size, 0U);
    std::array<std::byte, 10> out{}, in{};
    out.fill(std::byte{5});
    link->write(0, BarOffset{0x100}, out);
    link->read(0, BarOffset{0x100}, in);
    EXPECT_EQ(in, out);
    EXPECT_THROW(link->write(0, BarOffset{0x3ff8}, out), Error);
    EXPECT_THROW(link->read(0, BarOffset{~uint64_t{0} - 3}, in), Error);
    link->reset();
    EXPECT_EQ(read(device / "reset"), "1");
    link->resize_bar(0);  // bits of megabytes: the largest is 2^9
    EXPECT_EQ(read(device / "resource0_resize").substr(0, 1), "9");
  }
  EXPECT_EQ(read(device / "resource0")[0x109], 5);
  // When the link goes, the card may write nowhere any more.
  EXPECT_EQ(read(device / "config")[4], 2);
}

TEST_F(LinuxTest, SharesMemoryOrSaysWhatIsMissing) {
  const auto link = open();
  try {
    const auto memory = link->share(10000, false);
    EXPECT_GE(memory->size(), 10000U);
    uint64_t covered = 0;
    for (const Segment& segment : memory->segments()) covered += segment.size;
    EXPECT_EQ(covered, memory->size());
    EXPECT_NE(memory->host(), nullptr);
  } catch (const Error& e) {  // without the right to see physical addresses, or to lock memory
    EXPECT_THAT(e.message() + e.hint(), ::testing::AnyOf(HasSubstr("root"), HasSubstr("lock")));
  }
}

TEST_F(LinuxTest, AnAddressWithoutADeviceIsSaid) {
  EXPECT_THAT(
      error_of([&] { connect_linux({path.string(), "0000:09:00.0", false, false, nullptr}); }),
      HasSubstr("no such PCI device"));
}
#endif

}  // namespace
}  // namespace outboard::link
