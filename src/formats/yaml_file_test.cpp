#include "formats/yaml_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error.h"

namespace outboard::formats {
namespace {

using testing::ElementsAre;

TEST(Yaml, ReadsOptions) {
  const YamlNode root = parse_yaml(
      "type: transformer\nmodels:\n  - a.npz\n  - 'b'\nbeam-size: 6\nnormalize: 0.5\n"
      "skip: false\nnothing: ~\nempty: \"\"\nquoted: \"null\"\nlist: []\n");
  EXPECT_EQ(yaml_string(root, "type"), "transformer");
  EXPECT_EQ(root.find("models")->items.at(1).scalar, "b");
  EXPECT_EQ(yaml_int(root, "beam-size"), 6);
  EXPECT_EQ(yaml_number(root, "normalize"), 0.5);
  EXPECT_EQ(yaml_bool(root, "skip"), false);
  EXPECT_EQ(yaml_string(root, "nothing"), std::nullopt);
  EXPECT_EQ(yaml_string(root, "absent"), std::nullopt);
  EXPECT_EQ(yaml_string(root, "empty"), "");
  EXPECT_EQ(yaml_string(root, "quoted"), "null");
  EXPECT_EQ(root.find("list")->kind, YamlNode::Kind::kSequence);
  EXPECT_THROW(yaml_int(root, "type"), Error);
  EXPECT_THROW(yaml_int(root, "models"), Error);
  EXPECT_THROW(yaml_number(root, "type"), Error);
  EXPECT_THROW(yaml_bool(root, "beam-size"), Error);
}

TEST(Yaml, ReadsVocabularies) {
  EXPECT_THAT(parse_yaml_vocabulary("\"b\": 1\na: 0\n\"\\\"\": 3\n'': 2\n"),
              ElementsAre("a", "b", "", "\""));
  EXPECT_THAT(parse_yaml_vocabulary("\u00e9: 2\nnull: 1\n~: 0\n"),
              ElementsAre("~", "null", "\u00e9"));
  EXPECT_THAT(parse_yaml_vocabulary("- a\n- \"1\"\n"), ElementsAre("a", "1"));
}

TEST(YamlErrors, Vocabularies) {
  for (const char* text : {"", "a", "a: 0\nb: 0\n", "a: 0\na: 1\n", "a: 1\n", "a: x\n", "a: -1\n",
                           "a: [0]\n", "- a\n- a\n", "- [a]\n", "a: 0\n---\nb: 0\n", "[a]: 0\n",
                           "a: &x 0\nb: *x\n", "a: 18446744073709551616\n", "a:\n"}) {
    EXPECT_THROW(parse_yaml_vocabulary(text), Error) << text;
  }
}

TEST(YamlErrors, DeepNesting) {
  for (const char* part : {"- ", "[", "a: [", "{a: ", "? "}) {
    std::string text;
    for (int i = 0; i < 20'000; ++i) text += part;
    EXPECT_THROW(parse_yaml(text), Error) << part;
  }
}

}  // namespace
}  // namespace outboard::formats
