#include "doctor/diagnoses.h"

#include <algorithm>
#include <array>

namespace outboard::doctor {
namespace {

constexpr std::string_view kPower =
    "Power the enclosure off for ten seconds and on again, then run this again.";
constexpr std::string_view kCable =
    "Check the cable and the enclosure's power, then run this again.";
constexpr std::string_view kReplug = "Unplug the enclosure and plug it in again.";
constexpr std::string_view kImages =
    "Get the images again: outboard pull firmware. Then power the enclosure off and on.";
constexpr std::string_view kOther = "End the other program, then run this again.";

struct Rule {
  std::string_view text;  // in an error's message; empty: only by name
  Diagnosis diagnosis;
};

// From the outside inwards, and from the special to the general: the first that fits counts.
constexpr std::array<Rule, 51> kRules = {{
    // --- The way to the card ---
    {"held by process", {"lock.held", "another program uses the card", kOther}},
    {"is not installed", {"app.missing", "TinyGPU.app is not on this Mac", ""}},
    {"the path has", {"socket.path", "the socket's path is too long for the system", ""}},
    {"before it listened", {"server.ended", "TinyGPU's server does not start", ""}},
    {"does not listen after",
     {"server.silent", "TinyGPU's server started, and takes no client", ""}},
    {"Driver not available",
     {"driver.no-card", "TinyGPU's server runs, and its driver extension has no card", ""}},
    {"nobody listens there", {"server.absent", "no server is there", ""}},
    {"connect to ", {"server.absent", "no server is there", ""}},
    {"no answer to CFG_READ",
     {"server.busy",
      "the server takes connections and does not answer: it serves another program, or hangs", ""}},
    {"no answer to ", {"link.silent", "the server stopped answering", kPower}},
    {"the connection",
     {"link.lost", "the connection broke off: the server ended or lost the card", kCable}},
    {"and the server takes no more",
     {"link.mappings", "the server's 128 mappings are used up", "Start the server anew."}},
    // Said by firmware, not by a server.
    {"was refused with status", {"psp.image-rejected", "the secure OS rejects an image", kImages}},
    {"refused",
     {"link.refused", "the server refuses a request that it should carry out",
      "Start the server anew."}},
    {"holds the card", {"driver.kernel", "the kernel's own driver has the card", ""}},
    // --- The bus ---
    {"the card does not answer: its",
     {"card.gone", "the card is off the bus: no power, no cable, or it has crashed", kPower}},
    {"expected 1002:744c",
     {"card.other", "this is no RX 7900, or its audio function instead of the GPU", ""}},
    {"no RX 7900", {"card.absent", "the bus has no RX 7900", kCable}},
    {"The system has not given",
     {"bar.unassigned", "the system gave the card no addresses", kReplug}},
    {"BAR ", {"bar.small", "a BAR is missing or too small", kReplug}},
    {"tells a memory size", {"bar.dead", "registers read as ones or zeros", kReplug}},
    {"discovery table: ", {"card.table", "the card's own description cannot be read", kPower}},
    // --- What a boot notes and goes on with ---
    {"ringing again helped", {"doorbell.lost", "the card did not hear a doorbell at once", kCable}},
    {"own firmware to be through",
     {"card.slow", "the card does not say that its own firmware is through", kPower}},
    {"does not say that it is complete",
     {"rlc.incomplete",
      "the graphics core's firmware does not report its start as complete, which may be so without "
      "the images for graphics",
      "Nothing, if what follows works."}},
    {"the firmware has no",
     {"firmware.partial", "an image that the card may do without is not in the file",
      "Nothing, if what follows works."}},
    {"an answer to SetSoftMinByFreq",
     {"smu.clocks", "power management does not raise a clock: the card runs slower", kPower}},
    // --- Firmware ---
    {"firmware: ", {"firmware.missing", "the card's firmware is not on this machine", ""}},
    {"of a file of", {"firmware.damaged", "a firmware file is cut off", kImages}},
    {"header version", {"firmware.other", "a firmware file is of another generation", kImages}},
    {"ready for the key database",
     {"psp.boot-loader", "the security processor's boot loader does not get ready", kPower}},
    {"boot loader to take", {"psp.image-rejected", "the boot loader rejects an image", kImages}},
    {"secure OS", {"psp.sos-silent", "the secure OS does not answer", kPower}},
    {"psp:", {"psp.other", "the security processor's boot fails", kPower}},
    {"smu:", {"smu.silent", "power management does not answer", kPower}},
    {"autoload", {"rlc.autoload", "the graphics core's firmware does not start", kPower}},
    {"safe mode", {"rlc.safe-mode", "the graphics core's controller does not answer", kPower}},
    {"invalidate", {"gmc.tlb", "a memory hub does not answer", kPower}},
    // --- At work ---
    {"memory error",
     {"ecc.error", "the card reports memory errors that it could not correct",
      "Let the card cool, and test it in another machine: it may be defective."}},
    {"to stop (CP_HQD_ACTIVE)",
     {"mec.dequeue", "the compute queue does not stop when asked",
      "Power the enclosure off and on; if it comes back, the computer, too."}},
    {"(system memory)",
     {"dma.unshared", "the card cannot reach memory that was shared with it",
      "Restart the computer; on a Mac look for pci-dart-error-data in ioreg."}},
    {"page fault", {"gmc.page-fault", "the card used an address that is not mapped", kPower}},
    {"of page ", {"gmc.page-fault", "the card used an address that is not mapped", kPower}},
    {"compute queue", {"mec.hang", "the compute queue hangs", kPower}},
    {"copy queue", {"sdma.hang", "the copy engine hangs", kPower}},
    {"interrupt", {"ih.lost", "interrupts do not arrive", kPower}},
    {"differ",
     {"numbers.wrong", "the card's results are wrong",
      "Do not trust its answers. Try another cable or port; test the card elsewhere."}},
    {"came back as",
     {"numbers.wrong", "the card's results are wrong",
      "Do not trust its answers. Try another cable or port; test the card "
      "elsewhere."}},
    {"chose tokens",
     {"numbers.wrong", "the card's results are wrong",
      "Do not trust its answers. Try another cable or port; test the card "
      "elsewhere."}},
    {"failed again right after", {"card.failing", "the card fails over and over", kPower}},
    {"", {"unknown", "this has no name yet", ""}},
}};

// Findings without an error.
constexpr std::array<Diagnosis, 17> kNamed = {{
    {"ok", "", ""},
    {"host.intel", "TinyGPU panics Intel Macs", "Use a Mac with an Apple chip."},
    {"app.other-build", "this build of TinyGPU.app is not the one that was looked at",
     "Nothing, unless other steps fail: then install the release that README.md names."},
    {"extension.waiting", "macOS waits for you to allow the driver extension", ""},
    {"extension.disabled", "the driver extension was switched off", ""},
    {"extension.missing", "the driver extension is not installed",
     "Run: /Applications/TinyGPU.app/Contents/MacOS/TinyGPU install"},
    {"extension.restart", "macOS removes the extension at the next restart",
     "Restart the Mac, then install the extension again."},
    {"extension.leak", "the extension left many processes behind: the card came and went often",
     "Restart the Mac."},
    {"dart.error", "the card wrote to memory that was no longer shared: macOS recorded it",
     "Restart the Mac before the card is used again."},
    {"server.stuck", "TinyGPU's server hangs inside the kernel: the card vanished under it",
     "Only a restart of the Mac helps."},
    {"enclosure.absent", "no Thunderbolt device is connected", kCable},
    {"card.unpowered", "the enclosure is there, and no AMD card in it answers",
     "Check that the card sits firmly and has its power cables, then power the enclosure off and "
     "on."},
    {"power.laptop", "the Mac runs on its battery: sleep would reset the card",
     "Plug the charger in."},
    {"link.slow",
     "the link to the card trained below its speed: uploads take longer, answers do not", kReplug},
    {"link.latency", "requests take long: booting does, too", kCable},
    {"bar.window", "the window into video memory is small, which is enough", ""},
    {"card.dirty", "the last program did not put the card to rest; it was reset", ""},
}};

}  // namespace

const Diagnosis& diagnose(const Error& error) {
  // What was noted and survived before is not what is wrong now, with one exception: when the
  // graphics core's controller is silent and did not say before that it had started.
  const std::string& message = error.message();
  const size_t notes = message.find("noted before: ");
  if (notes != std::string::npos && message.find("safe mode") < notes &&
      message.find("RLC autoload", notes) != std::string::npos) {
    return diagnosis("rlc.autoload");
  }
  const std::string text = message.substr(0, notes) + " | " + error.hint();
  return std::find_if(kRules.begin(), kRules.end() - 1,
                      [&](const Rule& rule) { return text.find(rule.text) != std::string::npos; })
      ->diagnosis;
}

const Diagnosis& diagnosis(std::string_view name) {
  const auto named = std::find_if(kNamed.begin(), kNamed.end(),
                                  [&](const Diagnosis& d) { return d.name == name; });
  if (named != kNamed.end()) return *named;
  const auto rule = std::find_if(kRules.begin(), kRules.end(),
                                 [&](const Rule& r) { return r.diagnosis.name == name; });
  if (rule == kRules.end()) fail("there is no diagnosis \"{}\"", name);
  return rule->diagnosis;
}

}  // namespace outboard::doctor
