#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace diffract::kernels {

/// Which of several offers was the fastest for a shape, by its place among them, kept in a file from process
/// to process. A file that is missing, damaged or not ours counts as empty: its numbers are only hints, and
/// whoever uses one checks it against what is offered.
class Choices {
 public:
  static constexpr int kByAten = -1;  // the place of what is not among the offers

  /// `file` empty: nothing is kept.
  Choices(std::filesystem::path file, int most_offers);
  std::optional<int> find(const std::string& shape) const;
  void keep(const std::string& shape, int place);
  /// Writes what is new, beside what others wrote meanwhile. A cache that cannot be written is no error.
  void save();

 private:
  std::map<std::string, int> read() const;

  std::filesystem::path file_;
  int most_offers_;
  std::map<std::string, int> places_;
  bool has_news_ = false;
};

/// $XDG_CACHE_HOME/diffract or ~/.cache/diffract; empty when neither is known.
std::filesystem::path cache_folder();

}  // namespace diffract::kernels
