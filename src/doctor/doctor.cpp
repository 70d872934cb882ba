#include "doctor/doctor.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "devices/amd/driver/rest.h"
#include "doctor/diagnoses.h"
#include "support/error.h"

namespace outboard::doctor {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

Finding finding_of(std::string_view step, const Error& error, double milliseconds) {
  const Diagnosis& what = diagnose(error);
  std::string todo(what.todo.empty() ? error.hint() : what.todo);
  return {std::string(step),
          Verdict::kBad,
          std::string(what.name),
          error.message(),
          std::string(what.meaning),
          std::move(todo),
          milliseconds};
}

// Of the card that answers; without one, the first of those that are driven.
const hardware::amd::Chip& chip_of(link::Link* link, const driver::BootOptions& boot) {
  try {
    if (link != nullptr) return driver::chip_of(*link, boot.chips);
  } catch (const Error&) {  // what comes after the firmware says so
  }
  return *boot.chips.front();
}

void examine_firmware(const driver::BootOptions& boot, const hardware::amd::Chip& chip,
                      Examination& out) {
  out.step("firmware", [&]() -> std::string {
    if (!boot.images.empty()) {
      driver::Firmware::load(boot.images, chip, "images in memory");
      return fmt::format("{} made-up images, built in", boot.images.size());
    }
    const auto folder = driver::find_firmware(
        boot.firmware.empty() ? driver::system_firmware_folders() : boot.firmware, chip);
    driver::Firmware::load(driver::read_firmware(folder, chip), chip, folder.string());
    return fmt::format("{} images in {}", driver::firmware_files(chip).size(), folder.string());
  });
}

}  // namespace

std::string_view words(Verdict verdict) {
  switch (verdict) {
    case Verdict::kGood:
      return "ok";
    case Verdict::kNote:
      return "note";
    case Verdict::kWarning:
      return "warning";
    case Verdict::kBad:
      return "bad";
  }
  return {};
}

bool Examination::step(std::string_view name, const std::function<std::string()>& body) {
  const auto start = Clock::now();
  try {
    std::string seen = body();
    add(name, Verdict::kGood, "ok", std::move(seen), since(start));
    return true;
  } catch (const Error& e) {
    add(finding_of(name, e, since(start)));
  } catch (const std::exception& e) {
    add(finding_of(name, Error(e.what()), since(start)));
  }
  return false;
}

void Examination::add(std::string_view name, Verdict verdict, std::string_view diagnosis,
                      std::string seen, double milliseconds) {
  const Diagnosis& what = doctor::diagnosis(diagnosis);
  add({std::string(name), verdict, std::string(diagnosis), std::move(seen),
       std::string(what.meaning), std::string(what.todo), milliseconds});
}

void Examination::add(Finding finding) {
  findings_.push_back(std::move(finding));
  if (on_finding_) on_finding_(findings_.back());
}

bool Examination::is_healthy() const {
  return std::none_of(findings_.begin(), findings_.end(),
                      [](const Finding& f) { return f.verdict == Verdict::kBad; });
}

Examination examine(const DoctorOptions& options) {
  Examination out(options.on_finding);
  if (options.commands) examine_mac(options.commands, options.connect.app.program, out);
  std::unique_ptr<link::Link> link;
  // Where a layer below is bad, the server is asked all the same: its answer may say more. Nothing
  // is started or booted then.
  out.step("server", [&] {
    link = options.open ? options.open() : link::connect(options.connect);
    return link->name() + " answers";
  });
  examine_firmware(options.boot, chip_of(link.get(), options.boot), out);
  if (!link || !examine_bus(*link, out) || !out.is_healthy() || options.read_only) return out;
  if (!examine_card(*link, options.boot, out) || !options.more) return out;
  try {
    options.more(std::move(link), out);
  } catch (const Error& e) {
    out.add(finding_of("kernels", e, 0));
  }
  return out;
}

}  // namespace outboard::doctor
