#include "link/connect.h"

#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <utility>

#include "link/card_lock.h"
#include "link/guard.h"
#include "link/linux_link.h"
#include "link/protocol.h"
#include "link/socket.h"
#include "link/wire_link.h"
#include "support/error.h"

namespace outboard::link {
namespace {

constexpr std::chrono::milliseconds kLockPatience{3000};

// Keeps the card's lock as long as the link.
class LockedLink : public Link {
 public:
  LockedLink(CardLock lock, std::unique_ptr<Link> link)
      : lock_(std::move(lock)), link_(std::move(link)) {}

  std::string name() const override { return link_->name(); }
  bool is_open() override { return link_->is_open(); }
  uint32_t config_read(uint32_t offset, uint32_t size) override {
    return link_->config_read(offset, size);
  }
  void config_write(uint32_t offset, uint32_t value, uint32_t size) override {
    link_->config_write(offset, value, size);
  }
  Bar bar(int index) override { return link_->bar(index); }
  void read(int bar, BarOffset offset, std::span<std::byte> bytes) override {
    link_->read(bar, offset, bytes);
  }
  void write(int bar, BarOffset offset, std::span<const std::byte> bytes) override {
    link_->write(bar, offset, bytes);
  }
  bool writes_by_dword() const override { return link_->writes_by_dword(); }
  std::unique_ptr<SystemRegion> share(uint64_t size, bool contiguous) override {
    return link_->share(size, contiguous);
  }
  void reset() override { link_->reset(); }
  void resize_bar(int index) override { link_->resize_bar(index); }

 private:
  CardLock lock_;  // outlives the link
  std::unique_ptr<Link> link_;
};

// The first word with the card behind a server. What is wrong with the layers below shows here.
void say_hello(Link& link) {
  constexpr const char* kNoDriver = "Driver not available";
  try {
    static_cast<void>(link.config_read(0, 4));
  } catch (const Error& e) {
    if (e.message().find(kNoDriver) == std::string::npos) throw;
    throw Error(
        e.message(),
        std::string("TinyGPU's server runs, but its driver extension has no card. Either the "
                    "enclosure is off or unplugged (see System Report > PCI), or the "
                    "extension is not allowed: ") +
            kApproveTinyGpu + " `outboard doctor` tells which.");
  }
}

std::unique_ptr<Link> connect_socket(const ConnectOptions& options, Dialect dialect,
                                     const std::string& name, const std::function<Socket()>& open) {
  CardLock lock(lock_path(name), kLockPatience);
  lock.sign("outboard");
  WireOptions wire{options.timeout, !guard_program().empty(), &lock, options.busy_timeout};
  std::unique_ptr<Link> link = dialect == Dialect::kTinyGpu ? link_tinygpu(open(), name, wire)
                                                            : link_remote(open(), name, wire);
  say_hello(*link);
  return std::make_unique<LockedLink>(std::move(lock), std::move(link));
}

std::unique_ptr<Link> connect_tinygpu_spec(const ConnectOptions& options, std::string path) {
  if (path.empty()) path = tinygpu_socket_path();
  return connect_socket(options, Dialect::kTinyGpu, "tinygpu:" + path,
                        [&] { return connect_tinygpu_app(options.app, path); });
}

std::unique_ptr<Link> connect_remote_spec(const ConnectOptions& options, const std::string& where) {
  const HostPort address = parse_host_port(where, protocol::kRemotePort);
  const std::string host = address.host.empty() ? "127.0.0.1" : address.host;
  return connect_socket(
      options, Dialect::kRemote, fmt::format("remote:{}:{}", host, address.port), [&] {
        try {
          return Socket::connect_tcp(host, address.port, options.timeout);
        } catch (const Error& e) {
          throw Error(e.message(), "Start the server on that machine, or check host and port.");
        }
      });
}

std::unique_ptr<Link> connect_pci_spec(const ConnectOptions& options, const std::string& address) {
  CardLock lock(lock_path("pci:" + address), kLockPatience);
  lock.sign("outboard");
  std::unique_ptr<Link> link =
      connect_linux({"/sys", address, options.take, !guard_program().empty(), &lock});
  return std::make_unique<LockedLink>(std::move(lock), std::move(link));
}

std::unique_ptr<Link> connect_first(ConnectOptions options) {
  const std::vector<FoundCard> cards = find_cards(options.app);
  if (cards.empty()) {
#if defined(__APPLE__)
    throw Error("no card: TinyGPU.app is not installed", kInstallTinyGpu);
#else
    throw Error("no card: no RX 7900 (XTX, XT or GRE: 1002:744c) is on this machine's PCI bus",
                "Check with lspci -d 1002:744c. A card elsewhere: --device remote:HOST:PORT.");
#endif
  }
  options.spec = cards.front().spec;
  return connect(options);
}

}  // namespace

bool is_link_spec(const std::string& name) {
  return name == "amd" || name == "tinygpu" || name.starts_with("tinygpu:") ||
         name.starts_with("remote:") || name.starts_with("pci:");
}

std::unique_ptr<Link> connect(const ConnectOptions& options) {
  const std::string& spec = options.spec;
  if (spec == "amd") return connect_first(options);
  if (spec == "tinygpu") return connect_tinygpu_spec(options, {});
  if (spec.starts_with("tinygpu:")) return connect_tinygpu_spec(options, spec.substr(8));
  if (spec.starts_with("remote:")) return connect_remote_spec(options, spec.substr(7));
  if (spec.starts_with("pci:")) return connect_pci_spec(options, spec.substr(4));
  throw Error(fmt::format("\"{}\" names no card", spec),
              "Write amd, tinygpu, tinygpu:SOCKET, remote:HOST:PORT or pci:0000:03:00.0.");
}

std::vector<FoundCard> find_cards(const TinyGpuApp& app) {
  std::vector<FoundCard> cards;
  const std::string path = tinygpu_socket_path();
  struct stat status{};
  // A server that listens is not asked: it would take that for its one client.
  const bool socket = ::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
  const bool installed = ::access(app.program.c_str(), F_OK) == 0;
  if (socket || installed)
    cards.push_back({"tinygpu", installed ? "TinyGPU.app" : "TinyGPU's server at " + path, {}});
  for (const LinuxCard& card : find_linux_cards("/sys")) {
    cards.push_back({"pci:" + card.address,
                     fmt::format("{} at PCI {}", card.chip->card_name(card.revision), card.address),
                     card.driver});
  }
  return cards;
}

}  // namespace outboard::link
