// A Grammar as an automaton without calls, whose states are made when they are first met.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "grammar/grammar.h"

namespace outboard::grammar {

// All ways in which a text can be read so far are one state: a set of places in the grammar, each
// with the frame that says where to go on when its rule has matched. Frames are shared and kept
// once each, and so are states: a text that comes to the same places with the same frames is in the
// same state, and what follows a byte there is looked up. A place that is reached with several
// frames gets one that unites them, so a state has no more places than the grammar, however
// ambiguous that is. One thread at a time.
class LazyAutomaton {
 public:
  static constexpr int32_t kDead = -1;
  // Rules under way at a time, tail calls not counted: what would go deeper is not matched.
  static constexpr uint32_t kMaxDepth = 2000;

  explicit LazyAutomaton(std::shared_ptr<const Grammar> grammar);

  int32_t start() const { return start_; }
  // kDead where the byte can't come. state != kDead.
  int32_t next(int32_t state, uint8_t byte) {
    const size_t byte_class = grammar_->class_of(byte);
    const int32_t known = next_[static_cast<size_t>(state) * classes_ + byte_class];
    return known != kUnknown ? known : make_next(state, byte_class);
  }
  // The text may end here.
  bool can_end(int32_t state) const;
  // Nothing may follow.
  bool must_end(int32_t state) const;

  // So that memory stays bounded: forgets all states but this one, if there are many; its new
  // number is returned. Others, start() too, have new numbers then as well.
  int32_t forget_others(int32_t state);
  // Changes whenever numbers do.
  uint64_t generation() const { return generation_; }

 private:
  static constexpr int32_t kUnknown = -2;

  struct Link {
    uint32_t place;  // where to go on
    int32_t frame;   // and with what
    auto operator<=>(const Link&) const = default;
  };
  using Links = std::vector<Link>;  // of a frame and of a state alike
  struct Frame {
    Links links;
    uint32_t depth;
  };
  struct LinksHash {
    size_t operator()(const Links& links) const;
  };

  void clear();
  int32_t make_next(int32_t state, size_t byte_class);
  int32_t close();
  void add(uint32_t place, int32_t frame);
  void visit(uint32_t place, int32_t frame);
  int32_t finished(int32_t frame);
  // The number of a frame; links in any order, with any number of frames for a place. -1: too deep.
  int32_t frame_of(Links links);
  void unite(Links& links);
  int32_t state_of(Links places);

  std::shared_ptr<const Grammar> grammar_;
  size_t classes_;
  std::vector<Frame> frames_;
  std::unordered_map<Links, int32_t, LinksHash> frame_numbers_;
  std::vector<Links> states_;
  std::unordered_map<Links, int32_t, LinksHash> state_numbers_;
  std::vector<int32_t> next_;  // [states, classes]
  int32_t start_ = 0;
  uint64_t generation_ = 0;

  // What close() works with. A frame below zero is one that is called from here, number -1 - i.
  struct Called {
    uint32_t rule;
    Links links;
    std::vector<int32_t> tails;  // frames whose links are this one's, too
    int32_t number = kUnknown;   // once it is finished
  };
  std::vector<Link> work_;
  std::vector<Link> kept_;
  std::vector<Called> called_;
  std::vector<std::pair<uint64_t, int32_t>> called_for_;  // by rule: in which close(), its number
  struct Seen {
    uint64_t when = 0;
    int32_t frame = 0;  // the first; more lie in more_seen_
    bool more = false;
  };
  std::vector<Seen> seen_;  // by place
  std::vector<Link> more_seen_;
  uint64_t now_ = 0;
};

}  // namespace outboard::grammar
