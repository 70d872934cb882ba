// Stream sockets, the one place that knows the operating system's calls for them.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace outboard::link {

// An open socket; closed when destroyed. Not inherited by programs that this one starts.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor);
  ~Socket();
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;

  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }

  // Connects; throws Error naming the address and what the system said.
  static Socket connect_unix(const std::string& path);
  // A closed Socket where nobody listens (or no socket is there); throws Error for all else.
  static Socket try_connect_unix(const std::string& path);
  // Tries all addresses of the host, each for `timeout` at most.
  static Socket connect_tcp(const std::string& host, uint16_t port,
                            std::chrono::milliseconds timeout);

  // Exactly bytes.size() bytes; false when the other side closed first or the connection failed.
  bool receive(std::span<std::byte> bytes);
  // One receive call: how many bytes came (0: closed or failed). At most bytes.size().
  size_t receive_some(std::span<std::byte> bytes);
  // Like receive(), and takes the descriptor that came along; -1: none did.
  bool receive_with_descriptor(std::span<std::byte> bytes, int& descriptor);
  bool send(std::span<const std::byte> bytes);
  // Sends the bytes with a file descriptor attached (unix sockets only).
  bool send_with_descriptor(std::span<const std::byte> bytes, int descriptor);
  // Wakes a thread that is receiving; it sees the connection as closed.
  void shut_down();
  void set_buffers(int bytes);
  // Receiving and sending give up after this long; timed_out() tells that they did.
  void set_timeout(std::chrono::milliseconds timeout);
  bool timed_out() const { return timed_out_; }

 private:
  friend class Listener;
  void no_sigpipe();

  int descriptor_ = -1;
  bool timed_out_ = false;
};

// A listening socket. Throws Error naming the address when it cannot be had.
class Listener {
 public:
  // A file that is there already is replaced when nobody listens behind it, else refused.
  static Listener unix_socket(const std::string& path);
  // port 0: any free one.
  static Listener tcp(const std::string& host, uint16_t port);
  ~Listener();
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;

  // Waits for a client; a closed Socket when shut_down() was called.
  Socket accept();
  void shut_down();
  uint16_t port() const { return port_; }

 private:
  Listener(Socket socket, std::string path, uint16_t port);

  Socket socket_;
  std::string path_;  // removed when destroyed
  uint16_t port_ = 0;
  std::unique_ptr<std::atomic<bool>> closed_ = std::make_unique<std::atomic<bool>>(false);
};

// "host:port" or ":port" or "port" or "host"; throws Error for a port that is no number.
struct HostPort {
  std::string host;
  uint16_t port;
};
HostPort parse_host_port(std::string_view text, uint16_t default_port);

}  // namespace outboard::link
