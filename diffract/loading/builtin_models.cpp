#include "diffract/loading/builtin_models.h"

#include <algorithm>
#include <cstdlib>

namespace diffract::loading {
namespace fs = std::filesystem;
namespace {

std::vector<fs::path> search_path() {
  std::vector<fs::path> folders;
  if (const char* given = std::getenv("DIFFRACT_MODELS"); given && *given) folders.emplace_back(given);
  std::error_code ignored;
  if (const fs::path program = fs::read_symlink("/proc/self/exe", ignored); !program.empty())
    folders.push_back(program.parent_path().parent_path() / "share/diffract/models");
  folders.emplace_back(DIFFRACT_SOURCE_MODELS);
  return folders;
}

bool is_model(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_regular_file(folder / "model_index.json", ignored);
}

}  // namespace

std::optional<fs::path> builtin_model(const std::string& name) {
  if (name.empty() || name.find_first_of("/.") != std::string::npos) return {};
  for (const fs::path& folder : search_path())
    if (is_model(folder / name)) return folder / name;
  return {};
}

std::vector<std::string> builtin_models() {
  std::vector<std::string> names;
  for (const fs::path& folder : search_path()) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored))
      if (is_model(entry.path())) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace diffract::loading
