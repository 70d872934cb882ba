// Every fault that the simulated card knows ends in a diagnosis that names it.
#include "doctor/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <ostream>

#include "doctor/diagnoses.h"
#include "link/card_lock.h"
#include "simulator/card/firmware_images.h"
#include "simulator/card/simulated_link.h"
#include "support/error.h"

namespace outboard::doctor {

void PrintTo(const Finding& f, std::ostream* out) {
  *out << f.step << ": " << words(f.verdict) << " (" << f.diagnosis << "): " << f.seen;
}

namespace {

using ::testing::HasSubstr;

simulator::card::CardOptions card_options(const std::string& faults) {
  simulator::card::CardOptions options;
  options.vram_bytes = uint64_t{512} << 20;
  options.bar0_bytes = uint64_t{512} << 20;
  options.threads = 1;
  options.strict = false;
  if (!faults.empty()) options.faults = simulator::card::FaultPlan::parse(faults, "test");
  return options;
}

Examination examine_simulated(const simulator::card::CardOptions& how, double patience) {
  simulator::card::Card card(how);
  DoctorOptions options;
  options.open = [&] { return simulator::card::make_simulated_link(card); };
  options.boot.images = simulator::card::firmware_images(how.moods);
  options.boot.patience = patience;
  options.boot.wait = std::chrono::milliseconds(400);
  return examine(options);
}

Examination examine_simulated(const std::string& faults) {
  return examine_simulated(card_options(faults), 0.01);
}

const Finding* find(const Examination& examination, std::string_view diagnosis) {
  for (const Finding& finding : examination.findings()) {
    if (finding.diagnosis == diagnosis) return &finding;
  }
  return nullptr;
}

std::string all(const Examination& examination) {
  std::string out;
  for (const Finding& f : examination.findings())
    out += fmt::format("{}: {} ({}): {}\n", f.step, words(f.verdict), f.diagnosis, f.seen);
  return out;
}

TEST(Doctor, FindsNothingWrongWithAGoodCard) {
  const Examination examination = examine_simulated("");
  EXPECT_TRUE(examination.is_healthy()) << all(examination);
  for (const Finding& finding : examination.findings()) {
    EXPECT_NE(finding.verdict, Verdict::kBad);
    EXPECT_NE(finding.verdict, Verdict::kWarning) << ::testing::PrintToString(finding);
  }
  for (const char* step : {"server", "firmware", "card", "link", "BARs", "boot: firmware boot",
                           "memory", "copies", "compute queue", "interrupts", "rest"}) {
    EXPECT_THAT(all(examination), HasSubstr(std::string(step) + ": ok")) << step;
  }
}

TEST(Doctor, ReadOnlyChangesNothing) {
  simulator::card::Card card(card_options(""));
  DoctorOptions options;
  options.open = [&] { return simulator::card::make_simulated_link(card); };
  options.boot.images = simulator::card::firmware_images();
  options.read_only = true;
  EXPECT_TRUE(examine(options).is_healthy());
  const simulator::card::CardCounters counters = card.counters();
  EXPECT_EQ(counters.config_writes, 0U);
  EXPECT_EQ(std::accumulate(std::begin(counters.mmio_writes), std::end(counters.mmio_writes), 0U),
            0U);
}

struct Case {
  const char* fault;      // rules
  const char* diagnosis;  // that must be among the findings
  Verdict verdict = Verdict::kBad;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.fault; }

const std::vector<Case> kCases = {
    {R"([{"what": "link.drop", "request": 40}])", "link.lost"},
    {R"([{"what": "link.cut-reply", "request": 300}])", "link.lost"},
    {R"([{"what": "link.slow", "milliseconds": 8, "count": 60}])", "link.latency",
     Verdict::kWarning},
    {R"([{"what": "link.refuse", "request": 100, "count": 1}])", "link.refused"},
    {R"([{"what": "bar.all-ones"}])", "card.gone"},
    {R"([{"what": "bar.unassigned"}])", "bar.unassigned"},
    {R"([{"what": "bar.small"}])", "bar.window", Verdict::kNote},
    {R"([{"what": "pci.audio-function"}])", "card.other"},
    {R"([{"what": "pci.absent"}])", "card.gone"},
    {R"([{"what": "pci.slow-link"}])", "link.slow", Verdict::kWarning},
    {R"([{"what": "card.dirty"}])", "card.dirty", Verdict::kWarning},
    {R"([{"what": "psp.bootloader-stuck"}])", "psp.boot-loader"},
    {R"([{"what": "psp.firmware-rejected", "where": "SOC driver"}])", "psp.image-rejected"},
    {R"([{"what": "psp.firmware-rejected", "where": "type 8"}])", "psp.image-rejected"},
    {R"([{"what": "psp.sos-silent"}])", "psp.sos-silent"},
    {R"([{"what": "smu.no-answer"}])", "smu.silent"},
    {R"([{"what": "rlc.autoload-timeout"}])", "rlc.autoload"},
    {R"([{"what": "gmc.page-fault", "where": "shader"}])", "gmc.page-fault"},
    {R"([{"what": "gmc.tlb-stuck"}])", "gmc.tlb"},
    {R"([{"what": "mec.queue-hang"}])", "mec.hang"},
    // Noted and survived: bus mastering goes off, and the next boot is a cold one.
    {R"([{"what": "mec.dequeue-timeout"}])", "mec.dequeue", Verdict::kWarning},
    {R"([{"what": "doorbell.late", "count": 2, "milliseconds": 1000}])", "doorbell.lost",
     Verdict::kWarning},
    {R"([{"what": "doorbell.lost", "count": 2}])", "doorbell.lost", Verdict::kWarning},
    {R"([{"what": "doorbell.merged"}])", "ok", Verdict::kGood},
    {R"([{"what": "sdma.hang"}])", "sdma.hang"},
    {R"([{"what": "ih.lost-interrupt"}])", "ih.lost"},
    {R"([{"what": "ecc.error", "request": 600, "count": 1}])", "ecc.error"},
    {R"([{"what": "dma.unshared", "skip": 20, "count": 1}])", "dma.unshared"},
};

class EachFault : public ::testing::TestWithParam<Case> {};

TEST_P(EachFault, IsNamed) {
  const Examination examination = examine_simulated(GetParam().fault);
  const Finding* finding = find(examination, GetParam().diagnosis);
  ASSERT_NE(finding, nullptr) << all(examination);
  EXPECT_EQ(finding->verdict, GetParam().verdict);
  EXPECT_EQ(examination.is_healthy(), GetParam().verdict != Verdict::kBad) << all(examination);
  if (GetParam().verdict == Verdict::kGood) return;
  EXPECT_FALSE(finding->meaning.empty());
  if (finding->verdict == Verdict::kBad) {
    EXPECT_FALSE(finding->todo.empty());
    // What is wrong is the first thing that is called bad.
    const auto first = std::find_if(examination.findings().begin(), examination.findings().end(),
                                    [](const Finding& f) { return f.verdict == Verdict::kBad; });
    EXPECT_EQ(first->diagnosis, GetParam().diagnosis) << all(examination);
  }
}

TEST(Doctor, SaysOnceWhatComesHundredsOfTimes) {
  const Examination examination = examine_simulated(R"([{"what": "ecc.error", "request": 600}])");
  const Finding* finding = find(examination, "ecc.error");
  ASSERT_NE(finding, nullptr) << all(examination);
  constexpr std::string_view kSaid = "memory error, reported by the bus interface";
  const size_t first = finding->seen.find(kSaid);
  ASSERT_NE(first, std::string::npos) << finding->seen;
  EXPECT_EQ(finding->seen.find(kSaid, first + 1), std::string::npos) << finding->seen;
  EXPECT_NE(finding->seen.find(" times)"), std::string::npos) << finding->seen;
}

INSTANTIATE_TEST_SUITE_P(Fault, EachFault, ::testing::ValuesIn(kCases));

// In each mood the card boots, computes and goes to rest, or its fault is named.
class EachMood : public ::testing::TestWithParam<std::vector<std::string>> {};

void boots_and_works(const std::vector<std::string>& moods) {
  simulator::card::CardOptions how = card_options("");
  how.moods = simulator::card::Moods::parse(moods);
  const Examination examination = examine_simulated(how, 0.1);
  EXPECT_TRUE(examination.is_healthy()) << all(examination);
  for (const Finding& finding : examination.findings())
    EXPECT_NE(finding.diagnosis, "unknown") << ::testing::PrintToString(finding);
}

TEST_P(EachMood, BootsAndWorks) { boots_and_works(GetParam()); }

TEST(AllMoods, BootsAndWorks) { boots_and_works({"all"}); }

// Each alone, and with the one that stands five further on.
std::vector<std::vector<std::string>> some_moods() {
  std::vector<std::vector<std::string>> out;
  const auto list = simulator::card::mood_list();
  for (size_t i = 0; i < list.size(); ++i) {
    out.push_back({std::string(list[i].name)});
    const simulator::card::MoodInfo& other = list[(i + 5) % list.size()];
    if (list[i].mood == simulator::card::Mood::kPosted ||
        other.mood == simulator::card::Mood::kPosted)
      continue;
    out.push_back({std::string(list[i].name), std::string(other.name)});
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Mood, EachMood, ::testing::ValuesIn(some_moods()));

// What is noted on the way does not hide what is wrong later.
TEST(AllMoods, DoNotHideAFault) {
  simulator::card::CardOptions how = card_options(R"([{"what": "mec.queue-hang"}])");
  how.moods =
      simulator::card::Moods::parse(std::vector<std::string>{"rlc.incomplete", "doorbell.late"});
  const Examination examination = examine_simulated(how, 0.1);
  ASSERT_NE(find(examination, "rlc.incomplete"), nullptr) << all(examination);
  const Finding* finding = find(examination, "mec.hang");
  ASSERT_NE(finding, nullptr) << all(examination);
  EXPECT_EQ(finding->verdict, Verdict::kBad);
}

TEST(EachFault, IsInTheTable) {
  for (const auto& known : simulator::card::FaultPlan::known()) {
    EXPECT_TRUE(std::any_of(kCases.begin(), kCases.end(), [&](const Case& c) {
      return std::string_view(c.fault).find(fmt::format("\"{}\"", known.what)) !=
             std::string_view::npos;
    })) << known.what;
  }
}

TEST(Doctor, AMissingFolderOfFirmwareIsSaid) {
  simulator::card::Card card(card_options(""));
  DoctorOptions options;
  options.open = [&] { return simulator::card::make_simulated_link(card); };
  options.boot.firmware = {"/nowhere"};
  const Examination examination = examine(options);
  const Finding* finding = find(examination, "firmware.missing");
  ASSERT_NE(finding, nullptr) << all(examination);
  EXPECT_THAT(finding->todo, HasSubstr("outboard pull firmware"));
  // The card itself was not touched.
  EXPECT_EQ(card.counters().config_writes, 0U);
}

TEST(Doctor, WhoHoldsTheCardIsSaid) {
  const std::string socket = fmt::format("/tmp/outboard-doctor-{}.sock", ::getpid());
  const link::CardLock lock(link::lock_path("tinygpu:" + socket), std::chrono::milliseconds(0));
  lock.sign("outboard chat");
  DoctorOptions options;
  options.connect.spec = "tinygpu:" + socket;
  options.boot.images = simulator::card::firmware_images();
  const Examination examination = examine(options);
  const Finding* finding = find(examination, "lock.held");
  ASSERT_NE(finding, nullptr) << all(examination);
  EXPECT_THAT(finding->seen, HasSubstr(fmt::format("process {}: outboard chat", ::getpid())));
  ::unlink(link::lock_path("tinygpu:" + socket).c_str());
}

TEST(Doctor, ASocketPathThatIsTooLongIsSaid) {
  DoctorOptions options;
  options.connect.spec = "tinygpu:/tmp/" + std::string(120, 'x');
  const Examination examination = examine(options);
  EXPECT_NE(find(examination, "socket.path"), nullptr) << all(examination);
  ::unlink(link::lock_path(options.connect.spec).c_str());
}

TEST(Doctor, TheLayersAboveAreAskedLast) {
  simulator::card::Card card(card_options(""));
  DoctorOptions options;
  options.open = [&] { return simulator::card::make_simulated_link(card); };
  options.boot.images = simulator::card::firmware_images();
  options.boot.patience = 0.05;
  options.more = [](std::unique_ptr<link::Link> link, Examination& out) {
    out.step("kernels", [&] { return link->name() + " is at rest"; });
    out.step("decode", []() -> std::string { throw Error("tokens 3 and 4 differ"); });
  };
  const Examination examination = examine(options);
  EXPECT_THAT(all(examination), HasSubstr("kernels: ok (ok): simulated is at rest"));
  EXPECT_NE(find(examination, "numbers.wrong"), nullptr);
}

}  // namespace
}  // namespace outboard::doctor
