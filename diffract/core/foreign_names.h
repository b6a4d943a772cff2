#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace diffract {

/// A name that another program has for something, and what a user of diffract does instead.
struct ForeignName {
  std::string_view name;    // as typed, without leading dashes, "-" for "_", in lower case
  std::string_view advice;  // half a sentence that follows "; "
};

/// The end of a message about a name that is not known: "; " and the advice for a foreign name, else
/// "; did you mean X?" for an entry of `known` that is spelled alike, else nothing. Case, leading dashes, and
/// "_" or a blank in place of "-" make no difference.
std::string hint_for(std::string_view name, std::span<const ForeignName> foreign,
                     const std::vector<std::string>& known);

}  // namespace diffract
