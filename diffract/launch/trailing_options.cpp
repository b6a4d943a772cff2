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

// Of a compiled program: an option's name is a string without blanks, a message has some.
bool is_in_message(std::string_view text, size_t begin, size_t end) {
  const size_t first = text.rfind('\0', begin) + 1, last = std::min(text.find('\0', end), text.size());
  return text.substr(first, last - first).find(' ') != std::string_view::npos;
}

// `state` of `state.num_processes` at `begin`; not what a parser gave, whose members are options.
bool is_member(std::string_view text, size_t begin) {
  if (begin == 0 || text[begin - 1] != '.') return false;
  size_t first = begin - 1;
  while (first > 0 && is_word(text[first - 1])) --first;
  std::string object(text.substr(first, begin - 1 - first));
  for (char& c : object) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::string_view kParsed[] = {"arg", "opt", "flag", "cfg", "conf", "param", "hparam"};
  return std::none_of(std::begin(kParsed), std::end(kParsed),
                      [&](std::string_view parsed) { return object.starts_with(parsed); });
}

// True when `text` may hold `word` as an option's name: not as a part of a longer word, of a program's
// message, nor as an object's member. Dashes in front of it are its own.
bool names_word(std::string_view text, std::string_view word) {
  const bool is_program = text.starts_with(
      "\x7f"
      "ELF");
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    size_t begin = at;
    while (begin > 0 && text[begin - 1] == '-') --begin;
    const size_t end = at + word.size();
    if ((begin > 0 && is_word(text[begin - 1])) || (end < text.size() && is_word(text[end]))) continue;
    if (is_program ? !is_in_message(text, begin, end) : !is_member(text, begin)) return true;
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
    return names_word(text, dashed) || names_word(text, underlined);
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

TrailingOptions take_trailing_options(std::vector<std::string>& command,
                                      const std::function<bool(const std::string& option)>& generate_knows) {
  TrailingOptions result;
  const bool generate = command.front() == "generate";
  std::vector<std::string> texts;
  for (size_t i = 1; i < command.size() && command[i] != "--";) {
    const OptionSpec* spec = find_option(command[i]);
    const bool is_launchers =
        spec && !spec->without_effect && spec->name != "help" && (generate || spec->launchers_own);
    if (is_launchers && !generate && texts.empty()) texts = texts_of(command);
    const auto program_knows = [&] {
      return generate ? generate_knows("--" + std::string(spec->name)) : names_option(texts, *spec);
    };
    if (!is_launchers || program_knows()) {
      if (is_launchers && !generate) result.left.push_back(command[i]);
      ++i;
      continue;
    }
    size_t behind = i;
    result.taken.push_back(read_option(command, behind));
    command.erase(command.begin() + static_cast<std::ptrdiff_t>(i),
                  command.begin() + static_cast<std::ptrdiff_t>(behind));
  }
  return result;
}

}  // namespace diffract::launch
