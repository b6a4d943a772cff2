#pragma once
#include <memory>
#include <string>

#include "diffract/core/file_descriptor.h"
#include "diffract/launch/console.h"

namespace diffract::launch {

/// One of a worker's streams on its way to the console and a log file. Keeps its last lines.
class WorkerStream {
 public:
  /// `console` may be null: not shown. `log` may be none. `prefix` goes in front of each line on the console.
  WorkerStream(Reactor& reactor, Console* console, FileDescriptor log, std::string prefix);
  ~WorkerStream();
  WorkerStream(const WorkerStream&) = delete;
  WorkerStream& operator=(const WorkerStream&) = delete;

  /// The descriptor for the worker; closed here by started().
  int worker_end() const { return worker_end_.get(); }
  void started() { worker_end_.reset(); }
  /// Reads what is there now: after the worker's end, which its own children may keep open.
  void drain();
  /// The last lines, at most 20 and 4 KiB.
  std::string last_lines() const;

 private:
  bool read_some();  // false: nothing there now
  void take(std::string_view bytes);
  void show(bool all);
  void watch();

  Reactor& reactor_;
  Console* console_;
  FileDescriptor log_, near_end_, worker_end_;
  std::string prefix_, unshown_, tail_;
  bool line_begins_ = true;
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // timers may outlive the stream
};

}  // namespace diffract::launch
