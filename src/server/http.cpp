#include "server/http.h"

#include <algorithm>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "support/error.h"
#include "support/notice.h"

namespace outboard::server {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using Tcp = asio::ip::tcp;
using ErrorCode = boost::system::error_code;
using std::chrono::seconds;

std::string_view HttpRequest::header(std::string_view name) const {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  for (const auto& [key, value] : headers)
    if (std::ranges::equal(key, name, {}, lower, lower)) return value;
  return {};
}

std::optional<std::string> HttpRequest::parameter(std::string_view name) const {
  for (std::string_view rest = query; !rest.empty();) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    const size_t equals = std::min(pair.find('='), pair.size());
    if (url_decoded(pair.substr(0, equals), true) == name)
      return url_decoded(pair.substr(std::min(pair.size(), equals + 1)), true);
  }
  return std::nullopt;
}

std::string_view status_text(int status) {
  const auto text = http::obsolete_reason(static_cast<http::status>(status));
  return {text.data(), text.size()};
}

std::string url_decoded(std::string_view text, bool plus_is_space) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 &&
        digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

struct HttpState {
  HttpState(const HttpOptions& o, HttpHandler h,
            std::function<std::string(int, std::string_view)> r)
      : options(o),
        handler(std::move(h)),
        refuse(std::move(r)),
        workers(static_cast<size_t>(o.handlers)),
        acceptor(io) {}

  void listen();
  void accept();
  void welcome(Tcp::socket socket);
  // One more answer under way, or one less.
  void count(int more) {
    const std::lock_guard lock(mutex);
    answers += more;
    changed.notify_all();
  }

  HttpOptions options;
  HttpHandler handler;
  std::function<std::string(int, std::string_view)> refuse;
  // Connections, which count here, go with the context that holds their handlers, or in whatever
  // thread lets go of their last Reply.
  std::atomic<size_t> connections = 0;
  std::mutex mutex;
  std::condition_variable changed;
  int answers = 0;
  asio::io_context io;
  std::optional<asio::ssl::context> tls;
  asio::thread_pool workers;
  Tcp::acceptor acceptor;
  std::thread thread;
};

namespace {

// Written by hand: an answer's head is a few lines.
std::string head(int status, std::string_view content_type, const Headers& headers) {
  std::string text = fmt::format("HTTP/1.1 {} {}\r\n", status, status_text(status));
  if (!content_type.empty()) text += fmt::format("Content-Type: {}\r\n", content_type);
  for (const auto& [name, value] : headers) text += fmt::format("{}: {}\r\n", name, value);
  return text;
}

}  // namespace

namespace {

// One client. All of it runs in the io thread; replies come by post().
template <typename Stream>
class Connection : public std::enable_shared_from_this<Connection<Stream>> {
 public:
  template <typename... Args>
  explicit Connection(HttpState& server, Args&&... args)
      : server_(server), stream_(std::forward<Args>(args)...), timer_(stream_.get_executor()) {
    ++server_.connections;
  }
  ~Connection() { --server_.connections; }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start() {
    limit(server_.options.request_seconds);
    if constexpr (kTls) {
      stream_.async_handshake(asio::ssl::stream_base::server,
                              [self = this->shared_from_this()](ErrorCode error) {
                                if (error) return self->close();
                                self->next_request();
                              });
    } else {
      next_request();
    }
  }
  // One too many: it is told so, and closed.
  void turn_away() {
    unwelcome_ = true;
    start();
  }

 private:
  static constexpr bool kTls = !std::is_same_v<Stream, Tcp::socket>;
  using Parser = http::request_parser<http::string_body>;
  // An answer's number tells replies that come late from those of the request under way.
  class ConnectionReply;

  enum class State : uint8_t { kWaiting, kReading, kAnswering, kLeaving, kClosed };

  auto& socket() {
    if constexpr (kTls) {
      return stream_.next_layer();
    } else {
      return stream_;
    }
  }

  // After so many seconds in this state the connection is closed, or on_time() is asked.
  void limit(int after) {
    timer_.expires_after(seconds(after));
    timer_.async_wait([self = this->shared_from_this()](ErrorCode error) {
      if (!error && self->timer_.expiry() <= std::chrono::steady_clock::now()) self->on_time();
    });
  }

  void on_time() {
    if (state_ == State::kClosed) return;
    if (state_ == State::kAnswering && !writing_) {
      // Nothing was said for a while.
      if (streaming_ && !keep_alive_.empty()) write(keep_alive_);
      return;
    }
    if (state_ == State::kReading && parser_->got_some()) {
      closing_ = true;
      state_ = State::kAnswering;
      begin_request();
      return send(408, "application/json", server_.refuse(408, "the request took too long"), {});
    }
    close();
  }

  void next_request() {
    state_ = State::kWaiting;
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(server_.options.most_header_bytes));
    parser_->body_limit(server_.options.most_body_bytes);
    parser_->eager(true);
    limit(server_.options.idle_seconds);
    parse();
  }

  void read() {
    // What comes while an answer is under way waits; a client has no reason to send much.
    constexpr size_t kAhead = 1 << 20;
    if (reading_ || (state_ == State::kAnswering && buffer_.size() > kAhead)) return;
    reading_ = true;
    constexpr size_t kPiece = 64 << 10;
    stream_.async_read_some(
        buffer_.prepare(kPiece), [self = this->shared_from_this()](ErrorCode error, size_t count) {
          self->reading_ = false;
          if (self->state_ == State::kClosed) return;
          if (error) return self->close();
          self->buffer_.commit(count);
          if (self->state_ == State::kLeaving) self->buffer_.clear();
          if (self->state_ == State::kAnswering || self->state_ == State::kLeaving)
            return self->read();
          self->parse();
        });
  }

  void parse() {
    if (buffer_.size() > 0 && state_ == State::kWaiting) {
      state_ = State::kReading;
      limit(server_.options.request_seconds);
    }
    ErrorCode error;
    while (buffer_.size() > 0 && !parser_->is_done()) {
      const size_t used = parser_->put(buffer_.data(), error);
      buffer_.consume(used);
      if (error) break;
      if (parser_->is_header_done() && !continued_ && expects_continue()) {
        continued_ = true;
        queue("HTTP/1.1 100 Continue\r\n\r\n");
      }
    }
    if (error && error != http::error::need_more) return refuse_request(error);
    if (!parser_->is_done()) return read();
    dispatch();
  }

  bool expects_continue() const {
    const auto value = parser_->get()[http::field::expect];
    return boost::beast::iequals(value, "100-continue");
  }

  void refuse_request(ErrorCode error) {
    int status = 400;
    if (error == http::error::body_limit) status = 413;
    if (error == http::error::header_limit) status = 431;
    closing_ = true;
    state_ = State::kAnswering;
    begin_request();
    const std::string reason =
        status == 413
            ? fmt::format("the body is larger than {} bytes", server_.options.most_body_bytes)
        : status == 431
            ? fmt::format("the headers are larger than {} bytes", server_.options.most_header_bytes)
            : "this is no HTTP request: " + error.message();
    send(status, "application/json", server_.refuse(status, reason), {});
  }

  void begin_request() {
    ++answer_;
    streaming_ = false;
    sent_head_ = false;
    on_gone_ = nullptr;
    server_.count(1);
    counted_ = true;
  }

  void dispatch();

  // From here on: what replies ask for, in the io thread.
  void send(int status, std::string_view content_type, std::string body, Headers headers) {
    if (sent_head_ || state_ != State::kAnswering) return;
    sent_head_ = true;
    headers.emplace_back("Content-Length", std::to_string(body.size()));
    if (closing_) headers.emplace_back("Connection", "close");
    std::string text = head(status, content_type, headers) + "\r\n";
    if (!is_head_) text += body;
    queue(std::move(text));
    finish();
  }
  void begin(int status, std::string_view content_type, Headers headers, std::string keep_alive) {
    if (sent_head_ || state_ != State::kAnswering) return;
    sent_head_ = true;
    streaming_ = true;
    keep_alive_ = std::move(keep_alive);
    // HTTP/1.0 has no chunks: the stream ends with the connection.
    if (chunked_) headers.emplace_back("Transfer-Encoding", "chunked");
    if (!chunked_) closing_ = true;
    if (closing_) headers.emplace_back("Connection", "close");
    queue(head(status, content_type, headers) + "\r\n");
  }
  void write(std::string_view text) {
    if (!streaming_ || text.empty() || is_head_) return;
    queue(chunked_ ? fmt::format("{:x}\r\n{}\r\n", text.size(), text) : std::string(text));
  }
  void end() {
    if (!streaming_) return;
    streaming_ = false;
    if (chunked_ && !is_head_) queue("0\r\n\r\n");
    finish();
  }
  // Dropped before its end: the client must not take what came for all of it.
  void drop() {
    if (state_ == State::kAnswering && (!sent_head_ || streaming_)) close();
  }

  void queue(std::string text) {
    if (state_ == State::kClosed) return;
    unsent_ += text.size();
    out_.push_back(std::move(text));
    if (unsent_ > server_.options.most_unsent_bytes) return close();
    if (!writing_) flush();
  }
  void flush() {
    writing_ = true;
    limit(server_.options.write_seconds);
    // All that waits in one piece: tokens of a fast model are a few bytes each.
    if (out_.size() > 1) {
      std::string all;
      for (const std::string& text : out_) all += text;
      out_.clear();
      out_.push_back(std::move(all));
    }
    asio::async_write(stream_, asio::buffer(out_.front()),
                      [self = this->shared_from_this()](ErrorCode error, size_t count) {
                        self->writing_ = false;
                        if (error) return self->close();
                        if (self->state_ == State::kClosed) return;
                        self->unsent_ -= count;
                        self->out_.pop_front();
                        if (!self->out_.empty()) return self->flush();
                        if (self->done_) return self->answered();
                        if (self->state_ == State::kAnswering)
                          self->limit(self->server_.options.keep_alive_seconds);
                      });
  }
  void finish() {
    done_ = true;
    if (!writing_) answered();
  }
  void answered() {
    done_ = false;
    leave();
    if (closing_) return say_goodbye();
    continued_ = false;
    next_request();
  }
  // A socket that is closed with unread bytes in it resets the connection, and the client may lose
  // the answer: what it still sends is taken for a moment.
  void say_goodbye() {
    constexpr int kSeconds = 2;
    state_ = State::kLeaving;
    ErrorCode ignored;  // then the read below ends it
    socket().shutdown(Tcp::socket::shutdown_send, ignored);
    limit(kSeconds);
    buffer_.clear();
    read();
  }
  void leave() {
    if (counted_) server_.count(-1);
    counted_ = false;
    on_gone_ = nullptr;
  }

  void close() {
    if (state_ == State::kClosed) return;
    const bool was_answering = state_ == State::kAnswering && !done_;
    state_ = State::kClosed;
    timer_.cancel();
    ErrorCode ignored;  // it is closed one way or the other
    socket().shutdown(Tcp::socket::shutdown_both, ignored);
    socket().close(ignored);
    const auto gone = std::move(on_gone_);
    leave();
    gone_ = true;
    if (was_answering && gone) gone();
  }

  HttpState& server_;
  Stream stream_;
  asio::steady_timer timer_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  State state_ = State::kWaiting;
  uint64_t answer_ = 0;
  std::deque<std::string> out_;
  size_t unsent_ = 0;
  std::string keep_alive_;
  std::function<void()> on_gone_;
  bool reading_ = false, writing_ = false;
  bool continued_ = false;  // told to send the body
  bool is_head_ = false;
  bool chunked_ = true;
  bool closing_ = false;  // behind this answer
  bool sent_head_ = false, streaming_ = false;
  bool done_ = false;     // all of the answer is queued
  bool counted_ = false;  // among the server's answers
  bool gone_ = false;
  bool unwelcome_ = false;
};

template <typename Stream>
class Connection<Stream>::ConnectionReply : public Reply {
 public:
  ConnectionReply(std::shared_ptr<Connection> connection, uint64_t answer)
      : connection_(std::move(connection)), answer_(answer) {}
  ~ConnectionReply() override {
    post([](Connection& c) { c.drop(); });
  }
  ConnectionReply(const ConnectionReply&) = delete;
  ConnectionReply& operator=(const ConnectionReply&) = delete;

  void send(int status, std::string_view content_type, std::string body,
            const Headers& headers) override {
    post([status, type = std::string(content_type), text = std::move(body),
          headers](Connection& c) mutable { c.send(status, type, std::move(text), headers); });
  }
  void begin(int status, std::string_view content_type, const Headers& headers,
             std::string_view keep_alive) override {
    post([status, type = std::string(content_type), headers, comment = std::string(keep_alive)](
             Connection& c) mutable { c.begin(status, type, headers, std::move(comment)); });
  }
  void write(std::string text) override {
    post([text = std::move(text)](Connection& c) { c.write(text); });
  }
  void end() override {
    post([](Connection& c) { c.end(); });
  }
  void on_gone(std::function<void()> call) override {
    asio::post(connection_->stream_.get_executor(),
               [connection = connection_, answer = answer_, call = std::move(call)]() mutable {
                 if (connection->answer_ == answer && connection->state_ == State::kAnswering) {
                   connection->on_gone_ = std::move(call);
                 } else if (connection->gone_) {
                   call();
                 }
               });
  }

 private:
  template <typename F>
  void post(F f) const {
    asio::post(connection_->stream_.get_executor(),
               [connection = connection_, answer = answer_, f = std::move(f)]() mutable {
                 if (connection->answer_ == answer) f(*connection);
               });
  }

  std::shared_ptr<Connection> connection_;
  uint64_t answer_;
};

template <typename Stream>
void Connection<Stream>::dispatch() {
  state_ = State::kAnswering;
  timer_.cancel();
  begin_request();
  auto message = parser_->release();
  HttpRequest request;
  request.method = std::string(message.method_string());
  const auto target = message.target();
  std::string_view whole(target.data(), target.size());
  // "GET http://host/path": proxies send it so.
  if (const size_t scheme = whole.find("://"); !whole.starts_with('/') && scheme != whole.npos)
    whole.remove_prefix(std::min(whole.find('/', scheme + 3), whole.size()));
  const size_t question = std::min(whole.find('?'), whole.size());
  request.path = url_decoded(whole.substr(0, question), false);
  request.query = std::string(whole.substr(std::min(whole.size(), question + 1)));
  for (const auto& field : message)
    request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  request.body = std::move(message.body());
  ErrorCode unknown;  // it has gone: the read will tell
  const auto peer = socket().remote_endpoint(unknown);
  request.peer = unknown ? "?" : peer.address().to_string();
  is_head_ = request.method == "HEAD";
  chunked_ = message.version() >= 11;
  closing_ = !message.keep_alive() || unwelcome_;
  if (unwelcome_)
    return send(503, "application/json", server_.refuse(503, "too many connections"),
                {{"Retry-After", "1"}});
  read();  // sees the client go away
  auto reply = std::make_shared<ConnectionReply>(this->shared_from_this(), answer_);
  asio::post(server_.workers,
             [&server = server_, request = std::move(request), reply = std::move(reply)]() mutable {
               try {
                 server.handler(std::move(request), reply);
               } catch (const Error& e) {
                 reply->send(500, "application/json", server.refuse(500, e.message()), {});
               } catch (const std::exception& e) {
                 reply->send(500, "application/json", server.refuse(500, e.what()), {});
               }
             });
}

Tcp::endpoint resolve(const HttpOptions& options, asio::io_context& io) {
  ErrorCode error;
  Tcp::resolver resolver(io);
  const auto found =
      resolver.resolve(options.host, std::to_string(options.port), Tcp::resolver::passive, error);
  if (error || found.empty())
    throw Error(
        fmt::format("serve: the address {} can't be found: {}", options.host, error.message()),
        "Use an address of this machine, like 127.0.0.1.");
  for (const auto& entry : found)
    if (entry.endpoint().address().is_v4()) return entry.endpoint();
  return found.begin()->endpoint();
}

}  // namespace

void HttpState::listen() {
  if (!options.tls_certificate.empty()) {
    tls.emplace(asio::ssl::context::tls_server);
    ErrorCode error;
    tls->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 |
                         asio::ssl::context::no_tlsv1_1,
                     error);
    if (!error) tls->use_certificate_chain_file(options.tls_certificate, error);
    if (error)
      fail("serve: the certificate {} can't be used: {}", options.tls_certificate, error.message());
    tls->use_private_key_file(options.tls_key, asio::ssl::context::pem, error);
    if (error) fail("serve: the key {} can't be used: {}", options.tls_key, error.message());
  }
  const Tcp::endpoint endpoint = resolve(options, io);
  ErrorCode error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(Tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error)
    throw Error(fmt::format("serve: can't listen on {} port {}: {}", options.host, options.port,
                            error.message()),
                error == asio::error::address_in_use
                    ? "Another server runs there (ollama uses 11434, too): stop it, or give "
                      "another with --port."
                    : "Use another --host or --port.");
  accept();
}

void HttpState::accept() {
  acceptor.async_accept([this](ErrorCode error, Tcp::socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error) {
      welcome(std::move(socket));
    } else {
      // Out of file descriptors, or the client has gone: neither ends the server.
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    accept();
  });
}

void HttpState::welcome(Tcp::socket socket) {
  ErrorCode ignored;  // slower without it, no more
  socket.set_option(Tcp::no_delay(true), ignored);
  constexpr size_t kToldSo = 64;  // of those that are too many
  if (connections >= options.most_connections + kToldSo) return;
  const auto begin = [&](const auto& connection) {
    if (connections > options.most_connections) return connection->turn_away();
    connection->start();
  };
  if (tls) {
    begin(std::make_shared<Connection<asio::ssl::stream<Tcp::socket>>>(*this, std::move(socket),
                                                                       *tls));
  } else {
    begin(std::make_shared<Connection<Tcp::socket>>(*this, std::move(socket)));
  }
}

HttpServer::HttpServer(const HttpOptions& options, HttpHandler handler,
                       std::function<std::string(int, std::string_view)> refuse)
    : state_(std::make_unique<HttpState>(options, std::move(handler), std::move(refuse))) {
  state_->listen();
  state_->thread = std::thread([this] { state_->io.run(); });
}

HttpServer::~HttpServer() {
  state_->io.stop();
  state_->thread.join();
  state_->workers.join();
}

uint16_t HttpServer::port() const { return state_->acceptor.local_endpoint().port(); }

void HttpServer::stop_listening() {
  asio::post(state_->io, [this] {
    ErrorCode ignored;  // closed already
    state_->acceptor.close(ignored);
  });
}

void HttpServer::drain(int most) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait_for(lock, seconds(most), [this] { return state_->answers == 0; });
}

}  // namespace outboard::server
