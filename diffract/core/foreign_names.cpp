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

}  // namespace

std::string hint_for(std::string_view name, std::span<const ForeignName> foreign,
                     const std::vector<std::string>& known) {
  const std::string wanted = plain(name);
  const auto same = [&](const ForeignName& entry) { return entry.name == wanted; };
  if (const auto found = std::find_if(foreign.begin(), foreign.end(), same); found != foreign.end())
    return fmt::format("; {}", found->advice);
  const auto suggestion = nearest(name, known);
  return suggestion ? fmt::format("; did you mean {}?", *suggestion) : "";
}

}  // namespace diffract
