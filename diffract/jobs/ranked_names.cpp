#include "diffract/jobs/ranked_names.h"

#include <algorithm>
#include <numeric>

namespace diffract::jobs {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kPlace = 8'888'888'888'888'888'888;  // no rank, and hardly in any name

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

// Calls use(text, rank) with each number below `world_size` in the file's name replaced by the place.
template <typename Use>
void for_each_reading(const fs::path& file, int64_t world_size, Use&& use) {
  const std::string name = file.filename().string();
  const auto is_digit = [&](size_t at) { return at < name.size() && name[at] >= '0' && name[at] <= '9'; };
  for (size_t begin = 0; begin < name.size(); ++begin) {
    int64_t rank = 0;
    for (size_t end = begin; is_digit(end) && (end == begin || name[begin] != '0'); ++end) {
      rank = rank * 10 + (name[end] - '0');
      if (rank >= world_size) break;
      use((file.parent_path() / (name.substr(0, begin) + std::to_string(kPlace) + name.substr(end + 1)))
              .string(),
          rank);
    }
  }
}

}  // namespace

RankedNames::RankedNames(Name name, int64_t world_size)
    : name_(std::move(name)), world_size_(world_size), place_(0), readable_(true) {
  if (name_({}, 0) == name_({}, 1)) {
    world_size_ = 1;
    return;
  }
  const std::string place = std::to_string(kPlace);
  place_ = kPlace;
  const fs::path example = name_({}, kPlace);
  readable_ = count(example.string(), place) == 1 && count(example.filename().string(), place) == 1;
}

std::vector<std::string> RankedNames::readings(const fs::path& file) const {
  if (place_ == 0) return {file.string()};
  std::vector<std::string> all;
  for_each_reading(file, world_size_, [&](std::string text, int64_t) { all.push_back(std::move(text)); });
  return all;
}

std::vector<int64_t> RankedNames::ranks_of(const JobImage& image) {
  if (place_ == 0) return {0};
  if (!readable_) {
    std::vector<int64_t> every(static_cast<size_t>(world_size_));
    std::iota(every.begin(), every.end(), int64_t{0});
    return every;
  }
  const std::hash<std::string> hash;
  const fs::path wanted = with_place(image), folder = wanted.parent_path();
  const auto [entry_of_folder, is_new] = folders_.try_emplace(folder);
  auto& known = entry_of_folder->second;
  std::error_code ignored;
  if (is_new)
    for (const auto& item : fs::directory_iterator(folder.empty() ? "." : folder, ignored))
      for_each_reading(folder / item.path().filename(), world_size_,
                       [&](const std::string& text, int64_t rank) { known.emplace(hash(text), rank); });
  std::vector<int64_t> ranks;
  const auto [begin, end] = known.equal_range(hash((folder / wanted.filename()).string()));
  for (auto entry = begin; entry != end; ++entry) ranks.push_back(entry->second);
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

}  // namespace diffract::jobs
