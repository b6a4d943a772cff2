#include <cstdint>
#include <string>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/text/t5_tokenizer.h"

// The first byte says which form of the vocabulary follows; then its length in two bytes, its bytes, and a
// text: errors of ours, or ids of the vocabulary.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 3, size - 3);
  const size_t length = std::min<size_t>(data[1] | size_t{data[2]} << 8, rest.size());
  const std::string vocabulary = rest.substr(0, length), text = rest.substr(length);
  diffract::text::TokenizerFiles files{.tokenizer_json = {},
                                       .vocab_json = {},
                                       .merges_txt = {},
                                       .tokenizer_config_json = R"({"additional_special_tokens": []})",
                                       .special_tokens_map_json = {},
                                       .folder = "fuzz"};
  (data[0] % 2 ? files.tokenizer_json : files.spiece_model) = vocabulary;
  try {
    const diffract::text::T5Tokenizer tokenizer(diffract::text::parse_t5_vocabulary(files));
    const auto encoding = tokenizer.encode(text, {.max_length = 64, .pad = true});
    if (encoding.input_ids.size() != 64) __builtin_trap();
    for (const int64_t id : encoding.input_ids)
      if (id < 0 || id >= tokenizer.vocab_size()) __builtin_trap();
  } catch (const diffract::Error&) {
  }
  return 0;
}
