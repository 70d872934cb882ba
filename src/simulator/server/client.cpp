#include "simulator/server/client.h"

#include <algorithm>

#include "support/error.h"

namespace outboard::simulator::server {
namespace {
// Large transfers pass in pieces of this size; the client cannot tell.
constexpr uint64_t kPiece = uint64_t{4} << 20;

std::span<const std::byte> bytes_of(const link::protocol::Response& response) {
  return std::as_bytes(std::span(&response, 1));
}
}  // namespace

std::span<std::byte> Client::buffer() {
  if (buffer_.empty()) buffer_.resize(kPiece);
  return buffer_;
}

Outcome Client::answer(uint64_t resp0, uint64_t resp1, std::span<const std::byte> payload) {
  const link::protocol::Response response{0, resp0, resp1};
  const bool sent = socket_.send(bytes_of(response)) && socket_.send(payload);
  return {sent, sent ? "ok" : "client gone"};
}

Outcome Client::refuse(const std::string& message) {
  const link::protocol::Response response{1, message.size(), 0};
  const bool sent =
      socket_.send(bytes_of(response)) && socket_.send(std::as_bytes(std::span(message)));
  return {sent, message.empty() ? "refused" : "refused: " + message};
}

Outcome Client::read_bar(uint32_t bar, uint64_t offset, uint64_t size) {
  const link::protocol::Response response{0, size, 0};
  bool sent = socket_.send(bytes_of(response));
  while (sent && size > 0) {
    const std::span<std::byte> piece = buffer().first(std::min(size, kPiece));
    card_.bar_read(static_cast<int>(bar), link::BarOffset{offset}, piece);
    sent = socket_.send(piece);
    offset += piece.size();
    size -= piece.size();
  }
  return {sent, sent ? "ok" : "client gone"};
}

bool Client::write_bar(uint32_t bar, uint64_t offset, uint64_t size, bool keep) {
  while (size > 0) {
    const std::span<std::byte> piece = buffer().first(std::min(size, kPiece));
    if (!socket_.receive(piece)) return false;
    if (keep) card_.bar_write(static_cast<int>(bar), link::BarOffset{offset}, piece);
    offset += piece.size();
    size -= piece.size();
  }
  return true;
}

}  // namespace outboard::simulator::server
