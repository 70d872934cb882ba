#include "server/server.h"

#include <algorithm>
#include <array>

#include "server/api.h"
#include "server/page.h"

namespace outboard::server {
namespace {

struct RouteEntry {
  std::string_view method;
  std::string_view path;  // a prefix where it ends in `/` and is longer than that
  Route route;
};

void ollama_alive(Service&, const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  reply->send(200, "text/plain; charset=utf-8", "Ollama is running");
}

void send_page(const HttpRequest& http, const std::shared_ptr<Reply>& reply) {
  const std::string_view name =
      http.path == "/" ? "index.html" : std::string_view(http.path).substr(1);
  for (const PageFile& file : page_files())
    if (file.name == name)
      return reply->send(
          200, content_type_of(name), std::string(file.content),
          {{"Cache-Control", "no-cache"},
           {"X-Content-Type-Options", "nosniff"},
           {"Referrer-Policy", "no-referrer"},
           {"Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src "
            "'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}});
  throw Refusal(404, fmt::format("{} {}: there is no such route", http.method, http.path));
}

// Browsers get the page; ollama's clients look for these words.
void root(Service& service, const HttpRequest& http, const std::shared_ptr<Reply>& reply) {
  if (http.header("accept").find("text/html") == std::string_view::npos)
    return ollama_alive(service, http, reply);
  send_page(http, reply);
}

void page_file(Service&, const HttpRequest& http, const std::shared_ptr<Reply>& reply) {
  send_page(http, reply);
}

void openapi(Service&, const HttpRequest& http, const std::shared_ptr<Reply>& reply) {
  send_page(http, reply);
}

void not_kept(Service&, const HttpRequest& http, const std::shared_ptr<Reply>&) {
  throw Refusal(501, fmt::format("{}: not served here", http.path), "not_implemented");
}

constexpr std::array kRoutes = {
    RouteEntry{"GET", "/", root},
    RouteEntry{"GET", "/health", native_health},
    RouteEntry{"GET", "/v1/health", native_health},
    RouteEntry{"GET", "/v1/models", openai_models},
    RouteEntry{"GET", "/models", openai_models},
    RouteEntry{"GET", "/v1/models/", openai_model},
    RouteEntry{"POST", "/v1/chat/completions", openai_chat},
    RouteEntry{"POST", "/chat/completions", openai_chat},
    RouteEntry{"POST", "/v1/completions", openai_completions},
    RouteEntry{"POST", "/v1/responses", openai_responses},
    RouteEntry{"POST", "/responses", openai_responses},
    RouteEntry{"POST", "/v1/embeddings", openai_embeddings},
    RouteEntry{"POST", "/v1/messages", anthropic_messages},
    RouteEntry{"POST", "/v1/messages/count_tokens", anthropic_count_tokens},
    RouteEntry{"POST", "/api/chat", ollama_chat},
    RouteEntry{"POST", "/api/generate", ollama_generate},
    RouteEntry{"GET", "/api/tags", ollama_tags},
    RouteEntry{"POST", "/api/show", ollama_show},
    RouteEntry{"GET", "/api/ps", ollama_ps},
    RouteEntry{"GET", "/api/version", ollama_version},
    RouteEntry{"POST", "/api/pull", ollama_pull},
    RouteEntry{"DELETE", "/api/delete", ollama_delete},
    RouteEntry{"POST", "/api/embed", ollama_embed},
    RouteEntry{"POST", "/api/embeddings", ollama_embed},
    RouteEntry{"POST", "/api/create", not_kept},
    RouteEntry{"POST", "/api/copy", not_kept},
    RouteEntry{"POST", "/api/push", not_kept},
    RouteEntry{"POST", "/completion", native_completion},
    RouteEntry{"POST", "/completions", native_completion},
    RouteEntry{"POST", "/infill", native_completion},
    RouteEntry{"POST", "/embedding", native_embedding},
    RouteEntry{"POST", "/embeddings", native_embedding},
    RouteEntry{"POST", "/tokenize", native_tokenize},
    RouteEntry{"POST", "/detokenize", native_detokenize},
    RouteEntry{"POST", "/apply-template", native_apply_template},
    RouteEntry{"GET", "/props", native_props},
    RouteEntry{"GET", "/slots", native_slots},
    RouteEntry{"GET", "/metrics", native_metrics},
    RouteEntry{"GET", "/openapi.json", openapi},
};

bool matches(const RouteEntry& entry, std::string_view path) {
  if (entry.path.size() > 1 && entry.path.ends_with('/'))
    return path.starts_with(entry.path) && path.size() > entry.path.size();
  return entry.path == path;
}

// Needs no key: whether it lives, and the page, which asks for one.
bool is_public(std::string_view path) {
  if (path == "/" || path == "/health" || path == "/v1/health") return true;
  return std::ranges::any_of(page_files(),
                             [&](const PageFile& file) { return path.substr(1) == file.name; });
}

std::string_view host_of(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

// What browsers of localhost's pages may send: every header of OpenAI's client among them.
Headers cors_headers(const HttpRequest& request) {
  Headers headers{{"Access-Control-Allow-Origin", std::string(request.header("origin"))},
                  {"Vary", "Origin"},
                  {"Access-Control-Allow-Methods", "GET, POST, DELETE, HEAD, OPTIONS"},
                  {"Access-Control-Max-Age", "600"}};
  const std::string_view asked = request.header("access-control-request-headers");
  headers.emplace_back("Access-Control-Allow-Headers",
                       asked.empty() ? "authorization, content-type, x-api-key, anthropic-version"
                                     : std::string(asked));
  if (request.header("access-control-request-private-network") == "true")
    headers.emplace_back("Access-Control-Allow-Private-Network", "true");
  return headers;
}

// Adds headers to whatever is answered.
class WithHeaders : public Reply {
 public:
  WithHeaders(std::shared_ptr<Reply> reply, Headers headers)
      : reply_(std::move(reply)), headers_(std::move(headers)) {}
  void send(int status, std::string_view type, std::string body, const Headers& more) override {
    reply_->send(status, type, std::move(body), all(more));
  }
  void begin(int status, std::string_view type, const Headers& more,
             std::string_view keep_alive) override {
    reply_->begin(status, type, all(more), keep_alive);
  }
  void write(std::string text) override { reply_->write(std::move(text)); }
  void end() override { reply_->end(); }
  void on_gone(std::function<void()> call) override { reply_->on_gone(std::move(call)); }

 private:
  Headers all(const Headers& more) const {
    Headers both = headers_;
    both.insert(both.end(), more.begin(), more.end());
    return both;
  }
  std::shared_ptr<Reply> reply_;
  Headers headers_;
};

ServerOptions checked(ServerOptions options) {
  if (options.http.tls_certificate.empty() != options.http.tls_key.empty())
    throw Error("serve: a certificate needs its key, and a key its certificate",
                "Give both --tls-cert and --tls-key.");
  if (!is_local_host(options.http.host) && options.api_keys.empty() && !options.no_auth)
    throw Error(
        fmt::format("serve: on {} others could use this machine without a key", options.http.host),
        "Give one with --api-key or --api-key-file, or say --no-auth if all who can reach "
        "it may use it.");
  return options;
}

}  // namespace

bool is_local_host(std::string_view host) {
  const std::string_view name = host_of(host);
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  const auto is = [&](std::string_view other) {
    return std::ranges::equal(name, other, {}, lower, lower);
  };
  if (is("localhost") || name == "[::1]" || host == "::1") return true;
  if (name.size() > 10 && name.ends_with(".localhost")) return true;
  // 127.0.0.0/8, and no name that begins so.
  return name.starts_with("127.") &&
         name.find_first_not_of("0123456789.") == std::string_view::npos;
}

bool is_local_origin(std::string_view origin) {
  for (const std::string_view scheme : {"http://", "https://"})
    if (origin.starts_with(scheme)) return is_local_host(origin.substr(scheme.size()));
  return false;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  unsigned different = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i)
    different |= static_cast<unsigned>(static_cast<uint8_t>(a[i]) ^
                                       static_cast<uint8_t>(b.empty() ? 0 : b[i % b.size()]));
  return different == 0;
}

Server::Server(ServerOptions options)
    : options_(checked(std::move(options))), service_(options_.service) {
  http_ = std::make_unique<HttpServer>(
      options_.http,
      [this](HttpRequest&& request, const std::shared_ptr<Reply>& reply) {
        handle(std::move(request), reply);
      },
      [](int status, std::string_view reason) {
        return error_body(Protocol::kOpenAi, Refusal(status, std::string(reason)));
      });
}

Server::~Server() {
  constexpr int kSeconds = 5;
  http_->stop_listening();
  service_.stop();
  http_->drain(kSeconds);
  http_.reset();
}

std::string Server::address() const {
  const bool is_v6 = options_.http.host.find(':') != std::string::npos;
  return fmt::format("{}://{}:{}", options_.http.tls_certificate.empty() ? "http" : "https",
                     is_v6 ? "[" + options_.http.host + "]" : options_.http.host, http_->port());
}

bool Server::is_authorized(const HttpRequest& request) const {
  if (options_.api_keys.empty()) return true;
  std::string_view key = request.header("x-api-key");
  if (const std::string_view bearer = request.header("authorization");
      bearer.starts_with("Bearer ") || bearer.starts_with("bearer "))
    key = bearer.substr(std::string_view("Bearer ").size());
  bool found = false;
  for (const std::string& known : options_.api_keys) found |= equal_in_constant_time(key, known);
  return found;
}

void Server::handle(HttpRequest&& request, const std::shared_ptr<Reply>& plain) {
  std::shared_ptr<Reply> reply = plain;
  try {
    // A page elsewhere may lead its own name here; its requests carry that name.
    const std::string_view host = request.header("host");
    if (is_local_host(options_.http.host) && !host.empty() && !is_local_host(host))
      throw Refusal(403, fmt::format("the Host \"{}\" is not served here", host));
    const std::string_view origin = request.header("origin");
    const bool may_ask =
        origin.empty() || is_local_origin(origin) ||
        std::ranges::find(options_.allowed_origins, origin) != options_.allowed_origins.end() ||
        std::ranges::find(options_.allowed_origins, "*") != options_.allowed_origins.end() ||
        // The server's own page.
        origin.substr(std::min(origin.find("://") + 3, origin.size())) == host;
    if (!may_ask)
      throw Refusal(403, fmt::format("pages of {} may not ask here (--allow-origin)", origin));
    if (!origin.empty()) reply = std::make_shared<WithHeaders>(plain, cors_headers(request));
    if (request.method == "OPTIONS") return reply->send(204, "", "");
    if (!is_public(request.path) && !is_authorized(request))
      throw Refusal(401, "the API key is missing or wrong", "invalid_api_key");
    const std::string method = request.method == "HEAD" ? "GET" : request.method;
    std::string allowed;
    for (const RouteEntry& entry : kRoutes) {
      if (!matches(entry, request.path)) continue;
      if (entry.method == method) {
        if (request.path == "/" && request.method == "HEAD")
          return ollama_alive(service_, request, reply);
        return entry.route(service_, request, reply);
      }
      allowed = entry.method;
    }
    if (!allowed.empty()) {
      const Refusal refusal(
          405, fmt::format("{}: {} was expected, not {}", request.path, allowed, request.method));
      return reply->send(405, "application/json", error_body(protocol_of(request.path), refusal),
                         {{"Allow", allowed}});
    }
    if (method == "GET") return page_file(service_, request, reply);
    throw Refusal(404, fmt::format("{} {}: there is no such route", request.method, request.path));
  } catch (const Refusal& e) {
    Headers headers;
    constexpr int kBusy = 503;
    if (e.status() == kBusy) headers.emplace_back("Retry-After", "2");
    if (e.status() == 401) headers.emplace_back("WWW-Authenticate", "Bearer");
    reply->send(e.status(), "application/json", error_body(protocol_of(request.path), e), headers);
  } catch (const Error& e) {
    const std::string text = e.message() + (e.hint().empty() ? "" : " " + e.hint());
    reply->send(500, "application/json", error_body(protocol_of(request.path), Refusal(500, text)));
  } catch (const nlohmann::json::exception& e) {
    // A field of another kind than all that were looked for.
    reply->send(400, "application/json",
                error_body(protocol_of(request.path), Refusal(400, e.what())));
  }
}

}  // namespace outboard::server
