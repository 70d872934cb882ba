// Guessing how a text goes on, so that one step of the model computes several tokens of it
// (Leviathan and others 2022, arXiv:2211.17192). The model chooses every token as it would without:
// a guess only decides how many of them a step gives.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "devices/device.h"

namespace outboard::engine {

class Model;

// kLookup: what followed last time when the text was as it is now. kMtp: the model's own head for
// further tokens, its Program's drafter. kDraft: a smaller model. kAuto: kMtp where the model has
// one; else kLookup on devices where steps are not queued ahead; else kOff.
enum class Speculation : uint8_t { kAuto, kOff, kLookup, kMtp, kDraft };
std::string_view name_of(Speculation speculation);
std::optional<Speculation> speculation_of(std::string_view name);

constexpr size_t kMaxDraft = 7;

class Drafter {
 public:
  virtual ~Drafter() = default;
  // Guesses of the next tokens, at most `most`; none where it has none.
  virtual std::vector<int32_t> draft(std::span<const int32_t> tokens, size_t most) = 0;
  // Its device has lost what was computed.
  virtual void forget() {}
};

// Looks for the place in the text that ends like the text does now, at least three tokens alike and
// the longer the better, of several the last: what followed there.
std::unique_ptr<Drafter> lookup_drafter();

// Greedy text of another model with the same tokens, on the same device, which must outlive it.
// Throws Error where tokens differ, or where the model keeps states that can't be taken back.
std::unique_ptr<Drafter> model_drafter(std::shared_ptr<const Model> draft, const Model& model,
                                       devices::Device& device, int context);

// How many tokens to draft: by how many of those before were right, and by what steps of so many
// tokens have taken. So that drafting is never dear, it stops where it does not gain, and is tried
// again now and then, each time later.
class DraftLength {
 public:
  // A new text.
  void begin();
  // After some tries in vain: who computes something for every token to guess can leave it.
  bool gave_up() const { return patience_ > kMostPatience; }
  size_t choose(size_t most);
  // A step of so many tokens of one sequence took so long.
  void took(size_t tokens, double seconds);
  // Guessing so many took so long.
  void drafted(size_t tokens, double seconds);
  // Of so many guesses the first `right` were.
  void compared(size_t guesses, size_t right);

 private:
  static constexpr int kPatience = 48, kMostPatience = 384;  // steps
  double seconds_of(size_t tokens) const;

  std::array<double, kMaxDraft + 2> seconds_{};  // by tokens; 0: not known
  double draft_seconds_ = 0;                     // a token
  // Of the guesses at each depth behind right ones, those that were right.
  std::array<double, kMaxDraft> right_ = {0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7};
  std::array<int, kMaxDraft> seen_{};
  int since_drafted_ = 0;  // steps
  int patience_ = kPatience;
  bool tries_ = false;  // what was chosen last
};

}  // namespace outboard::engine
