#include "grammar/char_dfa.h"

#include <algorithm>
#include <map>
#include <set>

#include "support/error.h"

namespace outboard::grammar {
namespace {

constexpr uint32_t kNone = ~uint32_t{0};

void check_size(size_t states) {
  if (states > CharDfa::kMaxStates)
    fail("the automaton of this text has more than {} states", CharDfa::kMaxStates);
}

uint32_t step(const CharDfa::State& state, uint32_t c) {
  const auto after = std::ranges::upper_bound(state.edges, c, {},
                                              [](const CharDfa::Edge& e) { return e.range.first; });
  if (after == state.edges.begin()) return kNone;
  const CharDfa::Edge& e = *std::prev(after);
  return c <= e.range.last ? e.target : kNone;
}

void add_edge(std::vector<CharDfa::Edge>& edges, CharRange range, uint32_t target) {
  if (!edges.empty() && edges.back().target == target && edges.back().range.last + 1 == range.first)
    edges.back().range.last = range.last;
  else
    edges.push_back({range, target});
}

// Both at once; accepts(in a, in b), where kNone is no state.
CharDfa product(const CharDfa& a, const CharDfa& b,
                const std::function<bool(bool, bool)>& accepts) {
  using Pair = std::pair<uint32_t, uint32_t>;
  CharDfa out;
  std::map<Pair, uint32_t> numbers;
  std::vector<Pair> pairs;
  const auto number = [&](const Pair& p) {
    const auto [at, is_new] = numbers.try_emplace(p, static_cast<uint32_t>(pairs.size()));
    if (is_new) pairs.push_back(p);
    check_size(pairs.size());
    return at->second;
  };
  number({a.is_empty() ? kNone : 0, b.is_empty() ? kNone : 0});
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto [in_a, in_b] = pairs[i];
    static const CharDfa::State kNowhere;
    const CharDfa::State& from_a = in_a == kNone ? kNowhere : a.states[in_a];
    const CharDfa::State& from_b = in_b == kNone ? kNowhere : b.states[in_b];
    CharDfa::State state;
    state.accepts = accepts(from_a.accepts, from_b.accepts);
    std::vector<uint32_t> borders;  // where an edge begins, or the gap after one
    for (const auto* from : {&from_a, &from_b})
      for (const CharDfa::Edge& e : from->edges) {
        borders.push_back(e.range.first);
        borders.push_back(e.range.last + 1);
      }
    std::ranges::sort(borders);
    borders.erase(std::ranges::unique(borders).begin(), borders.end());
    for (size_t k = 0; k + 1 < borders.size(); ++k) {
      const Pair to{step(from_a, borders[k]), step(from_b, borders[k])};
      if (to == Pair{kNone, kNone}) continue;
      add_edge(state.edges, {borders[k], borders[k + 1] - 1}, number(to));
    }
    out.states.push_back(std::move(state));
  }
  return trimmed(std::move(out));
}

}  // namespace

bool CharDfa::matches(std::span<const uint32_t> text) const {
  if (is_empty()) return false;
  uint32_t at = 0;
  for (const uint32_t c : text) {
    at = step(states[at], c);
    if (at == kNone) return false;
  }
  return states[at].accepts;
}

bool CharDfa::matches(std::string_view utf8) const { return matches(chars_of(utf8)); }

CharDfa intersection(const CharDfa& a, const CharDfa& b) {
  if (a.is_empty() || b.is_empty()) return {};
  return product(a, b, [](bool x, bool y) { return x && y; });
}
CharDfa difference(const CharDfa& a, const CharDfa& b) {
  return product(a, b, [](bool x, bool y) { return x && !y; });
}
CharDfa alternatives(const CharDfa& a, const CharDfa& b) {
  return product(a, b, [](bool x, bool y) { return x || y; });
}

CharDfa any_text() { return repeated(every_char(), 0, std::nullopt); }

CharDfa repeated(const CharSet& set, uint64_t least, std::optional<uint64_t> most) {
  if (most && *most < least) return {};
  const uint64_t last = most.value_or(least);
  check_size(last + 1);
  CharDfa out;
  for (uint64_t i = 0; i <= last; ++i) {
    CharDfa::State state;
    state.accepts = i >= least;
    if (i < last || !most)
      for (const CharRange& r : set)
        state.edges.push_back({r, static_cast<uint32_t>(std::min(i + 1, last))});
    out.states.push_back(std::move(state));
  }
  return trimmed(std::move(out));
}

CharDfa one_of(std::span<const std::vector<uint32_t>> texts) {
  CharNfa nfa;
  nfa.start = nfa.add();
  nfa.end = nfa.add();
  for (const std::vector<uint32_t>& text : texts) {
    uint32_t at = nfa.start;
    for (const uint32_t c : text) {
      const uint32_t next = nfa.add();
      nfa.chars(at, {{c, c}}, next);
      at = next;
    }
    nfa.free(at, nfa.end);
  }
  return determinized(nfa);
}

CharDfa trimmed(CharDfa dfa) {
  // What leads nowhere.
  const size_t count = dfa.states.size();
  std::vector<std::vector<uint32_t>> back(count);
  std::vector<uint32_t> work;
  std::vector<bool> useful(count);
  for (uint32_t i = 0; i < count; ++i) {
    for (const CharDfa::Edge& e : dfa.states[i].edges) back[e.target].push_back(i);
    if (!dfa.states[i].accepts) continue;
    useful[i] = true;
    work.push_back(i);
  }
  while (!work.empty()) {
    const uint32_t at = work.back();
    work.pop_back();
    for (const uint32_t from : back[at])
      if (!useful[from]) {
        useful[from] = true;
        work.push_back(from);
      }
  }
  if (count == 0 || !useful[0]) return {};
  // States alike: groups are split by where their edges lead until none is (Moore's algorithm).
  // Long chains would take as many rounds as they are long, and are what they should be already.
  constexpr size_t kMostWorthIt = 3000;
  std::vector<uint32_t> group(count, 0);
  for (uint32_t i = 0; i < count; ++i)
    group[i] = !useful[i] ? kNone : dfa.states[i].accepts ? 1 : 0;
  const auto edges_by_group = [&](uint32_t i) {
    std::vector<CharDfa::Edge> edges;
    for (const CharDfa::Edge& e : dfa.states[i].edges)
      if (group[e.target] != kNone) add_edge(edges, e.range, group[e.target]);
    return edges;
  };
  size_t groups = 0;
  bool settled = false;
  constexpr int kMaxRounds = 60;
  for (int round = 0; round < kMaxRounds && !settled && count <= kMostWorthIt; ++round) {
    std::map<std::vector<uint32_t>, uint32_t> numbers;
    std::vector<uint32_t> next(count, kNone);
    for (uint32_t i = 0; i < count; ++i) {
      if (!useful[i]) continue;
      std::vector<uint32_t> key{group[i]};
      for (const CharDfa::Edge& e : edges_by_group(i))
        key.insert(key.end(), {e.range.first, e.range.last, e.target});
      next[i] =
          numbers.try_emplace(std::move(key), static_cast<uint32_t>(numbers.size())).first->second;
    }
    settled = numbers.size() == groups;
    groups = numbers.size();
    group = std::move(next);
  }
  if (!settled)
    for (uint32_t i = 0, n = 0; i < count; ++i) group[i] = useful[i] ? n++ : kNone;

  // In the order in which they are reached; the first is state 0's.
  CharDfa out;
  std::map<uint32_t, uint32_t> numbers{{group[0], 0}};
  std::vector<uint32_t> order{0};
  for (size_t i = 0; i < order.size(); ++i) {
    CharDfa::State state;
    state.accepts = dfa.states[order[i]].accepts;
    for (const CharDfa::Edge& e : dfa.states[order[i]].edges) {
      if (!useful[e.target]) continue;
      const auto [at, is_new] =
          numbers.try_emplace(group[e.target], static_cast<uint32_t>(order.size()));
      if (is_new) order.push_back(e.target);
      add_edge(state.edges, e.range, at->second);
    }
    out.states.push_back(std::move(state));
  }
  return out;
}

// The sets of states of the NFA; of each, whether the text must have ended.
CharDfa determinized(const CharNfa& nfa) {
  using Places = std::set<std::pair<uint32_t, bool>>;
  const auto close = [&](const Places& from, bool at_begin) {
    Places out = from;
    std::vector<std::pair<uint32_t, bool>> work(from.begin(), from.end());
    while (!work.empty()) {
      const auto [at, ended] = work.back();
      work.pop_back();
      for (const CharNfa::Edge& e : nfa.states[at]) {
        if (e.kind == CharNfa::Edge::Kind::kChars) continue;
        if (e.kind == CharNfa::Edge::Kind::kBegin && !at_begin) continue;
        const std::pair<uint32_t, bool> to{e.target, ended || e.kind == CharNfa::Edge::Kind::kEnd};
        if (out.insert(to).second) work.push_back(to);
      }
    }
    return out;
  };
  CharDfa out;
  std::map<Places, uint32_t> numbers;
  std::vector<Places> order;
  const auto number = [&](Places places) {
    const auto [at, is_new] =
        numbers.try_emplace(std::move(places), static_cast<uint32_t>(order.size()));
    if (is_new) order.push_back(at->first);
    check_size(order.size());
    return at->second;
  };
  number(close({{nfa.start, false}}, true));
  size_t work = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    CharDfa::State state;
    std::vector<const CharNfa::Edge*> edges;
    std::vector<uint32_t> borders;
    for (const auto& [at, ended] : order[i]) {
      state.accepts |= at == nfa.end;
      if (ended) continue;
      for (const CharNfa::Edge& e : nfa.states[at]) {
        if (e.kind != CharNfa::Edge::Kind::kChars) continue;
        edges.push_back(&e);
        for (const CharRange& r : e.set) {
          borders.push_back(r.first);
          borders.push_back(r.last + 1);
        }
      }
    }
    std::ranges::sort(borders);
    borders.erase(std::ranges::unique(borders).begin(), borders.end());
    // Patterns that explode take long before they are too large.
    constexpr size_t kMaxWork = 20'000'000;
    work += borders.size() * (edges.size() + 1);
    if (work > kMaxWork) check_size(kMaxWork);
    for (size_t k = 0; k + 1 < borders.size(); ++k) {
      Places to;
      for (const CharNfa::Edge* e : edges)
        if (contains(e->set, borders[k])) to.insert({e->target, false});
      if (to.empty()) continue;
      add_edge(state.edges, {borders[k], borders[k + 1] - 1}, number(close(to, false)));
    }
    out.states.push_back(std::move(state));
  }
  return trimmed(std::move(out));
}

}  // namespace outboard::grammar
