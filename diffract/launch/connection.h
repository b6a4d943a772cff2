#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "diffract/core/file_descriptor.h"
#include "diffract/core/json.h"
#include "diffract/launch/reactor.h"

namespace diffract::launch {

/// A TCP connection between two agents: one JSON object a line, at most 64 KiB each. What is no such line
/// ends the connection, whoever sends it.
class Connection {
 public:
  using Clock = Reactor::Clock;
  struct Events {
    std::function<void(const Json&)> message;        // may throw CheckpointError for what makes no sense
    std::function<void(const std::string&)> closed;  // by the other side or by an error; the reason
  };

  Connection(Reactor& reactor, FileDescriptor socket, Events events);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void send(const Json& message);
  /// Sends what waits, for at most `limit`, and closes.
  void finish(std::chrono::milliseconds limit);
  Clock::time_point last_heard() const { return last_heard_; }
  /// As if something had been heard: when this process itself did not run for a while.
  void excuse() { last_heard_ = Clock::now(); }
  /// The numeric address of this side.
  std::string local_address() const;

 private:
  void watch();
  void handle(short events);
  bool receive();  // false: closed
  bool take_lines();
  bool write_some();
  void close(const std::string& reason);

  Reactor& reactor_;
  FileDescriptor socket_;
  Events events_;
  std::string in_, out_;
  Clock::time_point last_heard_ = Clock::now();
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // an event may end the connection itself
};

}  // namespace diffract::launch
