#include "diffract/launch/connection.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "diffract/core/error.h"

namespace diffract::launch {
namespace {

constexpr size_t kMaxLine = 64 << 10, kMaxWaiting = 4 << 20;

}  // namespace

Connection::Connection(Reactor& reactor, FileDescriptor socket, Events events)
    : reactor_(reactor), socket_(std::move(socket)), events_(std::move(events)) {
  ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
  const int yes = 1;
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  watch();
}

Connection::~Connection() {
  if (socket_) reactor_.forget(socket_.get());
}

void Connection::watch() {
  const auto events = static_cast<short>(out_.empty() ? POLLIN : POLLIN | POLLOUT);
  reactor_.watch(socket_.get(), events, [this](short ready) { handle(ready); });
}

void Connection::close(const std::string& reason) {
  if (!socket_) return;
  reactor_.forget(socket_.get());
  socket_.reset();
  events_.closed(reason);
}

void Connection::handle(short events) {
  if ((events & POLLOUT) != 0) {
    if (!write_some()) return;
    if (out_.empty()) watch();
  }
  if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) receive();
}

bool Connection::receive() {
  char buffer[16384];
  const ssize_t size = ::recv(socket_.get(), buffer, sizeof buffer, 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (size <= 0) {
    close(size == 0 ? "closed the connection" : fmt::format("was lost: {}", std::strerror(errno)));
    return false;
  }
  last_heard_ = Clock::now();
  in_.append(buffer, static_cast<size_t>(size));
  return take_lines();
}

bool Connection::take_lines() {
  const std::weak_ptr<char> alive = alive_;
  size_t begin = 0;
  for (size_t end; (end = in_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    try {
      const Json message = parse_json(std::string_view(in_).substr(begin, end - begin), "a message");
      if (!message.is_object()) throw CheckpointError("a message is no JSON object");
      events_.message(message);
    } catch (const CheckpointError& error) {
      if (!alive.expired()) close(fmt::format("sent what diffract launch does not: {}", error.what()));
      return false;
    }
    if (alive.expired() || !socket_) return false;
  }
  in_.erase(0, begin);
  if (in_.size() <= kMaxLine) return true;
  close(fmt::format("sent more than {} bytes without an end of line", kMaxLine));
  return false;
}

void Connection::send(const Json& message) {
  if (!socket_) return;
  const bool idle = out_.empty();
  out_ += json_text(message) + "\n";
  if (out_.size() > kMaxWaiting) out_.clear();  // it reads nothing, and will count as lost for its silence
  if (idle && write_some() && !out_.empty()) watch();
}

bool Connection::write_some() {
  const ssize_t sent = ::send(socket_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
  if (sent >= 0) {
    out_.erase(0, static_cast<size_t>(sent));
    return true;
  }
  if (errno == EAGAIN || errno == EINTR) return true;
  // Not closed at once: send() is called from amid other work, which the event would surprise.
  const std::string reason = fmt::format("was lost: {}", std::strerror(errno));
  out_.clear();
  reactor_.after({}, [this, reason, alive = std::weak_ptr<char>(alive_)] {
    if (!alive.expired()) close(reason);
  });
  return false;
}

void Connection::finish(std::chrono::milliseconds limit) {
  if (!socket_) return;
  reactor_.forget(socket_.get());
  const auto end = Clock::now() + limit;
  while (!out_.empty() && Clock::now() < end && write_some()) {
    pollfd polled{.fd = socket_.get(), .events = POLLOUT, .revents = 0};
    if (!out_.empty()) ::poll(&polled, 1, 20);
  }
  // The other side sees an end, not a reset, though not all it sent was read.
  ::shutdown(socket_.get(), SHUT_WR);
  socket_.reset();
}

std::string Connection::local_address() const {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  char host[NI_MAXHOST] = "";
  if (::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0)
    ::getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, host, sizeof host, nullptr, 0,
                  NI_NUMERICHOST);
  return host;
}

}  // namespace diffract::launch
