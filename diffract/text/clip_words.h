#pragma once
#include <string_view>
#include <vector>

namespace diffract::text {

/// The words of normalised text that CLIP encodes one by one: runs of letters, single numbers, runs of what
/// is neither, and the English endings 's 't 're 've 'm 'll 'd. White space parts words and is dropped.
std::vector<std::u32string_view> split_clip_words(std::u32string_view text);

}  // namespace diffract::text
