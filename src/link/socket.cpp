#include "link/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <utility>

#include "support/error.h"

namespace outboard::link {
namespace {

#ifdef MSG_NOSIGNAL
constexpr int kSendFlags = MSG_NOSIGNAL;
#else
constexpr int kSendFlags = 0;  // macOS: the program ignores SIGPIPE
#endif

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    throw Error(fmt::format("socket {}: the path has {} bytes, at most {} fit", path, path.size(),
                            sizeof(address.sun_path) - 1),
                "Choose a shorter path, for example under /tmp.");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Addresses look_up(const std::string& host, uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(host.empty() ? nullptr : host.c_str(),
                                 std::to_string(port).c_str(), &hints, &found);
  if (code != 0) {
    throw Error(fmt::format("{}:{}: {}", host, port, ::gai_strerror(code)),
                "Give a host name or address and a port, for example 127.0.0.1:6667.");
  }
  return Addresses(found, ::freeaddrinfo);
}

// connect() with a deadline; 0, or what errno would be.
int connect_within(int descriptor, const addrinfo& to, std::chrono::milliseconds limit) {
  const int flags = ::fcntl(descriptor, F_GETFL);
  ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
  if (::connect(descriptor, to.ai_addr, to.ai_addrlen) != 0) {
    if (errno != EINPROGRESS) return errno;
    pollfd wait{descriptor, POLLOUT, 0};
    const int ready = ::poll(&wait, 1, static_cast<int>(limit.count()));
    if (ready == 0) return ETIMEDOUT;
    if (ready < 0) return errno;
    int error = 0;
    socklen_t size = sizeof(error);
    if (::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
    if (error != 0) return error;
  }
  ::fcntl(descriptor, F_SETFL, flags);
  return 0;
}

bool somebody_listens(const sockaddr_un& address) {
  Socket probe(::socket(AF_UNIX, SOCK_STREAM, 0));
  return probe.is_open() && ::connect(probe.descriptor(), generic(address), sizeof(address)) == 0;
}

}  // namespace

Socket::Socket(int descriptor) : descriptor_(descriptor) {
  if (descriptor_ >= 0) ::fcntl(descriptor_, F_SETFD, FD_CLOEXEC);
}

Socket::~Socket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Socket::Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  timed_out_ = other.timed_out_;
  return *this;
}

Socket Socket::connect_unix(const std::string& path) {
  Socket socket = try_connect_unix(path);
  if (!socket.is_open()) {
    throw Error(fmt::format("connect to {}: nobody listens there", path),
                "Start the server: `outboard sim serve --socket PATH`, or TinyGPU.app on a Mac.");
  }
  return socket;
}

Socket Socket::try_connect_unix(const std::string& path) {
  const sockaddr_un address = unix_address(path);
  Socket socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  if (!socket.is_open()) throw system_error("socket", path);
  if (::connect(socket.descriptor(), generic(address), sizeof(address)) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return Socket();
    throw system_error("connect to", path);
  }
  socket.no_sigpipe();
  return socket;
}

Socket Socket::connect_tcp(const std::string& host, uint16_t port,
                           std::chrono::milliseconds timeout) {
  const std::string name = fmt::format("{}:{}", host, port);
  const Addresses found = look_up(host, port, 0);
  int error = 0;
  for (const addrinfo* each = found.get(); each != nullptr; each = each->ai_next) {
    Socket socket(::socket(each->ai_family, each->ai_socktype, each->ai_protocol));
    if (!socket.is_open()) throw system_error("socket", name);
    error = connect_within(socket.descriptor(), *each, timeout);
    if (error != 0) continue;
    socket.set_timeout(timeout);
    const int on = 1;
    ::setsockopt(socket.descriptor(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    socket.no_sigpipe();
    return socket;
  }
  errno = error;
  throw system_error("connect to", name);
}

void Socket::no_sigpipe() {
#ifdef SO_NOSIGPIPE
  const int on = 1;
  ::setsockopt(descriptor_, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
#endif
}

void Socket::set_timeout(std::chrono::milliseconds timeout) {
  timeval value{};
  value.tv_sec = timeout.count() / 1000;
  value.tv_usec = static_cast<decltype(value.tv_usec)>(timeout.count() % 1000 * 1000);
  ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof(value));
  ::setsockopt(descriptor_, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof(value));
}

bool Socket::receive(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t got = receive_some(bytes);
    if (got == 0) return false;
    bytes = bytes.subspan(got);
  }
  return true;
}

size_t Socket::receive_some(std::span<std::byte> bytes) {
  for (;;) {
    const ssize_t got = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno == EINTR) continue;
    timed_out_ = errno == EAGAIN || errno == EWOULDBLOCK;
    return 0;
  }
}

bool Socket::receive_with_descriptor(std::span<std::byte> bytes, int& descriptor) {
  descriptor = -1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t got = 0;
  do {
    got = ::recvmsg(descriptor_, &message, 0);
  } while (got < 0 && errno == EINTR);
  if (got <= 0) {
    timed_out_ = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    return false;
  }
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
      std::memcpy(&descriptor, CMSG_DATA(header), sizeof(int));
    }
  }
  return receive(bytes.subspan(static_cast<size_t>(got)));
}

bool Socket::send(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), kSendFlags);
    if (sent < 0 && errno == EINTR) continue;
    timed_out_ = sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (sent <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(sent));
  }
  return true;
}

bool Socket::send_with_descriptor(std::span<const std::byte> bytes, int descriptor) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
  for (;;) {
    const ssize_t sent = ::sendmsg(descriptor_, &message, kSendFlags);
    if (sent < 0 && errno == EINTR) continue;
    return sent == static_cast<ssize_t>(bytes.size());
  }
}

void Socket::shut_down() {
  if (descriptor_ >= 0) ::shutdown(descriptor_, SHUT_RDWR);
}

void Socket::set_buffers(int bytes) {
  // Best effort: the system may grant less.
  ::setsockopt(descriptor_, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
  ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

Listener::Listener(Socket socket, std::string path, uint16_t port)
    : socket_(std::move(socket)), path_(std::move(path)), port_(port) {}

Listener::Listener(Listener&& other) noexcept
    : socket_(std::move(other.socket_)),
      path_(std::exchange(other.path_, {})),
      port_(other.port_),
      closed_(std::move(other.closed_)) {}

Listener::~Listener() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

Listener Listener::unix_socket(const std::string& path) {
  const sockaddr_un address = unix_address(path);
  struct stat status{};
  if (::lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) {
      throw Error(fmt::format("socket {}: a file that is no socket lies there", path),
                  "Choose another path.");
    }
    if (somebody_listens(address)) {
      throw Error(fmt::format("socket {}: another server listens there", path),
                  "Stop it, or choose another path.");
    }
    ::unlink(path.c_str());
  }
  Socket socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  if (!socket.is_open()) throw system_error("socket", path);
  if (::bind(socket.descriptor(), generic(address), sizeof(address)) != 0) {
    throw system_error("bind", path);
  }
  if (::listen(socket.descriptor(), 1) != 0) throw system_error("listen", path);
  return Listener(std::move(socket), path, 0);
}

Listener Listener::tcp(const std::string& host, uint16_t port) {
  const std::string name = fmt::format("{}:{}", host, port);
  const Addresses found = look_up(host, port, AI_PASSIVE);
  Socket socket(::socket(found->ai_family, found->ai_socktype, found->ai_protocol));
  if (!socket.is_open()) throw system_error("socket", name);
  const int on = 1;
  ::setsockopt(socket.descriptor(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(socket.descriptor(), found->ai_addr, found->ai_addrlen) != 0) {
    throw system_error("bind", name);
  }
  if (::listen(socket.descriptor(), 1) != 0) throw system_error("listen", name);
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  uint16_t real = port;
  if (::getsockname(socket.descriptor(), reinterpret_cast<sockaddr*>(&bound), &length) == 0) {
    real = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  }
  return Listener(std::move(socket), {}, real);
}

Socket Listener::accept() {
  // Closing a listening socket wakes accept() on some systems only, so we look now and then.
  constexpr int kLookMilliseconds = 100;
  while (!*closed_) {
    pollfd wait{socket_.descriptor(), POLLIN, 0};
    if (::poll(&wait, 1, kLookMilliseconds) <= 0) continue;
    const int client = ::accept(socket_.descriptor(), nullptr, nullptr);
    if (client >= 0) {
      const int on = 1;
      // Fails on unix sockets, where there is nothing to switch off.
      ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      Socket socket(client);
      socket.no_sigpipe();
      return socket;
    }
    if (errno != EINTR && errno != ECONNABORTED) break;
  }
  return Socket();
}

void Listener::shut_down() { *closed_ = true; }

HostPort parse_host_port(std::string_view text, uint16_t default_port) {
  HostPort out{std::string(text), default_port};
  const size_t colon = text.rfind(':');
  std::string_view port;
  if (colon != std::string_view::npos) {
    out.host = std::string(text.substr(0, colon));
    port = text.substr(colon + 1);
  } else if (!text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos) {
    out.host.clear();
    port = text;
  } else {
    return out;
  }
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || number > 65535) {
    throw Error(fmt::format("address {}: \"{}\" is no port", text, port),
                "Write HOST:PORT, for example 127.0.0.1:6667.");
  }
  out.port = static_cast<uint16_t>(number);
  return out;
}

}  // namespace outboard::link
