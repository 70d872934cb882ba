// The card at work: boot stage by stage, memory, copies, queues, interrupts, rest.
#include <algorithm>
#include <chrono>
#include <optional>
#include <random>

#include <fmt/ranges.h>
#include "doctor/diagnoses.h"
#include "doctor/doctor.h"

#include "hardware/amd/dwords.h"
#include "hardware/amd/navi31/pm4_writer.h"
#include "support/error.h"

namespace outboard::doctor {
namespace {

using hardware::amd::append;
using hardware::amd::high;
using hardware::amd::low;
using Clock = std::chrono::steady_clock;
using driver::Buffer;
using driver::Card;
using driver::CopyQueue;

constexpr uint64_t kTestBytes = uint64_t{32} << 20;

double since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// What the driver noted and went on with, from number `told` on.
void tell_notes(const Card& card, std::string_view step, size_t& told, Examination& out) {
  const std::vector<std::string>& notes = card.notes();
  for (; told < notes.size(); ++told) {
    const Diagnosis& what = diagnose(Error(notes[told]));
    const bool harmless = what.name == "rlc.incomplete" || what.name == "firmware.partial" ||
                          what.name == "card.slow";
    out.add(step, harmless ? Verdict::kNote : Verdict::kWarning, what.name, notes[told]);
  }
}

// Boots, each stage a finding. Null: it did not come up.
std::unique_ptr<Card> boot_card(link::Link& link, driver::BootOptions boot, Examination& out) {
  std::string stage;
  auto start = Clock::now();
  const auto finish_stage = [&] {
    if (stage.empty()) return;
    const std::string step = "boot: " + stage;
    if (stage.ends_with("reset")) {
      out.add(step, Verdict::kWarning, "card.dirty", "the card was still running", since(start));
    } else {
      out.add(step, Verdict::kGood, "ok", "done", since(start));
    }
    stage.clear();
  };
  boot.cold = true;  // the whole way is to be seen
  boot.on_stage = [&, outer = boot.on_stage](std::string_view next) {
    finish_stage();
    if (outer) outer(next);
    stage = next;
    start = Clock::now();
  };
  std::unique_ptr<Card> card;
  try {
    card = std::make_unique<Card>(link, boot);
  } catch (const Error& e) {
    const std::string step = "boot: " + stage;
    out.step(step, [&]() -> std::string { throw e; });
    return nullptr;
  }
  finish_stage();
  out.add("booted", Verdict::kGood, "ok",
          fmt::format("{}: {} MiB, {} compute units of {}", card->facts().name,
                      card->facts().vram_bytes >> 20, card->facts().compute_units,
                      card->facts().die_units));
  return card;
}

void fail_where_different(std::span<const std::byte> wrote, std::span<const std::byte> read) {
  const auto differs = std::mismatch(wrote.begin(), wrote.end(), read.begin());
  if (differs.first == wrote.end()) return;
  const auto at = static_cast<size_t>(differs.first - wrote.begin());
  throw Error(
      fmt::format("what was written and what is read differ from byte {} on: {:#04x} became "
                  "{:#04x}",
                  at, static_cast<uint8_t>(wrote[at]), static_cast<uint8_t>(read[at])));
}

// Random bytes and their complement, so that every bit is both; and the times that it took.
void test_memory(Card& card, Examination& out) {
  double up = 0, down = 0;
  const Buffer buffer = card.memory().allocate(kTestBytes, "memory test");
  const bool good = out.step("memory", [&] {
    card.test_doorbells();
    std::vector<std::byte> data(kTestBytes), back(kTestBytes);
    std::mt19937_64 random(1);
    for (size_t i = 0; i < data.size(); i += 8) {
      const uint64_t value = random();
      std::copy_n(reinterpret_cast<const std::byte*>(&value), 8, &data[i]);
    }
    for (int pass = 0; pass < 2; ++pass) {
      auto start = Clock::now();
      card.upload(buffer, 0, data);
      up = since(start);
      start = Clock::now();
      card.download(buffer, 0, back);
      down = since(start);
      fail_where_different(data, back);
      for (std::byte& byte : data) byte = ~byte;
    }
    return fmt::format("{} MiB of random bits and their complement came back whole",
                       kTestBytes >> 20);
  });
  card.memory().free(buffer);
  if (!good) return;
  const auto rate = [](double milliseconds) {
    return static_cast<double>(kTestBytes) / 1e6 / milliseconds;
  };
  out.add("copies", Verdict::kGood, "ok",
          fmt::format("{:.2f} GB/s to the card, {:.2f} GB/s back", rate(up), rate(down)));
}

// v_mov_b32 v0, 7; v_mov_b32 v1, 0; global_store_b32 v1, v0, s[0:1]; s_endpgm.
const std::vector<uint32_t> kStoreSeven = {0x7e000287, 0x7e020280, 0xdc6a0000, 0x00000001,
                                           0xbfb00000};

void test_compute(Card& card, Examination& out) {
  out.step("compute queue", [&]() -> std::string {
    const Buffer code = card.memory().allocate(4096, "test code");
    const Buffer data = card.memory().allocate(4096, "test data");
    card.upload(code, 0, std::as_bytes(std::span(kStoreSeven)));
    hw::pm4::Launch launch;
    launch.program = code.address;
    launch.rsrc2 = 16 << 1;  // user SGPRs: two are read, and gfx1100 wants 16 loaded
    launch.user_data = {low(data.address), high(data.address)};
    launch.user_data.resize(16);
    std::vector<uint32_t> stream = hw::pm4::acquire({true, true, true, true});
    for (const auto& part : {hw::pm4::dispatch(launch), hw::pm4::barrier()}) append(stream, part);
    card.wait(card.compute(), card.compute().submit(stream));
    std::array<std::byte, 4> result{};
    card.download(data, 0, result);
    const std::array<std::byte, 4> seven = {std::byte{7}};
    fail_where_different(seven, result);
    return "a kernel of four instructions stored its number";
  });
}

void test_interrupts(Card& card, Examination& out) {
  out.step("reports", [&]() -> std::string {
    const std::vector<std::string> lines = card.take_interrupts();
    if (lines.empty()) return "the card reports nothing out of the ordinary";
    throw Error(fmt::format("the card reports: {}", fmt::join(lines, "; ")));
  });
  out.step("interrupts", [&]() -> std::string {
    if (!card.interrupts_arrive()) throw Error("the interrupt that was asked for did not arrive");
    return "arrive";
  });
}

}  // namespace

bool examine_card(link::Link& link, const driver::BootOptions& boot, Examination& out) {
  const std::unique_ptr<Card> card = boot_card(link, boot, out);
  if (!card) return false;
  size_t told = 0;
  tell_notes(*card, "boot", told, out);
  test_memory(*card, out);
  if (out.is_healthy()) test_compute(*card, out);
  if (out.is_healthy()) test_interrupts(*card, out);
  tell_notes(*card, "work", told, out);
  out.step("rest", [&] {
    card->finalize();
    return "bus mastering off";
  });
  tell_notes(*card, "rest", told, out);
  return out.is_healthy();
}

}  // namespace outboard::doctor
