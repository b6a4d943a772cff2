#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace diffract {

/// The entry of `known` that is spelled most like `word`, when one is close: for "did you mean".
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace diffract
