#pragma once
#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace diffract {

/// What kind of thing went wrong; the table in error.cpp gives each its name, exit code and HTTP status.
enum class ErrorKind { usage, checkpoint, memory, peer, io, some_failed, cancelled, internal };

/// Base of all errors that diffract throws. A message says where, what was found, what was expected and what
/// to do next. Library code throws; only cli/ prints and exits.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

/// An error of one kind whose message is formatted in place: `throw UsageError("height {} is odd", h)`.
template <ErrorKind kKind>
class ErrorOf : public Error {
 public:
  template <typename... Args>
  explicit ErrorOf(fmt::format_string<Args...> format, Args&&... args)
      : Error(kKind, fmt::format(format, std::forward<Args>(args)...)) {}
};

using UsageError = ErrorOf<ErrorKind::usage>;            ///< the caller's options or arguments
using CheckpointError = ErrorOf<ErrorKind::checkpoint>;  ///< a damaged, missing or unsupported model file
using MemoryError = ErrorOf<ErrorKind::memory>;          ///< a device or host ran out of memory
using PeerError = ErrorOf<ErrorKind::peer>;              ///< another process is lost, hung or wrong
using IoError = ErrorOf<ErrorKind::io>;                  ///< no space, no permission, a failed read or write
using SomeFailed = ErrorOf<ErrorKind::some_failed>;      ///< a job went on, but some of its images failed
using Cancelled = ErrorOf<ErrorKind::cancelled>;         ///< stopped on request
using InternalError = ErrorOf<ErrorKind::internal>;      ///< a bug in diffract

struct ErrorInfo {
  std::string_view name;
  int exit_code;
  int http_status;
};
ErrorInfo error_info(ErrorKind kind);

}  // namespace diffract
