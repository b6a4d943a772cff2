#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/text/clip_tokenizer.h"

// Bytes parted at 0x1f into the files of a tokenizer's folder and a text: errors of ours, or ids of the
// vocabulary.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> parts(6);
  size_t part = 0;
  for (size_t i = 0; i < size; ++i) {
    if (data[i] == 0x1f && part + 1 < parts.size())
      ++part;
    else
      parts[part] += static_cast<char>(data[i]);
  }
  static const diffract::text::ClipTokenizer sound(diffract::text::parse_clip_vocabulary(
      {.tokenizer_json = {},
       .vocab_json = R"({"a":0,"b":1,"a</w>":2,"b</w>":3,"ab</w>":4,"<|startoftext|>":5,"<|endoftext|>":6})",
       .merges_txt = "a b</w>\n",
       .tokenizer_config_json = {},
       .special_tokens_map_json = {},
       .folder = "sound"}));
  const auto encode = [&](const diffract::text::ClipTokenizer& tokenizer) {
    try {
      const auto encoding = tokenizer.encode(parts[5], {.max_length = 77, .pad = true});
      if (encoding.input_ids.size() != 77) __builtin_trap();
      for (const int64_t id : encoding.input_ids)
        if (id < 0 || id >= tokenizer.vocab_size()) __builtin_trap();
    } catch (const diffract::UsageError&) {
    }
  };
  encode(sound);
  try {
    encode(diffract::text::ClipTokenizer(
        diffract::text::parse_clip_vocabulary({.tokenizer_json = parts[0],
                                               .vocab_json = parts[1],
                                               .merges_txt = parts[2],
                                               .tokenizer_config_json = parts[3],
                                               .special_tokens_map_json = parts[4],
                                               .folder = "fuzz"})));
  } catch (const diffract::Error&) {
  }
  return 0;
}
