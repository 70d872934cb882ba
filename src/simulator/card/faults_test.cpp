#include "simulator/card/faults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error.h"

namespace outboard::simulator::card {
namespace {

using ::testing::HasSubstr;

std::string complaint(const char* json) {
  try {
    FaultPlan::parse(json, "rules.json");
  } catch (const Error& e) {
    return e.message() + " " + e.hint();
  }
  return "none";
}

TEST(Faults, FireWhereAndWhenTheRuleSays) {
  const auto plan = FaultPlan::parse(
      R"([{"what": "smu.no-answer", "where": "SetSoftMin", "request": 2, "skip": 1, "count": 2, "ms": 7}])",
      "t");
  EXPECT_FALSE(plan->fires("smu.no-answer", "SetSoftMinByFreq"));  // no request yet
  plan->begin_request();
  plan->begin_request();
  EXPECT_FALSE(plan->fires("smu.no-answer", "GetVersion"));         // elsewhere
  EXPECT_FALSE(plan->fires("psp.sos-silent", "SetSoftMinByFreq"));  // another fault
  EXPECT_FALSE(plan->fires("smu.no-answer", "SetSoftMinByFreq"));   // skipped
  const auto first = plan->fires("smu.no-answer", "SetSoftMinByFreq");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->parameters.at("ms"), 7U);
  EXPECT_TRUE(plan->fires("smu.no-answer", "SetSoftMinByFreq"));
  EXPECT_FALSE(plan->fires("smu.no-answer", "SetSoftMinByFreq"));  // spent
}

TEST(Faults, WithoutNumbersAlways) {
  const auto plan = FaultPlan::parse(R"([{"what": "bar.all-ones"}])", "t");
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(plan->fires("bar.all-ones"));
}

TEST(Faults, BadRulesAreNamed) {
  EXPECT_THAT(complaint("{"), HasSubstr("rules.json"));
  EXPECT_THAT(complaint("{}"), HasSubstr("expected an array of rules"));
  EXPECT_THAT(complaint("[1]"), HasSubstr("rule 1: a rule is an object"));
  EXPECT_THAT(complaint(R"([{"what": "bar.small"}, {}])"),
              HasSubstr("rule 2: \"what\" is missing"));
  EXPECT_THAT(complaint(R"([{"what": "no.such"}])"), HasSubstr("there is no fault \"no.such\""));
  EXPECT_THAT(complaint(R"([{"what": "no.such"}])"), HasSubstr("psp.bootloader-stuck"));
  EXPECT_THAT(complaint(R"([{"what": "bar.small", "skip": -1}])"),
              HasSubstr("\"skip\" is a whole number"));
  EXPECT_THAT(complaint(R"([{"what": "bar.small", "skip": "x"}])"),
              HasSubstr("\"skip\" is a whole number"));
  EXPECT_THAT(complaint(R"([{"what": 3}])"), HasSubstr("\"what\" is a text"));
}

}  // namespace
}  // namespace outboard::simulator::card
