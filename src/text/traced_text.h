// Text that remembers where each of its bytes comes from, so that what a person wrote can not pass
// for what a chat template wrote.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace outboard::text {

enum class Origin : uint8_t {
  kTemplate,  // the chat template itself, and what the program gives it: roles, bos_token
  kModel,     // an assistant's message: words of the model
  kMessage,   // any other message, tools, variables: nobody knows who wrote them
};

class TracedText {
 public:
  TracedText() = default;
  // Implicit, since text made by the engine itself is the template's.
  TracedText(std::string bytes, Origin origin = Origin::kTemplate) { append(bytes, origin); }

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  Origin origin(size_t at) const {
    return origins_.empty() ? Origin::kTemplate : static_cast<Origin>(origins_[at]);
  }
  bool all_template() const { return origins_.empty(); }
  // The least trusted origin of all bytes.
  Origin worst() const {
    Origin found = Origin::kTemplate;
    for (const char c : origins_)
      found = static_cast<Origin>(c) > found ? static_cast<Origin>(c) : found;
    return found;
  }

  void append(std::string_view bytes, Origin origin = Origin::kTemplate) {
    if (origin != Origin::kTemplate && !bytes.empty()) trace();
    bytes_ += bytes;
    if (!origins_.empty() || origin != Origin::kTemplate)
      origins_.append(bytes.size(), static_cast<char>(origin));
  }
  void append(const std::string& bytes) { append(std::string_view(bytes)); }
  void append(const char* bytes) { append(std::string_view(bytes)); }
  void append(const TracedText& other) { append(other, 0, other.size()); }
  void append(const TracedText& other, size_t begin, size_t count) {
    if (other.origins_.empty()) {
      append(std::string_view(other.bytes_).substr(begin, count));
      return;
    }
    trace();
    bytes_.append(other.bytes_, begin, count);
    origins_.append(other.origins_, begin, count);
  }
  TracedText part(size_t begin, size_t count = std::string::npos) const {
    TracedText result;
    result.append(*this, begin, count < size() - begin ? count : size() - begin);
    return result;
  }
  // part: a view into bytes().
  TracedText part(std::string_view part) const {
    return this->part(static_cast<size_t>(part.data() - bytes_.data()), part.size());
  }
  // From now on all of it comes from the template.
  void trust() { origins_.clear(); }

 private:
  void trace() {
    if (origins_.empty()) origins_.assign(bytes_.size(), static_cast<char>(Origin::kTemplate));
  }

  std::string bytes_;
  std::string origins_;  // an Origin a byte; empty: all are the template's
};

}  // namespace outboard::text
