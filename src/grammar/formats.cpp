#include "grammar/formats.h"

#include <string>

#include "grammar/regex.h"

namespace outboard::grammar {
namespace {

// RFC 3339, with February's days right in every year but 0000, which many libraries lack.
const std::string kDate =
    "(?:(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})-"
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|"
    "02-(?:0[1-9]|1[0-9]|2[0-8]))|"
    "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)";
const std::string kTime =
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?"
    "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";
// ISO 8601, as RFC 3339 appendix A writes it.
const std::string kDuration =
    "P(?:[0-9]{1,9}W|(?:[0-9]{1,9}Y(?:[0-9]{1,9}M(?:[0-9]{1,9}D)?)?|[0-9]{1,9}M(?:[0-9]{1,9}D)?|"
    "[0-9]{1,9}D)(?:T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|"
    "[0-9]{1,9}S))?|T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|"
    "[0-9]{1,9}S))";
const std::string kUuid =
    "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}";
// RFC 1123: labels of at most 63 letters, digits and single hyphens; fewer labels than may be, so
// that 253 characters are never passed. The last one is no number.
const std::string kLabel = "[A-Za-z0-9](?:-?[A-Za-z0-9]){0,31}";
const std::string kHostname = "(?:" + kLabel + "\\.){0,2}[A-Za-z](?:-?[A-Za-z0-9]){0,31}";
// RFC 5321's dot-string and a domain of two labels at least.
const std::string kAtom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}";
const std::string kEmail =
    kAtom + "(?:\\." + kAtom + "){0,2}@(?:" + kLabel + "\\.){1,2}[A-Za-z](?:-?[A-Za-z0-9]){0,31}";
const std::string kByte = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const std::string kIpv4 = kByte + "(?:\\." + kByte + "){3}";
// RFC 4291, without addresses of version 4 inside.
const std::string kGroup = "[0-9A-Fa-f]{1,4}";
std::string ipv6() {
  const std::string before = "(?:" + kGroup + ":)";
  const std::string after = "(?::" + kGroup + ")";
  std::string all = before + "{7}" + kGroup + "|" + before + "{1,7}:|:" + after + "{1,7}|::";
  for (int n = 1; n <= 6; ++n)
    all += "|" + before + "{1," + std::to_string(n) + "}" + after + "{1," + std::to_string(7 - n) +
           "}";
  return "(?:" + all + ")";
}
// RFC 3986, hosts by name or as IPv4.
const std::string kEncoded = "%[0-9A-Fa-f]{2}";
const std::string kPathChar = "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|" + kEncoded + ")";
const std::string kNoColon = "(?:[A-Za-z0-9._~!$&'()*+,;=@-]|" + kEncoded + ")";
const std::string kTail = "(?:\\?(?:" + kPathChar + "|[/?])*)?(?:#(?:" + kPathChar + "|[/?])*)?";
const std::string kAuthority =
    "(?:[A-Za-z0-9._~-]{1,20}@)?(?:" + kHostname + "|" + kIpv4 + ")(?::[1-9][0-9]{0,3})?";
const std::string kUri = "[A-Za-z][A-Za-z0-9+.-]{0,19}:(?://" + kAuthority + "(?:/" + kPathChar +
                         "*)*|/?" + kPathChar + "+(?:/" + kPathChar + "*)*)" + kTail;
const std::string kUriReference =
    "(?:" + kUri + "|(?:/|/?" + kNoColon + "+(?:/" + kPathChar + "*)*)?" + kTail + ")";
// RFC 6901.
const std::string kJsonPointer = "(?:/(?:[^~/]|~[01])*)*";

std::optional<std::string> pattern_of(std::string_view name) {
  if (name == "date") return kDate;
  if (name == "time") return kTime;
  if (name == "date-time") return kDate + "T" + kTime;
  if (name == "duration") return kDuration;
  if (name == "uuid") return kUuid;
  if (name == "email" || name == "idn-email") return kEmail;
  if (name == "hostname" || name == "idn-hostname") return kHostname;
  if (name == "ipv4") return kIpv4;
  if (name == "ipv6") return ipv6();
  if (name == "uri" || name == "iri") return kUri;
  if (name == "uri-reference" || name == "iri-reference") return kUriReference;
  if (name == "json-pointer") return kJsonPointer;
  if (name == "relative-json-pointer") return "(?:0|[1-9][0-9]{0,8})(?:#|" + kJsonPointer + ")";
  return std::nullopt;
}

}  // namespace

std::optional<CharDfa> compile_format(std::string_view name) {
  const std::optional<std::string> pattern = pattern_of(name);
  if (!pattern) return std::nullopt;
  return compile_pattern("^(?:" + *pattern + ")$");
}

}  // namespace outboard::grammar
