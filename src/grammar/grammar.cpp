#include "grammar/grammar.h"

#include <algorithm>

#include "support/error.h"

namespace outboard::grammar {
namespace {

constexpr uint32_t kNone = ~uint32_t{0};

}  // namespace

std::string token_bytes(std::string_view text) {
  std::string bytes = "\xFF";
  bytes += text;
  return bytes + '\xFE';
}

uint32_t Builder::add_rule() {
  const uint32_t start = state();
  rules_.push_back({start, state()});
  return static_cast<uint32_t>(rules_.size()) - 1;
}

uint32_t Builder::state() {
  if (states_.size() >= kMaxStates) fail("the grammar has more than {} states", kMaxStates);
  states_.emplace_back();
  return static_cast<uint32_t>(states_.size()) - 1;
}

void Builder::count_edge() {
  if (++edges_ > kMaxEdges) fail("the grammar has more than {} edges", kMaxEdges);
}

void Builder::free(uint32_t from, uint32_t to) {
  count_edge();
  states_[from].free.push_back(to);
}

void Builder::bytes(uint32_t from, uint8_t first, uint8_t last, uint32_t to) {
  count_edge();
  states_[from].bytes.push_back({first, last, to});
}

void Builder::call(uint32_t from, uint32_t rule, uint32_t to) {
  count_edge();
  states_[from].calls.push_back({rule, to});
}

void Builder::literal(uint32_t from, std::string_view text, uint32_t to) {
  if (text.empty()) return free(from, to);
  for (size_t i = 0; i < text.size(); ++i) {
    const uint32_t next = i + 1 == text.size() ? to : state();
    const auto byte = static_cast<uint8_t>(text[i]);
    bytes(from, byte, byte, next);
    from = next;
  }
}

void Builder::chars(uint32_t from, const CharSet& set, uint32_t to) {
  // The first characters whose UTF-8 is a byte longer.
  static constexpr std::array<uint32_t, 5> kFirst = {0, 0x80, 0x800, 0x10000, kLastChar + 1};
  std::array<uint32_t, 3> rest = {kNone, kNone, kNone};
  for (const CharRange& r : set)
    for (int length = 0; length < 4; ++length) {
      const uint32_t first = std::max(r.first, kFirst[static_cast<size_t>(length)]);
      const uint32_t last = std::min(r.last, kFirst[static_cast<size_t>(length) + 1] - 1);
      if (first > last) continue;
      static constexpr std::array<uint32_t, 4> kLead = {0, 0xc0, 0xe0, 0xf0};
      // The lead byte's mark stands above the character's own bits.
      const uint32_t mark = kLead[static_cast<size_t>(length)] << (6 * length);
      byte_sequences(from, first | mark, last | mark, length, to, rest);
    }
}

// From first to last, of which the low `length` groups of 6 bits are a continuation byte each and
// what is above them is one byte. rest[n - 1]: the state that reads any n continuation bytes on the
// way to `to`.
void Builder::byte_sequences(uint32_t from, uint32_t first, uint32_t last, int length, uint32_t to,
                             std::array<uint32_t, 3>& rest) {
  const auto byte = [&](uint32_t c) { return static_cast<uint8_t>(c >> (6 * length)); };
  if (length == 0) return bytes(from, byte(first), byte(last), to);
  const uint32_t low = (uint32_t{1} << (6 * length)) - 1;
  const auto one_lead = [&](uint32_t f, uint32_t l) {
    const uint32_t next = state();
    bytes(from, byte(f), byte(f), next);
    const uint32_t mark = uint32_t{0x80} << (6 * (length - 1));
    byte_sequences(next, (f & low) | mark, (l & low) | mark, length - 1, to, rest);
  };
  if (byte(first) == byte(last) && ((first & low) != 0 || (last & low) != low))
    return one_lead(first, last);
  if ((first & low) != 0) {
    one_lead(first, first | low);
    first = (first | low) + 1;
  }
  if ((last & low) != low) {
    one_lead(last & ~low, last);
    last = (last & ~low) - 1;
  }
  if (first > last) return;
  uint32_t next = to;
  for (size_t n = 0; n < static_cast<size_t>(length); ++n) {
    if (rest[n] == kNone) {
      rest[n] = state();
      bytes(rest[n], 0x80, 0xbf, next);
    }
    next = rest[n];
  }
  bytes(from, byte(first), byte(last), next);
}

std::vector<bool> Builder::nullable_rules() const {
  const std::vector<bool> ends = states_that_end(false);
  std::vector<bool> nullable(rules_.size());
  for (uint32_t rule = 0; rule < rules_.size(); ++rule) nullable[rule] = ends[rules_[rule].start];
  return nullable;
}

std::optional<uint32_t> Builder::left_recursive() const {
  const std::vector<bool> nullable = nullable_rules();
  // Which rules a rule may begin with; then a cycle among them, depth first.
  std::vector<std::vector<uint32_t>> begins(rules_.size());
  std::vector<uint32_t> seen(states_.size(), kNone);
  for (uint32_t rule = 0; rule < rules_.size(); ++rule) {
    std::vector<uint32_t> stack{rules_[rule].start};
    while (!stack.empty()) {
      const uint32_t at = stack.back();
      stack.pop_back();
      if (seen[at] == rule) continue;
      seen[at] = rule;
      for (const uint32_t to : states_[at].free) stack.push_back(to);
      for (const Grammar::Call& call : states_[at].calls) {
        begins[rule].push_back(call.rule);
        if (nullable[call.rule]) stack.push_back(call.target);
      }
    }
  }
  enum class Mark : uint8_t { kNew, kOpen, kDone };
  std::vector<Mark> marks(rules_.size(), Mark::kNew);
  struct Frame {
    uint32_t rule;
    size_t next;
  };
  for (uint32_t root = 0; root < rules_.size(); ++root) {
    if (marks[root] != Mark::kNew) continue;
    std::vector<Frame> path{{root, 0}};
    marks[root] = Mark::kOpen;
    while (!path.empty()) {
      Frame& frame = path.back();
      if (frame.next == begins[frame.rule].size()) {
        marks[frame.rule] = Mark::kDone;
        path.pop_back();
        continue;
      }
      const uint32_t to = begins[frame.rule][frame.next++];
      if (marks[to] == Mark::kOpen) return to;
      if (marks[to] != Mark::kNew) continue;
      marks[to] = Mark::kOpen;
      path.push_back({to, 0});
    }
  }
  return std::nullopt;
}

// Backward from the rules' ends.
std::vector<bool> Builder::states_that_end(bool reading) const {
  struct Back {
    uint32_t from;
    uint32_t rule;  // kNone: no call
  };
  std::vector<std::vector<Back>> back(states_.size());
  for (uint32_t at = 0; at < states_.size(); ++at) {
    if (reading)
      for (const Grammar::ByteEdge& e : states_[at].bytes) back[e.target].push_back({at, kNone});
    for (const uint32_t to : states_[at].free) back[to].push_back({at, kNone});
    for (const Grammar::Call& c : states_[at].calls) back[c.target].push_back({at, c.rule});
  }
  std::vector<uint32_t> rule_of(states_.size(), kNone);
  for (uint32_t rule = 0; rule < rules_.size(); ++rule) rule_of[rules_[rule].start] = rule;
  std::vector<std::vector<uint32_t>> waiting(rules_.size());  // states that call the rule
  std::vector<bool> ends(states_.size());
  std::vector<uint32_t> work;
  const auto mark = [&](uint32_t state) {
    if (ends[state]) return;
    ends[state] = true;
    work.push_back(state);
  };
  for (const Rule& rule : rules_) mark(rule.end);
  while (!work.empty()) {
    const uint32_t at = work.back();
    work.pop_back();
    if (rule_of[at] != kNone)
      for (const uint32_t caller : waiting[rule_of[at]]) mark(caller);
    for (const Back& b : back[at])
      if (b.rule == kNone || ends[rules_[b.rule].start])
        mark(b.from);
      else
        waiting[b.rule].push_back(b.from);
  }
  return ends;
}

// Backward over free edges from the ends, as far as nothing else can happen.
void Builder::find_ends(Grammar& g) const {
  std::vector<std::vector<uint32_t>> back(g.states());
  std::vector<size_t> left(g.states());  // free edges that may lead elsewhere
  for (uint32_t at = 0; at < g.states(); ++at) {
    left[at] = g.free(at).size();
    for (const uint32_t to : g.free(at)) back[to].push_back(at);
  }
  std::vector<uint32_t> work;
  for (const Rule& rule : rules_) {
    g.flags_[rule.end] = {true, true};
    work.push_back(rule.end);
  }
  while (!work.empty()) {
    const uint32_t to = work.back();
    work.pop_back();
    for (const uint32_t at : back[to]) {
      if (--left[at] > 0 || !g.bytes(at).empty() || !g.calls(at).empty()) continue;
      g.flags_[at].only_ends = true;
      work.push_back(at);
    }
  }
}

std::shared_ptr<const Grammar> Builder::build(uint32_t root) const {
  const std::vector<bool> useful = states_that_end(true);
  if (!useful[rules_[root].start]) return nullptr;
  const std::vector<bool> nullable = nullable_rules();
  const std::shared_ptr<Grammar> g(new Grammar);
  g->root_ = root;
  for (uint32_t rule = 0; rule < rules_.size(); ++rule)
    g->rules_.push_back({rules_[rule].start, rules_[rule].end, nullable[rule]});

  std::array<bool, 257> begins{};  // bytes at which a class begins
  begins[0] = true;
  for (uint32_t at = 0; at < states_.size(); ++at) {
    g->offsets_.push_back({static_cast<uint32_t>(g->bytes_.size()),
                           static_cast<uint32_t>(g->free_.size()),
                           static_cast<uint32_t>(g->calls_.size())});
    if (!useful[at]) continue;
    for (const Grammar::ByteEdge& e : states_[at].bytes) {
      if (!useful[e.target]) continue;
      g->bytes_.push_back(e);
      begins[e.first] = begins[size_t{e.last} + 1] = true;
    }
    for (const uint32_t to : states_[at].free)
      if (useful[to]) g->free_.push_back(to);
    for (const Grammar::Call& c : states_[at].calls)
      if (useful[c.target] && useful[rules_[c.rule].start]) g->calls_.push_back(c);
  }
  for (int last = 0; last < 2; ++last)  // of the accepted state, which has no edges
    g->offsets_.push_back({static_cast<uint32_t>(g->bytes_.size()),
                           static_cast<uint32_t>(g->free_.size()),
                           static_cast<uint32_t>(g->calls_.size())});
  for (size_t byte = 0; byte < 256; ++byte) {
    if (begins[byte]) g->class_example_.push_back(static_cast<uint8_t>(byte));
    g->class_of_[byte] = static_cast<uint8_t>(g->class_example_.size() - 1);
  }

  g->flags_.resize(g->states());
  find_ends(*g);
  return g;
}

}  // namespace outboard::grammar
