#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace diffract::test {

/// A folder of one test's own, removed with all that is in it when the test ends.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  /// Writes `bytes` to a file of this folder and gives its path.
  std::filesystem::path file(const std::string& name, std::string_view bytes) const;

 private:
  std::filesystem::path path_;
};

/// A file or folder of tests/data.
std::filesystem::path data(const std::string& name);

/// The message of the exception of type E that `call` throws; fails the test when it throws none or another.
template <typename E, typename Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return "<no error>";
}

}  // namespace diffract::test
