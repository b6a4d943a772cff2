#include "diffract/text/tokenizer.h"

namespace diffract::text {

Encoding finish_encoding(std::vector<int64_t> ids, const EndTokens& tokens, const EncodeOptions& options) {
  Encoding result{.input_ids = std::move(ids), .cut_tokens = 0};
  const auto length = static_cast<size_t>(options.max_length);
  const size_t whole = result.input_ids.size() + 1;
  if (length > 0 && whole > length) {
    result.cut_tokens = static_cast<int64_t>(whole - length);
    result.input_ids.resize(length - 1);
  }
  result.input_ids.push_back(tokens.end);
  if (options.pad && result.input_ids.size() < length) result.input_ids.resize(length, tokens.pad);
  return result;
}

}  // namespace diffract::text
