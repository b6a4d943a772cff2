#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace diffract {

/// A file of lines that several processes, also of several hosts on a shared folder, append to at once. A
/// line is there whole and safely on the disk when `append` returns, or not at all; what a crash left of a
/// line is closed before the next one, so that it never spoils its neighbour.
class AppendLog {
 public:
  explicit AppendLog(std::filesystem::path file) : file_(std::move(file)) {}
  ~AppendLog();
  AppendLog(const AppendLog&) = delete;
  AppendLog& operator=(const AppendLog&) = delete;

  /// Appends one line, given without its end; the file is made with the first. Throws IoError.
  void append(std::string_view line);
  /// Puts what `change` makes of the file's text (empty without a file) in its place, as one step among the
  /// appends of all processes. Nothing is written when the text stays. What killed processes left
  /// half-written is removed. Throws IoError.
  void rewrite(const std::function<std::string(const std::string& text)>& change);
  const std::filesystem::path& file() const { return file_; }

 private:
  class Lock;
  void open(int flags);
  [[noreturn]] void fail(const char* doing) const;

  std::filesystem::path file_;
  int descriptor_ = -1;
};

}  // namespace diffract
