#pragma once
#include "diffract/core/json.h"
#include "diffract/text/tokenizer_files.h"

namespace diffract::text {

/// At which end a text is cut and filled up.
enum class Side { left, right };
struct TextSides {
  Side truncation = Side::right, padding = Side::right;
};

/// "truncation_side" and "padding_side" of tokenizer_config.json; what is missing there is the "direction" of
/// "truncation" and "padding" in `tokenizer_json` (null without that file); else right. That is transformers'
/// order. Throws CheckpointError naming the file and the key.
TextSides read_text_sides(const TokenizerFiles& files, const Json& tokenizer_json);

}  // namespace diffract::text
