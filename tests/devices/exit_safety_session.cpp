// A short session with a card, to be killed at any of its requests (exit_safety_test.cpp).
//   exit_safety_session SPEC [N [SIGNAL]]    dies by SIGNAL (9) before request N; prints how many
//                                            requests there were
//   exit_safety_session pci SYSFS ADDRESS    lets a card master the bus, shares memory, dies
//   exit_safety_session guard ...            what the session starts beside itself
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "devices/amd/driver/card.h"
#include "devices/amd/driver/rest.h"
#include "hardware/amd/dwords.h"
#include "hardware/amd/navi31/pm4_writer.h"
#include "hardware/amd/navi31/sdma_writer.h"
#include "link/connect.h"
#include "link/guard.h"
#include "link/linux_link.h"
#include "simulator/card/firmware_images.h"
#include "support/error.h"

namespace {

using namespace outboard;                        // NOLINT: a short program
using namespace outboard::devices::amd::driver;  // NOLINT
using hardware::amd::append;
using hardware::amd::high;
using hardware::amd::low;
namespace hw = outboard::hardware::amd::navi31;

// Counts what passes, and dies when it is time.
class Mortal : public link::Link {
 public:
  Mortal(link::Link& inner, uint64_t last, int signal)
      : inner_(inner), last_(last), signal_(signal) {}
  std::string name() const override { return inner_.name(); }
  bool is_open() override { return inner_.is_open(); }
  uint32_t config_read(uint32_t offset, uint32_t size) override {
    count();
    return inner_.config_read(offset, size);
  }
  void config_write(uint32_t offset, uint32_t value, uint32_t size) override {
    count();
    inner_.config_write(offset, value, size);
  }
  link::Bar bar(int index) override { return inner_.bar(index); }
  void read(int bar, link::BarOffset offset, std::span<std::byte> bytes) override {
    count();
    inner_.read(bar, offset, bytes);
  }
  void write(int bar, link::BarOffset offset, std::span<const std::byte> bytes) override {
    count();
    inner_.write(bar, offset, bytes);
  }
  std::unique_ptr<link::SystemRegion> share(uint64_t size, bool contiguous) override {
    count();
    return inner_.share(size, contiguous);
  }
  void reset() override { inner_.reset(); }
  void resize_bar(int index) override { inner_.resize_bar(index); }
  uint64_t requests() const { return requests_; }

 private:
  void count() {
    if (++requests_ == last_) std::raise(signal_);
  }
  link::Link& inner_;
  uint64_t last_, requests_ = 0;
  int signal_;
};

// One workgroup stores 7 to the address in s[0:1] (card_test.cpp).
const std::vector<uint32_t> kStoreSeven = {0x7e000287, 0x7e020280, 0xdc6a0000, 0x00000001,
                                           0xbfb00000};

// Work that goes on while the program is gone: copies into system memory, and a kernel.
void compute(Card& card) {
  constexpr uint64_t kBytes = 4 << 20;
  const Buffer data = card.memory().allocate(kBytes, "data");
  const Buffer code = card.memory().allocate(4096, "code");
  const SystemBuffer out = card.share(kBytes, "out");
  card.upload(code, 0, std::as_bytes(std::span(kStoreSeven)));
  Fence copied = 0;
  for (int i = 0; i < 8; ++i)
    copied = card.copies().submit(hw::sdma::copy(out.address, data.address, kBytes));
  hw::pm4::Launch launch;
  launch.program = code.address;
  launch.rsrc2 = 16 << 1;
  launch.user_data = {low(out.address), high(out.address)};
  launch.user_data.resize(16);
  std::vector<uint32_t> stream = hw::pm4::acquire({true, true, true, true});
  for (const auto& part : {hw::pm4::dispatch(launch), hw::pm4::barrier()}) append(stream, part);
  const Fence stored = card.compute().submit(stream);
  card.wait(card.copies(), copied);
  card.wait(card.compute(), stored);
}

int session(const std::string& spec, uint64_t last, int signal) {
  link::set_guard_program(link::own_path());
  link::ConnectOptions options;
  options.spec = spec;
  options.timeout = std::chrono::milliseconds(5000);
  const auto connection = link::connect(options);
  Mortal link(*connection, last, signal);
  BootOptions boot;
  boot.images = simulator::card::firmware_images();
  boot.patience = 0.05;
  boot.system_bytes = 32 << 20;
  Card card(link, boot);
  compute(card);
  card.finalize();
  std::printf("%llu\n", static_cast<unsigned long long>(link.requests()));
  return 0;
}

int die_with_a_pci_card(const std::string& sysfs, const std::string& address) {
  link::set_guard_program(link::own_path());
  const auto link = link::connect_linux({sysfs, address, false, true, nullptr});
  link->config_write(4, 6, 2);
  try {
    static_cast<void>(link->share(10000, false));
  } catch (const Error&) {  // without the right to see physical addresses; it has been kept by then
  }
  std::raise(SIGKILL);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  try {
    if (!arguments.empty() && arguments[0] == "guard") {
      return link::run_guard({arguments.begin() + 1, arguments.end()}, [](link::Link& link) {
        return std::string(words(put_to_rest(link, 0.05)));
      });
    }
    if (arguments.size() == 3 && arguments[0] == "pci")
      return die_with_a_pci_card(arguments[1], arguments[2]);
    return session(arguments.at(0), arguments.size() > 1 ? std::stoull(arguments[1]) : 0,
                   arguments.size() > 2 ? std::stoi(arguments[2]) : SIGKILL);
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n%s\n", e.what(), e.hint().c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
  }
  return 1;
}
