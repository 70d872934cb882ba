#include "support/scrub.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "support/sha256.h"

namespace outboard {
namespace {

TEST(Scrubber, ReplacesTheLongestFirst) {
  Scrubber scrub;
  scrub.add("jo", "(user)");
  scrub.add("/Users/jo", "(home)");
  EXPECT_EQ(scrub("/Users/jo/x of jo, joined"), "(home)/x of (user), joined");
  scrub.add("joan", "(user)");
  EXPECT_EQ(scrub("joanna"), "(user)na");  // rather too much than a name
  EXPECT_EQ(scrub(""), "");
}

TEST(Scrubber, KnowsThisMachine) {
  const Scrubber scrub = Scrubber::of_this_machine();
  std::array<char, 256> host{};
  ASSERT_EQ(::gethostname(host.data(), host.size() - 1), 0);
  EXPECT_EQ(scrub(std::string("at ") + host.data() + "!"), "at (host)!");
  if (const char* home = std::getenv("HOME"); home != nullptr && std::string(home) != "/") {
    EXPECT_EQ(scrub(std::string(home) + "/x"), "(home)/x");
  }
}

// FIPS 180-4's example.
TEST(Sha256, IsTheStandards) {
  const std::array<std::byte, 3> abc{std::byte{'a'}, std::byte{'b'}, std::byte{'c'}};
  EXPECT_EQ(to_hex(sha256(abc)),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace outboard
