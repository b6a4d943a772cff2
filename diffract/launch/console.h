#pragma once
#include <string>
#include <string_view>

#include "diffract/launch/reactor.h"

namespace diffract::launch {

/// The launcher's own stdout or stderr, written to without waiting for who reads it: a terminal that stands
/// still must not stop the launcher from watching.
class Console {
 public:
  Console(Reactor& reactor, int descriptor) : reactor_(reactor), descriptor_(descriptor) {}
  ~Console() {
    flush(std::chrono::milliseconds(500));
    reactor_.forget(descriptor_);
  }
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  void write(std::string_view text);
  /// True when so much waits that no more should be read from the workers.
  bool full() const { return waiting_.size() > kFullBytes; }
  /// Writes what waits, for at most `limit`.
  void flush(std::chrono::milliseconds limit);

 private:
  static constexpr size_t kFullBytes = 1 << 20;
  bool write_some();  // false: not now
  void watch();

  Reactor& reactor_;
  int descriptor_;
  std::string waiting_;
};

}  // namespace diffract::launch
