#include "simulator/card/faults.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "support/error.h"
#include "support/json.h"

namespace outboard::simulator::card {
namespace {

FaultRule parse_rule(const nlohmann::json& object, std::string_view source, size_t index) {
  const std::string place = fmt::format("{}: rule {}", source, index + 1);
  if (!object.is_object()) fail("{}: a rule is an object, this is {}", place, object.type_name());
  FaultRule rule;
  for (const auto& [key, value] : object.items()) {
    if (key == "what" || key == "where") {
      if (!value.is_string()) fail("{}: \"{}\" is a text, not {}", place, key, value.dump());
      (key == "what" ? rule.what : rule.where) = value.get<std::string>();
    } else if (!value.is_number_unsigned()) {
      fail("{}: \"{}\" is a whole number from 0, not {}", place, key, value.dump());
    } else {
      const uint64_t number = value.get<uint64_t>();
      if (key == "request") {
        rule.request = number;
      } else if (key == "skip") {
        rule.skip = number;
      } else if (key == "count") {
        rule.count = number;
      } else {
        rule.parameters[key] = number;
      }
    }
  }
  if (rule.what.empty()) fail("{}: \"what\" is missing", place);
  return rule;
}

void check_known(const FaultRule& rule, std::string_view place) {
  const auto& known = FaultPlan::known();
  if (std::any_of(known.begin(), known.end(), [&](const auto& k) { return k.what == rule.what; })) {
    return;
  }
  std::string names;
  for (const auto& k : known) names += fmt::format("\n  {:24} {}", k.what, k.meaning);
  throw Error(fmt::format("{}: there is no fault \"{}\"", place, rule.what),
              "Known faults:" + names);
}

}  // namespace

const std::vector<FaultPlan::Known>& FaultPlan::known() {
  static const std::vector<Known> list = {
      {"link.drop", "the connection closes before the request is answered"},
      {"link.cut-reply", "half of the answer is sent, then the connection closes"},
      {"link.slow", "the answer waits \"milliseconds\" (default 100)"},
      {"link.refuse", "the request is answered with an error"},
      {"bar.all-ones", "cable pulled: reads give all ones, writes vanish"},
      {"bar.unassigned", "BARs have no address and memory decoding is off"},
      {"bar.small", "BAR 0 is 256 MiB and cannot be resized"},
      {"pci.audio-function", "the function that answers is the card's audio device"},
      {"pci.absent", "the enclosure is there, the card is not"},
      {"pci.slow-link", "the link trained at 2.5 GT/s"},
      {"card.dirty", "an earlier client left the card running"},
      {"psp.bootloader-stuck", "the PSP bootloader never gets ready"},
      {"psp.firmware-rejected", "the PSP refuses an image (where: its type)"},
      {"psp.sos-silent", "the secure OS does not answer its ring"},
      {"smu.no-answer", "the SMU does not answer (where: the message)"},
      {"rlc.autoload-timeout", "RLC autoload never completes"},
      {"gmc.page-fault", "a translation fails though the page is mapped"},
      {"gmc.tlb-stuck", "a TLB invalidate is never acknowledged"},
      {"doorbell.late",
       "a doorbell comes \"milliseconds\" late (default 40), system memory at once"},
      {"doorbell.merged", "doorbells within a millisecond arrive as the last one only"},
      {"doorbell.lost", "a doorbell never arrives"},
      {"mec.queue-hang", "the compute queue stops at a packet"},
      {"mec.dequeue-timeout", "the compute queue does not stop when asked"},
      {"sdma.hang", "the SDMA queue stops at a packet"},
      {"ih.lost-interrupt", "an interrupt is not delivered"},
      {"ecc.error", "an uncorrectable memory error is reported"},
      {"dma.unshared", "a shared page is taken away under the card"},
  };
  return list;
}

FaultPlan::FaultPlan(std::vector<FaultRule> rules) {
  for (FaultRule& rule : rules) {
    check_known(rule, "fault rules");
    rules_.push_back({std::move(rule), 0, 0});
  }
}

std::unique_ptr<FaultPlan> FaultPlan::parse(std::string_view json, std::string_view source) {
  nlohmann::json document;
  try {
    document = parse_json(json);
  } catch (Error& e) {
    e.add_context(source);
    throw;
  }
  if (!document.is_array()) {
    throw Error(
        fmt::format("{}: expected an array of rules, found {}", source, document.type_name()),
        "For example: [{\"what\": \"link.drop\", \"request\": 1200}]");
  }
  std::vector<FaultRule> rules;
  for (size_t i = 0; i < document.size(); ++i) {
    rules.push_back(parse_rule(document[i], source, i));
    check_known(rules.back(), fmt::format("{}: rule {}", source, i + 1));
  }
  return std::make_unique<FaultPlan>(std::move(rules));
}

void FaultPlan::begin_request() {
  const std::lock_guard lock(mutex_);
  ++requests_;
}

uint64_t FaultPlan::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::optional<FaultRule> FaultPlan::fires(std::string_view what, std::string_view where) {
  const std::lock_guard lock(mutex_);
  for (Progress& progress : rules_) {
    const FaultRule& rule = progress.rule;
    if (rule.what != what || requests_ < rule.request) continue;
    if (!rule.where.empty() && where.find(rule.where) == std::string_view::npos) continue;
    if (progress.seen++ < rule.skip) continue;
    if (rule.count != 0 && progress.fired >= rule.count) continue;
    ++progress.fired;
    return rule;
  }
  return std::nullopt;
}

}  // namespace outboard::simulator::card
