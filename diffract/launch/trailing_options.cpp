#include "diffract/launch/trailing_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace diffract::launch {
namespace {

namespace fs = std::filesystem;

constexpr uintmax_t kMaxScannedBytes = 256 << 20;

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-'; }

// True when `text` holds `word` and not as a part of a longer one; dashes in front of it are its own.
bool contains_word(std::string_view text, std::string_view word) {
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    size_t begin = at;
    while (begin > 0 && text[begin - 1] == '-') --begin;
    const bool starts = begin == 0 || !is_word(text[begin - 1]);
    const size_t end = at + word.size();
    if (starts && (end == text.size() || !is_word(text[end]))) return true;
  }
  return false;
}

std::string read_small_file(const std::string& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error) || fs::file_size(file, error) > kMaxScannedBytes || error) return "";
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// What the program says of itself: the bytes of its file, of the files among its arguments, and the
// arguments.
std::vector<std::string> texts_of(const std::vector<std::string>& command) {
  std::vector<std::string> texts = {read_small_file(find_program(command.front()))};
  for (auto argument = command.begin() + 1; argument != command.end(); ++argument) {
    if (argument->starts_with("--") && find_option(*argument)) continue;
    texts.push_back(*argument);
    texts.push_back(read_small_file(*argument));
  }
  return texts;
}

bool names_option(const std::vector<std::string>& texts, const OptionSpec& spec) {
  std::string dashed(spec.name), underlined(spec.name);
  std::replace(underlined.begin(), underlined.end(), '-', '_');
  return std::any_of(texts.begin(), texts.end(), [&](const std::string& text) {
    return contains_word(text, dashed) || contains_word(text, underlined);
  });
}

}  // namespace

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* variable = std::getenv("PATH");
  const std::string path = variable ? variable : "/usr/local/bin:/usr/bin:/bin";
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    const std::string folder = path.substr(begin, end - begin);
    const std::string file = (folder.empty() ? "." : folder) + "/" + name;
    std::error_code error;
    if (fs::is_regular_file(file, error) && ::access(file.c_str(), X_OK) == 0) return file;
    begin = end + 1;
  }
  std::error_code error;
  return name.ends_with(".py") && fs::is_regular_file(name, error) ? name : "";
}

std::vector<GivenOption> take_trailing_options(
    std::vector<std::string>& command, const std::function<bool(const std::string& option)>& generate_knows) {
  std::vector<GivenOption> taken;
  const bool generate = command.front() == "generate";
  std::vector<std::string> texts;
  for (size_t i = 1; i < command.size() && command[i] != "--";) {
    const OptionSpec* spec = find_option(command[i]);
    bool ours = spec && !spec->help.empty() && spec->name != "help" && (generate || spec->launchers_own);
    if (ours && generate) ours = !generate_knows("--" + std::string(spec->name));
    if (ours && !generate) {
      if (texts.empty()) texts = texts_of(command);
      ours = !names_option(texts, *spec);
    }
    if (!ours) {
      ++i;
      continue;
    }
    size_t behind = i;
    taken.push_back(read_option(command, behind));
    command.erase(command.begin() + static_cast<std::ptrdiff_t>(i),
                  command.begin() + static_cast<std::ptrdiff_t>(behind));
  }
  return taken;
}

}  // namespace diffract::launch
