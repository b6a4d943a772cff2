#pragma once
#include <cstdint>
#include <string>

namespace diffract::trace {

/// What this process does when, for pictures and for finding where time goes: DIFFRACT_TRACE names a file
/// that gets, at the end of the process, one JSON list of events in Chrome's trace format (chrome://tracing,
/// Perfetto). Without it a Span costs a comparison.
bool is_on();
/// Writes the file now, for a process that ends without its destructors.
void write();

/// A piece of work from here to the end of the scope, in the calling thread. Nothing without a name.
class Span {
 public:
  /// `kind` sorts the spans ("compute", "read", "copy", "wait"); `name` tells them apart. `lane` puts the
  /// span beside those of its thread, e.g. under a device's name.
  Span(const char* kind, const std::string& name, const std::string& lane = {});
  ~Span();
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  const char* kind_ = nullptr;  // null: tracing is off
  std::string name_, lane_;
  int64_t begin_ = 0;  // microseconds
};

}  // namespace diffract::trace
