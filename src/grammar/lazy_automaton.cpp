#include "grammar/lazy_automaton.h"

#include <algorithm>

namespace outboard::grammar {
namespace {

constexpr int32_t kNothing = 0;  // the frame without links
constexpr int32_t kBottom = 1;   // the root's: the text has matched

// Numbers of 4 bytes for what follows each byte, and about as much again for the states.
constexpr size_t kMaxTable = 1 << 20;

}  // namespace

size_t LazyAutomaton::LinksHash::operator()(const Links& links) const {
  uint64_t h = links.size();
  for (const Link& link : links) {
    h ^= uint64_t{link.place} << 32 | static_cast<uint32_t>(link.frame);
    h *= 0x9e3779b97f4a7c15U;  // the golden ratio, which spreads the bits
    h ^= h >> 29;
  }
  return h;
}

LazyAutomaton::LazyAutomaton(std::shared_ptr<const Grammar> grammar)
    : grammar_(std::move(grammar)),
      classes_(grammar_->classes()),
      called_for_(grammar_->rules().size()),
      seen_(grammar_->states()) {
  clear();
  ++now_;
  add(grammar_->root().start, kBottom);
  start_ = close();
}

void LazyAutomaton::clear() {
  frames_.clear();
  frame_numbers_.clear();
  states_.clear();
  state_numbers_.clear();
  next_.clear();
  frames_.push_back({{}, 0});
  frames_.push_back({{{grammar_->accepted(), kNothing}}, 1});
  frame_numbers_[frames_[kBottom].links] = kBottom;
}

bool LazyAutomaton::can_end(int32_t state) const {
  // Places are sorted, and this is the last of all.
  return states_[static_cast<size_t>(state)].back().place == grammar_->accepted();
}

bool LazyAutomaton::must_end(int32_t state) const {
  return states_[static_cast<size_t>(state)].size() == 1 && can_end(state);
}

int32_t LazyAutomaton::forget_others(int32_t state) {
  if (next_.size() < kMaxTable && frames_.size() < kMaxTable / 8) return state;
  const Links places = states_[static_cast<size_t>(state)];
  const std::vector<Frame> old = std::move(frames_);
  clear();
  std::vector<int32_t> number(old.size(), kUnknown);
  number[kNothing] = kNothing;
  number[kBottom] = kBottom;
  // A frame's links lead to frames with lower numbers.
  std::vector<bool> used(old.size());
  for (const Link& place : places) used[static_cast<size_t>(place.frame)] = true;
  for (size_t i = old.size(); i-- > 0;)
    if (used[i])
      for (const Link& link : old[i].links) used[static_cast<size_t>(link.frame)] = true;
  const auto renumbered = [&](Links links) {
    for (Link& link : links) link.frame = number[static_cast<size_t>(link.frame)];
    return links;
  };
  for (size_t i = kBottom + 1; i < old.size(); ++i)
    if (used[i]) number[i] = frame_of(renumbered(old[i].links));
  ++generation_;
  ++now_;
  add(grammar_->root().start, kBottom);
  start_ = close();
  return state_of(renumbered(places));
}

int32_t LazyAutomaton::make_next(int32_t state, size_t byte_class) {
  const uint8_t byte = grammar_->example_of(byte_class);
  ++now_;
  for (const Link& place : states_[static_cast<size_t>(state)])
    for (const Grammar::ByteEdge& e : grammar_->bytes(place.place))
      if (e.first <= byte && byte <= e.last) add(e.target, place.frame);
  const int32_t to = close();
  next_[static_cast<size_t>(state) * classes_ + byte_class] = to;
  return to;
}

void LazyAutomaton::add(uint32_t place, int32_t frame) {
  Seen& seen = seen_[place];
  if (seen.when != now_) {
    seen = {now_, frame, false};
  } else {
    if (seen.frame == frame) return;
    const Link link{place, frame};
    if (seen.more && std::ranges::find(more_seen_, link) != more_seen_.end()) return;
    seen.more = true;
    more_seen_.push_back(link);
  }
  work_.push_back({place, frame});
}

// The state of all that has been added and of what is reached from there without reading.
int32_t LazyAutomaton::close() {
  while (!work_.empty()) {
    const Link at = work_.back();
    work_.pop_back();
    visit(at.place, at.frame);
  }
  Links places;
  for (const Link& link : kept_)
    if (const int32_t frame = finished(link.frame); frame >= 0)
      places.push_back({link.place, frame});
  kept_.clear();
  called_.clear();
  more_seen_.clear();
  if (places.empty()) return kDead;
  unite(places);
  return state_of(std::move(places));
}

void LazyAutomaton::visit(uint32_t place, int32_t frame) {
  // A rule that was called from here and has read nothing: its callers passed it by (nullable).
  if (grammar_->is_end(place) && frame >= 0)
    for (const Link& link : frames_[static_cast<size_t>(frame)].links) add(link.place, link.frame);
  if (!grammar_->bytes(place).empty() || place == grammar_->accepted())
    kept_.push_back({place, frame});
  for (const uint32_t to : grammar_->free(place)) add(to, frame);
  for (const Grammar::Call& call : grammar_->calls(place)) {
    const Grammar::Rule& rule = grammar_->rules()[call.rule];
    if (rule.nullable) add(call.target, frame);
    auto& [when, number] = called_for_[call.rule];
    if (when != now_) {
      when = now_;
      number = static_cast<int32_t>(called_.size());
      called_.push_back({call.rule, {}, {}});
      add(rule.start, -1 - number);
    }
    Called& called = called_[static_cast<size_t>(number)];
    if (grammar_->only_ends(call.target))
      called.tails.push_back(frame);
    else
      called.links.push_back({call.target, frame});
  }
}

// Those that are called lead to those that called them, and never back: no rule is left-recursive.
int32_t LazyAutomaton::finished(int32_t frame) {
  if (frame >= 0) return frame;
  const auto at = static_cast<size_t>(-1 - frame);
  if (called_[at].number != kUnknown) return called_[at].number;
  Links links;
  for (const Link& link : called_[at].links)
    if (const int32_t f = finished(link.frame); f >= 0) links.push_back({link.place, f});
  for (const int32_t tail : called_[at].tails)
    if (const int32_t f = finished(tail); f >= 0) {
      const Links& more = frames_[static_cast<size_t>(f)].links;
      links.insert(links.end(), more.begin(), more.end());
    }
  return called_[at].number = links.empty() ? -1 : frame_of(std::move(links));
}

// One link a place.
void LazyAutomaton::unite(Links& links) {
  std::ranges::sort(links);
  const auto same = std::ranges::unique(links);
  links.erase(same.begin(), same.end());
  size_t out = 0;
  for (size_t i = 0; i < links.size();) {
    size_t end = i + 1;
    while (end < links.size() && links[end].place == links[i].place) ++end;
    Link link = links[i];
    if (end > i + 1) {
      Links all;
      for (size_t k = i; k < end; ++k) {
        const Links& more = frames_[static_cast<size_t>(links[k].frame)].links;
        all.insert(all.end(), more.begin(), more.end());
      }
      link.frame = frame_of(std::move(all));
    }
    links[out++] = link;
    i = end;
  }
  links.resize(out);
}

int32_t LazyAutomaton::frame_of(Links links) {
  unite(links);
  const auto known = frame_numbers_.find(links);
  if (known != frame_numbers_.end()) return known->second;
  uint32_t depth = 0;
  for (const Link& link : links)
    depth = std::max(depth, frames_[static_cast<size_t>(link.frame)].depth);
  if (depth >= kMaxDepth) return -1;
  const auto number = static_cast<int32_t>(frames_.size());
  frames_.push_back({links, depth + 1});
  frame_numbers_.emplace(std::move(links), number);
  return number;
}

int32_t LazyAutomaton::state_of(Links places) {
  const auto [at, is_new] =
      state_numbers_.try_emplace(std::move(places), static_cast<int32_t>(states_.size()));
  if (is_new) {
    states_.push_back(at->first);
    next_.resize(next_.size() + classes_, kUnknown);
  }
  return at->second;
}

}  // namespace outboard::grammar
