#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace diffract {

/// The entry of `known` that is spelled most like `word`, when one is close: for "did you mean". Close is at
/// most `most_edits` letters away, by default a third of the word's.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& known,
                                   std::optional<size_t> most_edits = {});

}  // namespace diffract
