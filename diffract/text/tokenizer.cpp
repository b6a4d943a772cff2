#include "diffract/text/tokenizer.h"

namespace diffract::text {

Encoding finish_encoding(std::vector<int64_t> ids, const TextFrame& frame, const EncodeOptions& options) {
  Encoding result{.input_ids = {}, .cut_tokens = 0};
  const auto length = static_cast<size_t>(options.max_length);
  const size_t around = frame.begin ? 2 : 1;
  if (length > 0 && ids.size() + around > length) {
    const size_t cut = ids.size() + around - length;
    result.cut_tokens = static_cast<int64_t>(cut);
    if (frame.sides.truncation == Side::left)
      ids.erase(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(cut));
    else
      ids.resize(ids.size() - cut);
  }
  const size_t whole = ids.size() + around;
  const size_t padding = options.pad && whole < length ? length - whole : 0;
  const bool pads_left = frame.sides.padding == Side::left;
  auto& all = result.input_ids;
  all.reserve(whole + padding);
  if (pads_left) all.resize(padding, frame.pad);
  if (frame.begin) all.push_back(*frame.begin);
  all.insert(all.end(), ids.begin(), ids.end());
  all.push_back(frame.end);
  if (!pads_left) all.resize(whole + padding, frame.pad);
  return result;
}

}  // namespace diffract::text
