#include "diffract/jobs/output_pattern.h"

#include <fmt/format.h>
#include "diffract/core/error.h"
#include "diffract/core/utf8.h"

namespace diffract::jobs {
namespace {

constexpr size_t kMostBytes = 100;

// Calls literal(text) and place(name) along the pattern.
template <typename Literal, typename Place>
void walk(const std::string& pattern, Literal&& literal, Place&& place) {
  for (size_t at = 0; at < pattern.size();) {
    const size_t open = pattern.find_first_of("{}", at);
    literal(pattern.substr(at, open - at));
    if (open == std::string::npos) return;
    const size_t close = pattern.find('}', open);
    if (pattern[open] == '}' || close == std::string::npos)
      throw UsageError("--output \"{}\": a brace without its partner", pattern);
    place(pattern.substr(open + 1, close - open - 1));
    at = close + 1;
  }
}

}  // namespace

std::string file_name_part(const std::string& text) {
  std::string part;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == ' ' || (byte >= '\t' && byte <= '\r')) {
      if (!part.empty() && part.back() != '_') part += '_';
    } else if (byte > ' ' && byte != 0x7f &&
               std::string_view("/\\:*?\"<>|").find(c) == std::string_view::npos) {
      part += c;
    }
  }
  part.resize(whole_characters(part, kMostBytes));
  while (!part.empty() && (part.back() == '_' || part.back() == '.')) part.pop_back();
  while (!part.empty() && part.front() == '.') part.erase(0, 1);
  return part.empty() ? "image" : part;
}

OutputPattern::OutputPattern(std::string pattern) : pattern_(std::move(pattern)) {
  if (pattern_.empty() || pattern_.back() == '/')
    throw UsageError("--output \"{}\": is not a file name", pattern_);
  walk(
      pattern_, [](const std::string&) {},
      [&](const std::string& name) {
        if (name != "index" && name != "prompt" && name != "seed" && name != "rank")
          throw UsageError(
              "--output \"{}\": {{{}}} is not known; there are {{index}}, {{prompt}}, {{seed}}, {{rank}}",
              pattern_, name);
      });
}

std::string OutputPattern::file(const JobImage& image, int64_t rank) const {
  std::string name;
  walk(
      pattern_, [&](const std::string& text) { name += text; },
      [&](const std::string& place) {
        if (place == "index") name += std::to_string(image.index);
        if (place == "seed") name += std::to_string(image.seed);
        if (place == "rank") name += std::to_string(rank);
        if (place == "prompt") name += file_name_part(image.prompt);
      });
  return name;
}

std::string OutputPattern::folder() const {
  const size_t slash = pattern_.substr(0, pattern_.find('{')).rfind('/');
  return slash == std::string::npos ? "" : pattern_.substr(0, slash + 1);
}

namespace {

constexpr std::string_view kPreview = ".step_", kPicture = ".png";

}  // namespace

std::string preview_file(const std::string& picture, size_t index) {
  return fmt::format("{}{}{:03}{}", picture.substr(0, picture.size() - kPicture.size()), kPreview, index,
                     kPicture);
}

bool is_preview_file(const std::string& file) {
  const size_t at = file.rfind(kPreview), begin = at + kPreview.size();
  if (at == std::string::npos || file.size() < begin + kPicture.size()) return false;
  const std::string number = file.substr(begin, file.size() - begin - kPicture.size());
  return !number.empty() && number.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace diffract::jobs
