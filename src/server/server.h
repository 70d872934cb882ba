// `outboard serve`: HTTP, who may ask, and which route answers.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/http.h"
#include "server/service.h"

namespace outboard::server {

struct ServerOptions {
  HttpOptions http;
  ServiceOptions service;
  std::vector<std::string> api_keys;         // any of them; empty: none is asked for
  bool no_auth = false;                      // other addresses than loopback without a key
  std::vector<std::string> allowed_origins;  // of pages elsewhere, beside localhost
};

// Serves as long as it lives. The constructor throws Error where it can't: a wrong model, an
// address in use, an address that others can reach without a key.
class Server {
 public:
  explicit Server(ServerOptions options);
  // In order: no more requests, running answers get their ends, the device is put to rest.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::string address() const;  // "http://127.0.0.1:11434"
  Status status() const { return service_.status(); }

 private:
  void handle(HttpRequest&& request, const std::shared_ptr<Reply>& reply);
  bool is_authorized(const HttpRequest& request) const;

  ServerOptions options_;
  Service service_;
  std::unique_ptr<HttpServer> http_;
};

// Whether a Host header or an Origin is of this machine: localhost, 127.x.x.x, [::1], with any
// port. Others are what a page elsewhere would have, by a name that leads here (DNS rebinding).
bool is_local_host(std::string_view host);
bool is_local_origin(std::string_view origin);
// Takes as long wherever they differ.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace outboard::server
