#include "simulator/cost/card_work.h"

#include <fmt/format.h>

#include <algorithm>

#include "support/progress.h"

namespace outboard::simulator::cost {
namespace {

double real(uint64_t n) { return static_cast<double>(n); }

uint64_t other_instructions(const compute::Counters& c) {
  return c.instructions() - c.valu - c.dot - c.wmma - c.transcendental - c.vmem_load - c.lds;
}

}  // namespace

CardWork difference(const card::CardModel& model, const card::CardCounters& before,
                    const card::CardCounters& after, int tokens, int steps) {
  CardWork w;
  w.card = &model;
  w.tokens = tokens;
  w.steps = steps;
  w.round_trips = after.config_reads - before.config_reads + after.resets - before.resets +
                  after.system_regions - before.system_regions;
  w.one_way = after.config_writes - before.config_writes;
  for (int bar = 0; bar < 6; ++bar) {
    w.round_trips += after.mmio_reads[bar] - before.mmio_reads[bar];
    w.one_way += after.mmio_writes[bar] - before.mmio_writes[bar];
    w.message_bytes += after.mmio_read_bytes[bar] - before.mmio_read_bytes[bar] +
                       after.mmio_write_bytes[bar] - before.mmio_write_bytes[bar];
  }
  w.dma_read_bytes = after.dma_read_bytes - before.dma_read_bytes;
  w.dma_write_bytes = after.dma_write_bytes - before.dma_write_bytes;
  w.compute = after.compute;
  w.compute -= before.compute;
  return w;
}

double link_seconds(const CardWork& work, const LinkModel& link) {
  return real(work.round_trips) * (kAnsweredSeconds + link.round_trip) +
         real(work.one_way) * kMessageSeconds + work.steps * link.round_trip +
         real(work.dma_read_bytes + work.message_bytes) / link.to_card +
         real(work.dma_write_bytes) / link.from_card;
}

ModelledTime model_time(const CardWork& work, const LinkModel& link) {
  ModelledTime t;
  for (const compute::Case of : {compute::kBest, compute::kLikely, compute::kWorst})
    t.card[of] = seconds_of(work.launches, of);
  for (const LaunchKind& kind : work.launches)
    t.gaps += kind.stands_for * kind.sum.gap[compute::kLikely];
  t.link = link_seconds(work, link);
  return t;
}

nlohmann::ordered_json to_json(const CardWork& w, uint64_t wanted_bytes) {
  const compute::Counters& c = w.compute;
  const ModelledTime t = model_time(w);
  nlohmann::ordered_json launches = nlohmann::ordered_json::array();
  for (const LaunchKind& kind : w.launches) launches.push_back(to_json(kind));
  return {{"tokens", w.tokens},
          {"round_trips", w.round_trips},
          {"one_way_messages", w.one_way},
          {"message_bytes", w.message_bytes},
          {"dma_bytes", w.dma_bytes()},
          {"system_bytes_read", c.system_read_bytes},  // by kernels
          {"dispatches", c.dispatches},
          {"waves", c.waves},
          {"instructions",
           {{"all", c.instructions()},
            {"valu", c.valu},
            {"dot", c.dot},
            {"wmma", c.wmma},
            {"transcendental", c.transcendental},
            {"lds", c.lds},
            {"memory_load", c.vmem_load},
            {"other", other_instructions(c)}}},
          {"lds_bank_conflicts", c.lds_bank_conflicts},
          {"vram_bytes_past_gl2", c.gl2_miss_bytes},
          {"vram_bytes_read", c.vram_read_bytes},
          {"wanted_bytes", wanted_bytes},
          {"modelled_seconds",
           {{"best", t.total(compute::kBest)},
            {"likely", t.total()},
            {"worst", t.total(compute::kWorst)},
            {"dispatch_gaps", t.gaps},
            {"link", t.link}}},
          {"modelled_tokens_per_second",
           {{"best", w.tokens / t.total(compute::kBest)},
            {"likely", w.tokens / t.total()},
            {"worst", w.tokens / t.total(compute::kWorst)}}},
          {"launches", std::move(launches)}};
}

std::string to_text(const std::string& name, const CardWork& w, uint64_t wanted_bytes,
                    const std::string& unit) {
  const compute::Counters& c = w.compute;
  const ModelledTime t = model_time(w);
  const double n = std::max(1, w.tokens);
  std::string out = fmt::format("{}, a {} of {}:\n", name, unit, w.tokens);
  out += fmt::format("  link          {:.2f} round trips, {:.3f} one-way messages, {} by DMA\n",
                     real(w.round_trips) / n, real(w.one_way) / n,
                     format_bytes(static_cast<uint64_t>(real(w.dma_bytes()) / n)));
  out += fmt::format("  dispatches    {:.1f}\n", real(c.dispatches) / n);
  out += fmt::format(
      "  instructions  {:.2f} M: {:.2f} vector, {:.2f} dot, {:.3f} WMMA, {:.2f} LDS, {:.2f} loads, "
      "{:.2f} other\n",
      real(c.instructions()) / n / 1e6, real(c.valu + c.transcendental) / n / 1e6,
      real(c.dot) / n / 1e6, real(c.wmma) / n / 1e6, real(c.lds) / n / 1e6,
      real(c.vmem_load) / n / 1e6, real(other_instructions(c)) / n / 1e6);
  const double wanted = std::max(1.0, real(wanted_bytes));
  out += fmt::format(
      "  VRAM          {} past GL2, {:.3f} times the {} that are needed; {:.3f} times past the "
      "Infinity Cache\n",
      format_bytes(static_cast<uint64_t>(real(c.gl2_miss_bytes) / n)),
      real(c.gl2_miss_bytes) / wanted, format_bytes(static_cast<uint64_t>(wanted / n)),
      real(c.vram_read_bytes) / wanted);
  out += fmt::format(
      "  modelled      {:.1f} {}s/s ({:.1f} to {:.1f}); {:.3f} ms: launches {:.3f} with their gaps "
      "of {:.3f}, link {:.3f}\n",
      n / t.total(), unit, n / t.total(compute::kWorst), n / t.total(compute::kBest),
      t.total() / n * 1e3, t.card[compute::kLikely] / n * 1e3, t.gaps / n * 1e3, t.link / n * 1e3);
  return out + to_text(w.launches, std::max(1, w.steps));
}

}  // namespace outboard::simulator::cost
