// HTTP/1.1 over TCP or TLS: connections, limits, time-outs. Knows nothing of what is served.
//
// On Boost.Beast and Boost.Asio: unlike cpp-httplib (0.11 in Debian 12) they let a server limit
// headers, bodies, connections and the time of a whole request, see a client go away while its
// answer is being computed, and keep hundreds of open streams without a thread for each.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace outboard::server {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;  // "GET"
  std::string path;    // decoded: "/api/show"
  std::string query;   // as it came, without `?`
  Headers headers;
  std::string body;
  std::string peer;  // the client's address
  // A header's value, whatever the case of its name; empty where it is not there.
  std::string_view header(std::string_view name) const;
  // A value of the query, decoded.
  std::optional<std::string> parameter(std::string_view name) const;
};

// How a request is answered: send() once, or begin(), write() any number of times, end(). Safe to
// use from any thread, and when the client has gone: then nothing happens. An answer that is
// dropped without an end closes the connection.
class Reply {
 public:
  virtual ~Reply() = default;
  virtual void send(int status, std::string_view content_type, std::string body,
                    const Headers& headers = {}) = 0;
  // keep_alive is written when nothing else was for some seconds: an SSE comment.
  virtual void begin(int status, std::string_view content_type, const Headers& headers = {},
                     std::string_view keep_alive = {}) = 0;
  virtual void write(std::string text) = 0;
  virtual void end() = 0;
  // Called once, from another thread, when the client goes away before the answer's end; at once
  // where it has gone already.
  virtual void on_gone(std::function<void()> call) = 0;
};

struct HttpOptions {
  std::string host = "127.0.0.1";  // an address, or a name that has one
  uint16_t port = 11434;           // 0: any that is free
  std::string tls_certificate;     // PEM files; both or none
  std::string tls_key;
  size_t most_connections = 1024;
  size_t most_header_bytes = 32 << 10;
  size_t most_body_bytes = 64 << 20;
  size_t most_unsent_bytes = 16 << 20;  // of a client that reads too slowly; then it is cut off
  int request_seconds = 60;             // for a whole request to come
  int idle_seconds = 120;               // between requests
  int write_seconds = 60;               // without a byte taken by the client
  int keep_alive_seconds = 5;
  int handlers = 4;  // threads that call the handler
};

using HttpHandler = std::function<void(HttpRequest&&, std::shared_ptr<Reply>)>;

struct HttpState;  // http.cpp

// Listens as long as it lives.
class HttpServer {
 public:
  // handler: called from several threads; what it throws is answered with 500. refuse: the body
  // that a status of the server's own gets (400, 408, 413, 431, 500, 503), as JSON. Throws Error
  // where the address can't be listened on, naming it, and for certificates that can't be read.
  HttpServer(const HttpOptions& options, HttpHandler handler,
             std::function<std::string(int status, std::string_view reason)> refuse);
  // Stops at once; answers that are under way are cut. REQUIRES: nobody holds a Reply any more.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  uint16_t port() const;
  // No more connections and requests from now on.
  void stop_listening();
  // Until all answers have been sent, at most so long.
  void drain(int seconds);

 private:
  std::unique_ptr<HttpState> state_;
};

// The text of a status: "Not Found".
std::string_view status_text(int status);
// %41 and + decoded; as it is where that is wrong.
std::string url_decoded(std::string_view text, bool plus_is_space);

}  // namespace outboard::server
