#include "formats/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "support/error.h"

namespace outboard::formats {
namespace {

std::string npy(const std::string& header, size_t data_bytes, int version = 1) {
  std::string file = "\x93NUMPY";
  file += {static_cast<char>(version), '\0', static_cast<char>(header.size()), '\0'};
  if (version > 1) file += std::string(2, '\0');
  return file + header + std::string(data_bytes, 'x');
}

NpyArray parse(const std::string& file) {
  const std::vector<char> exact(file.begin(), file.end());  // sanitizers see what is read past it
  return parse_npy(std::as_bytes(std::span(exact)));
}

TEST(Npy, ReadsHeaders) {
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } \n";
  for (const int version : {1, 2, 3}) {
    const NpyArray array = parse(npy(header, 24, version));
    EXPECT_EQ(array.descr, "<f4");
    EXPECT_FALSE(array.fortran_order);
    EXPECT_THAT(array.shape, testing::ElementsAre(2, 3));
    EXPECT_EQ(array.bytes, 24u);
    EXPECT_EQ(array.offset, header.size() + (version == 1 ? 10 : 12));
  }
  const NpyArray single = parse(npy("{\"shape\":(),\"descr\":\"|i1\",\"fortran_order\":True}", 1));
  EXPECT_TRUE(single.fortran_order);
  EXPECT_TRUE(single.shape.empty());
}

TEST(NpyErrors, RefusesByName) {
  const auto refusal = [](const std::string& header, size_t bytes) -> std::string {
    try {
      parse(npy(header, bytes));
    } catch (const Error& error) {
      return error.message();
    }
    return {};
  };
  using testing::HasSubstr;
  const auto with = [](const std::string& descr, const std::string& shape) {
    return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + "}";
  };
  EXPECT_EQ(refusal(with("<f4", "(1,)"), 4), "");
  EXPECT_THAT(refusal(with("|O", "(1,)"), 8), HasSubstr("descr: found '|O'"));
  EXPECT_THAT(refusal(with(">f4", "(1,)"), 4), HasSubstr("little-endian"));
  EXPECT_THAT(refusal(with("<U4", "(1,)"), 16), HasSubstr("descr"));
  EXPECT_THAT(refusal(with("<f4", "(-1,)"), 4), HasSubstr("shape"));
  EXPECT_THAT(refusal(with("<f4", "(4611686018427387904, 4)"), 4), HasSubstr("overflows"));
  EXPECT_THAT(refusal(with("<f4", "(2,)"), 4), HasSubstr("expected 8"));
  EXPECT_THAT(refusal(with("<f4", "(1,)") + "x", 4), HasSubstr("more after its end"));
}

TEST(NpyErrors, CutAnywhere) {
  const std::string file = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 24);
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_THROW(parse(file.substr(0, size)), Error) << size;
  }
}

}  // namespace
}  // namespace outboard::formats
