#include "cli/recording.h"

#include <nlohmann/json.hpp>
#include <span>

#include "doctor/report.h"
#include "formats/zip_writer.h"
#include "support/error.h"
#include "support/files_in_use.h"
#include "support/notice.h"
#include "support/output_file.h"

namespace outboard::cli {

Scrubber scrubber_for(const std::string& device, const std::string& firmware) {
  Scrubber scrub = Scrubber::of_this_machine();
  scrub.add(firmware, "(firmware folder)");
  if (device.starts_with("remote:")) {
    const std::string rest = device.substr(device.find(':') + 1);
    scrub.add(rest.substr(0, rest.rfind(':')), "(server)");
  }
  if (device.starts_with("tinygpu:")) scrub.add(device.substr(device.find(':') + 1), "(socket)");
  return scrub;
}

void check_writable(const std::string& path, std::string_view option) {
  output_place(path);
  claim_output(path, option);
}

void write_recording(const std::string& path,
                     std::vector<std::pair<std::string, std::vector<std::byte>>> files,
                     link::Recording& recording) {
  std::vector<formats::ZipInput> members;
  for (auto& [name, bytes] : files) {
    formats::ZipInput& member = members.emplace_back();
    member.name = name;
    member.bytes = std::move(bytes);
  }
  formats::ZipInput& traffic = members.emplace_back();
  traffic.name = "traffic.bin";
  traffic.file = recording.finish();
  formats::write_zip(path, std::move(members));
}

void add_record_option(CLI::App& command, ModelOptions& options) {
  command
      .add_option("--record", options.record,
                  "write what passes over the card's link, prompts and answers (as token numbers) "
                  "included; `outboard sim replay` plays it")
      ->type_name("FILE");
}

namespace {

void write(const std::string& path, link::Recording& recording) {
  if (recording.is_empty()) {
    notice("outboard: nothing was recorded: no card was opened\n");
    return;
  }
  const nlohmann::ordered_json json = {{"about", "A recording of `outboard --record`."},
                                       {"format", 1},
                                       {"outboard", OUTBOARD_VERSION}};
  const std::string text = json.dump(2) + "\n";
  const auto bytes = std::as_bytes(std::span(text));
  std::vector<std::pair<std::string, std::vector<std::byte>>> files;
  files.emplace_back("report.json", std::vector<std::byte>(bytes.begin(), bytes.end()));
  write_recording(path, std::move(files), recording);
  notice("outboard: what passed over the link is in {}\n", path);
}

}  // namespace

void recorded(ModelOptions& options, const std::function<void()>& body) {
  if (options.record.empty()) return body();
  check_writable(options.record, "--record");
  options.open.recording = doctor::make_recording(scrubber_for(
      options.device, options.open.firmware.empty() ? "" : options.open.firmware[0].string()));
  try {
    body();
  } catch (...) {
    try {
      write(options.record, *options.open.recording);
    } catch (const Error& e) {  // the first error counts
      notice("outboard: {}\n", e.message());
    }
    throw;
  }
  write(options.record, *options.open.recording);
}

}  // namespace outboard::cli
