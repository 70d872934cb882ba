#include "formats/foreign_types.h"

#include <array>
#include <string_view>

namespace outboard::formats {
namespace {

// Types that files may hold and Outboard does not run. Sources: ggml.h of llama.cpp, those that
// were dropped among its comments and history; ggml.h of ik_llama.cpp.
enum class Origin : uint8_t { kDropped, kRepacked, kNewer, kIkLlama };
struct ForeignType {
  uint32_t number;
  std::string_view name;
  Origin origin;
};

constexpr std::array kForeign = {
    ForeignType{4, "Q4_2", Origin::kDropped},
    ForeignType{5, "Q4_3", Origin::kDropped},
    ForeignType{31, "Q4_0_4_4", Origin::kRepacked},
    ForeignType{32, "Q4_0_4_8", Origin::kRepacked},
    ForeignType{33, "Q4_0_8_8", Origin::kRepacked},
    ForeignType{36, "IQ4_NL_4_4 (in bitnet.cpp's files I2_S)", Origin::kRepacked},
    ForeignType{37, "IQ4_NL_4_8", Origin::kRepacked},
    ForeignType{38, "IQ4_NL_8_8", Origin::kRepacked},
    ForeignType{40, "NVFP4", Origin::kNewer},
    ForeignType{41, "Q1_0", Origin::kNewer},
    ForeignType{42, "Q2_0", Origin::kNewer},
    ForeignType{133, "Q6_0", Origin::kIkLlama},
    ForeignType{134, "IQ1_BN", Origin::kIkLlama},
    ForeignType{135, "IQ2_BN", Origin::kIkLlama},
    ForeignType{137, "IQ2_K", Origin::kIkLlama},
    ForeignType{138, "IQ3_K", Origin::kIkLlama},
    ForeignType{139, "IQ4_K", Origin::kIkLlama},
    ForeignType{140, "IQ5_K", Origin::kIkLlama},
    ForeignType{141, "IQ6_K", Origin::kIkLlama},
    ForeignType{144, "IQ4_KS", Origin::kIkLlama},
    ForeignType{145, "IQ2_KS", Origin::kIkLlama},
    ForeignType{146, "IQ4_KSS", Origin::kIkLlama},
    ForeignType{152, "IQ5_KS", Origin::kIkLlama},
    ForeignType{153, "IQ2_KT", Origin::kIkLlama},
    ForeignType{154, "IQ3_KT", Origin::kIkLlama},
    ForeignType{155, "IQ4_KT", Origin::kIkLlama},
    ForeignType{156, "IQ3_KS", Origin::kIkLlama},
    ForeignType{157, "IQ2_KL", Origin::kIkLlama},
    ForeignType{158, "IQ1_KT", Origin::kIkLlama},
};

const char* advice(Origin origin) {
  switch (origin) {
    case Origin::kDropped:
      return "GGML dropped it in 2023: get the model in a newer file.";
    case Origin::kRepacked:
      return "GGML dropped it in 2024, since programs now arrange Q4_0 and IQ4_NL themselves: get "
             "the model in one of these. bitnet.cpp's own files run there only.";
    case Origin::kNewer:
      return "Outboard does not run it: get the model in another type, Q8_0 or Q4_K_M say.";
    case Origin::kIkLlama:
      return "Only ik_llama.cpp runs it: get the model in another type, Q8_0 or Q4_K_M say.";
  }
  return "";
}

}  // namespace

Error unknown_type(uint32_t ggml_number) {
  for (const ForeignType& type : kForeign)
    if (type.number == ggml_number)
      return Error(fmt::format("type: found {}, GGML's number {}, expected a type that Outboard "
                               "runs",
                               type.name, ggml_number),
                   advice(type.origin));
  return Error(fmt::format("type: found {}, expected the number of a known GGML type", ggml_number),
               "The file is damaged, or newer than this program.");
}

}  // namespace outboard::formats
