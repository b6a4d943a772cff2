#include "diffract/core/user_path.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <vector>

namespace diffract {
namespace {

constexpr size_t kMostEntryBytes = 1 << 20;

// The folder of an account, by its name or, without one, by the process' user.
std::string account_folder(const std::string& name) {
  std::vector<char> buffer(4096);
  passwd entry{}, *found = nullptr;
  while (buffer.size() <= kMostEntryBytes) {
    const int failure = name.empty()
                            ? ::getpwuid_r(::getuid(), &entry, buffer.data(), buffer.size(), &found)
                            : ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (failure != ERANGE) break;
    buffer.resize(2 * buffer.size());
  }
  return found && found->pw_dir ? found->pw_dir : "";
}

bool is_name_character(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

}  // namespace

std::filesystem::path home_folder() {
  const char* home = std::getenv("HOME");
  return home && *home ? std::string(home) : account_folder("");
}

std::string expand_home(std::string_view path) {
  if (!path.starts_with('~')) return std::string(path);
  const size_t end = std::min(path.find('/'), path.size());
  const std::string name(path.substr(1, end - 1));
  std::string home = name.empty() ? home_folder().string() : account_folder(name);
  if (home.empty()) return std::string(path);
  while (home.ends_with('/')) home.pop_back();
  home += path.substr(end);
  return home.empty() ? "/" : home;
}

std::string expand_variables(std::string_view text) {
  std::string expanded;
  for (size_t at = 0; at < text.size();) {
    const size_t dollar = std::min(text.find('$', at), text.size());
    expanded += text.substr(at, dollar - at);
    if (dollar == text.size()) break;
    const bool braced = text.substr(dollar + 1).starts_with('{');
    const size_t begin = dollar + (braced ? 2 : 1);
    size_t end = begin;
    while (end < text.size() && (braced ? text[end] != '}' : is_name_character(text[end]))) ++end;
    const bool whole = end > begin && (!braced || end < text.size());
    const size_t behind = std::min(end + (braced ? 1 : 0), text.size());
    const std::string name(text.substr(begin, end - begin));
    const char* value = whole ? std::getenv(name.c_str()) : nullptr;
    expanded += value ? std::string_view(value) : text.substr(dollar, behind - dollar);
    at = behind;
  }
  return expanded;
}

}  // namespace diffract
