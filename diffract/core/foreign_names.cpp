#include "diffract/core/foreign_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "diffract/core/nearest.h"

namespace diffract {
namespace {

std::string plain(std::string_view name) {
  name.remove_prefix(std::min(name.find_first_not_of('-'), name.size()));
  std::string plain(name);
  for (char& c : plain)
    c = c == '_' || c == ' ' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return plain;
}

// The entry of `known` that is nearest, as it stands there; empty: none is. A word all of whose letters would
// have to be replaced is like none.
std::string spelled_alike(std::string_view name, const std::vector<std::string>& known) {
  const std::string wanted = plain(name);
  if (wanted.empty()) return "";
  std::vector<std::string> plain_known;
  plain_known.reserve(known.size());
  for (const std::string& entry : known) plain_known.push_back(plain(entry));
  const size_t most_edits = std::min(std::max<size_t>(2, name.size() / 3), wanted.size() - 1);
  const auto found = nearest(wanted, plain_known, most_edits);
  if (!found) return "";
  const auto at = std::find(plain_known.begin(), plain_known.end(), *found) - plain_known.begin();
  return known[static_cast<size_t>(at)];
}

}  // namespace

std::string hint_for(std::string_view name, std::span<const ForeignName> foreign,
                     const std::vector<std::string>& known) {
  const std::string wanted = plain(name);
  const auto same = [&](const ForeignName& entry) { return entry.name == wanted; };
  if (const auto found = std::find_if(foreign.begin(), foreign.end(), same); found != foreign.end())
    return fmt::format("; {}", found->advice);
  const auto suggestion = spelled_alike(name, known);
  return suggestion.empty() ? "" : fmt::format("; did you mean {}?", suggestion);
}

}  // namespace diffract
