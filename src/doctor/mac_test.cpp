// A Mac's layers, replayed: what the tools print in each state, in their own format.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "doctor/doctor.h"
#include "support/error.h"

namespace outboard::doctor {
namespace {

using ::testing::HasSubstr;

constexpr const char* kApp = "/Applications/TinyGPU.app/Contents/MacOS/TinyGPU";

std::string extensions(const std::string& state) {
  return "1 extension(s)\n--- com.apple.system_extension.driver_extension\n"
         "enabled\tactive\tteamID\tbundleID (version)\tname\t[state]\n"
         "*\t*\t8A4FR3BQX2\torg.tinygrad.tinygpu.driver2 (1.0.0/3)\tTinyGPU\t" +
         state + "\n";
}

const std::string kCardInRegistry =
    "+-o GFX0@0  <class IOPCIDevice, id 0x100000abc, registered, matched, active, busy 0 (12 ms), "
    "retain 12>\n    {\n      \"class-code\" = <00000300>\n      \"device-id\" = <4c740000>\n"
    "      \"vendor-id\" = <02100000>\n    }\n\n";
const std::string kAudioInRegistry =
    "+-o HDAU@0,1  <class IOPCIDevice, id 0x100000abd, registered, matched, active>\n    {\n"
    "      \"class-code\" = <00030400>\n      \"device-id\" = <30ab0000>\n"
    "      \"vendor-id\" = <02100000>\n    }\n\n";
const std::string kOtherInRegistry =
    "+-o ANS@0  <class IOPCIDevice, id 0x100000aba, registered, matched, active>\n    {\n"
    "      \"class-code\" = <00800100>\n      \"vendor-id\" = <6b100000>\n    }\n\n";

const std::string kThunderboltAlone =
    "Thunderbolt/USB4:\n\n    Thunderbolt/USB4 Bus 0:\n\n      Vendor Name: Apple Inc.\n"
    "      Device Name: Mac mini\n      UID: 0x05AC\n      Status: No device connected\n";
const std::string kThunderboltEnclosure =
    "Thunderbolt/USB4:\n\n    Thunderbolt/USB4 Bus 0:\n\n      Vendor Name: Apple Inc.\n"
    "      Device Name: Mac mini\n\n        Core X V2:\n\n          Vendor Name: Razer\n"
    "          Device Name: Core X V2\n          Status: Device connected\n";

// Answers by program.
std::map<std::string, CommandResult> good_mac() {
  return {
      {"uname", {0, "arm64\n"}},
      {"shasum", {0, "3ed8bbd9ec8e00000000000000000000  " + std::string(kApp) + "\n"}},
      {"systemextensionsctl", {0, extensions("[activated enabled]")}},
      {"ioreg", {0, kOtherInRegistry + kCardInRegistry + kAudioInRegistry}},
      {"system_profiler", {0, kThunderboltEnclosure}},
      {"ps", {0, "  412 S    0.1 " + std::string(kApp) + " server /tmp/tinygpu.sock\n"}},
      {"pmset", {0, "Now drawing from 'AC Power'\n"}},
  };
}

Examination look(const std::map<std::string, CommandResult>& answers) {
  Examination out({});
  examine_mac(
      [&](const std::vector<std::string>& command) {
        const std::string& path = command.at(0);
        const auto found = answers.find(path.substr(path.rfind('/') + 1));
        return found == answers.end() ? CommandResult{127, ""} : found->second;
      },
      kApp, out);
  return out;
}

std::string diagnoses(const Examination& out) {
  std::string text;
  for (const Finding& f : out.findings()) {
    if (f.diagnosis != "ok") text += (text.empty() ? "" : " ") + f.diagnosis;
  }
  return text;
}

TEST(Mac, NothingIsWrong) {
  const Examination out = look(good_mac());
  EXPECT_EQ(diagnoses(out), "");
  EXPECT_EQ(out.findings().size(), 4U);  // host, app, extension, bus
}

TEST(Mac, TheAppIsMissing) {
  auto mac = good_mac();
  mac["shasum"] = {1, "shasum: " + std::string(kApp) + ": No such file or directory\n"};
  const Examination out = look(mac);
  EXPECT_EQ(diagnoses(out), "app.missing");
  EXPECT_THAT(out.findings()[1].todo, HasSubstr("/Applications"));
}

TEST(Mac, TheAppIsAnotherBuild) {
  auto mac = good_mac();
  mac["shasum"] = {0, "0123456789abcdef  " + std::string(kApp) + "\n"};
  const Examination out = look(mac);
  EXPECT_EQ(diagnoses(out), "app.other-build");
  EXPECT_TRUE(out.is_healthy());
}

TEST(Mac, TheExtensionsStates) {
  for (const auto& [state, diagnosis] :
       {std::pair("[activated waiting for user]", "extension.waiting"),
        std::pair("[activated disabled]", "extension.disabled"),
        std::pair("[terminated waiting to uninstall on reboot]", "extension.restart"),
        std::pair("[validating by category]", "extension.missing")}) {
    auto mac = good_mac();
    mac["systemextensionsctl"] = {0, extensions(state)};
    const Examination out = look(mac);
    EXPECT_EQ(diagnoses(out), diagnosis);
    EXPECT_FALSE(out.is_healthy());
  }
  auto mac = good_mac();
  mac["systemextensionsctl"] = {0, "0 extension(s)\n"};
  EXPECT_EQ(diagnoses(look(mac)), "extension.missing");
  // An older version on its way out beside the active one is no matter.
  mac["systemextensionsctl"] = {0, extensions("[activated enabled]") +
                                       "\t\t8A4FR3BQX2\torg.tinygrad.tinygpu.driver2 (1.0.0/2)\t"
                                       "TinyGPU\t[terminated waiting to uninstall on reboot]\n"};
  EXPECT_EQ(diagnoses(look(mac)), "");
}

TEST(Mac, WhereApprovalIsAskedIsSaid) {
  auto mac = good_mac();
  mac["systemextensionsctl"] = {0, extensions("[activated waiting for user]")};
  EXPECT_THAT(look(mac).findings()[2].todo, HasSubstr("Login Items & Extensions"));
}

TEST(Mac, NoEnclosureIsNotNoCard) {
  auto mac = good_mac();
  mac["ioreg"] = {0, kOtherInRegistry};
  mac["system_profiler"] = {0, kThunderboltAlone};
  EXPECT_EQ(diagnoses(look(mac)), "enclosure.absent");
  mac["system_profiler"] = {0, kThunderboltEnclosure};
  EXPECT_EQ(diagnoses(look(mac)), "card.unpowered");
  // Its audio function alone is no card.
  mac["ioreg"] = {0, kOtherInRegistry + kAudioInRegistry};
  EXPECT_EQ(diagnoses(look(mac)), "card.unpowered");
}

TEST(Mac, APanicsTraceIsFound) {
  auto mac = good_mac();
  mac["ioreg"] = {0,
                  "+-o apciec0@0  <class IOPCIDevice>\n    {\n      \"pci-dart-error-data\" = "
                  "<000018800000>\n    }\n" +
                      kCardInRegistry};
  const Examination out = look(mac);
  EXPECT_EQ(diagnoses(out), "dart.error");
  EXPECT_FALSE(out.is_healthy());
}

TEST(Mac, AServerInsideTheKernelIsFound) {
  auto mac = good_mac();
  mac["ps"] = {0, "  412 Us   99.0 " + std::string(kApp) + " server /tmp/tinygpu.sock\n"};
  EXPECT_EQ(diagnoses(look(mac)), "server.stuck");
}

TEST(Mac, LeakedProcessesAreCounted) {
  auto mac = good_mac();
  std::string list;
  for (int i = 0; i < 25; ++i)
    list += fmt::format(
        "  {} S    0.0 /Library/SystemExtensions/AB/org.tinygrad.tinygpu.driver2."
        "dext/org.tinygrad.tinygpu.driver2\n",
        500 + i);
  mac["ps"] = {0, list};
  const Examination out = look(mac);
  EXPECT_EQ(diagnoses(out), "extension.leak");
  EXPECT_TRUE(out.is_healthy());
}

TEST(Mac, BatteryAndIntel) {
  auto mac = good_mac();
  mac["pmset"] = {0, "Now drawing from 'Battery Power'\n -InternalBattery-0\t80%\n"};
  EXPECT_EQ(diagnoses(look(mac)), "power.laptop");
  mac = good_mac();
  mac["uname"] = {0, "x86_64\n"};
  EXPECT_EQ(diagnoses(look(mac)), "host.intel");
}

TEST(Commands, RunWithoutAShell) {
  const CommandResult echo = run_command({"echo", "a b", "$HOME"});
  EXPECT_EQ(echo.status, 0);
  EXPECT_EQ(echo.output, "a b $HOME\n");
  EXPECT_EQ(run_command({"false"}).status, 1);
  EXPECT_EQ(run_command({"outboard-no-such-program"}).status, 127);
}

}  // namespace
}  // namespace outboard::doctor
