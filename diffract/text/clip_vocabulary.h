#pragma once
#include <string>
#include <vector>

#include "diffract/text/added_tokens.h"
#include "diffract/text/byte_pair.h"
#include "diffract/text/text_sides.h"
#include "diffract/text/tokenizer_files.h"

namespace diffract::text {

/// What the files of a CLIP tokenizer's folder say.
struct ClipVocabulary {
  BytePair::Vocabulary tokens;
  BytePair::Merges merges;
  std::vector<AddedToken> added_tokens;
  int64_t bos_id, eos_id, pad_id, unk_id;
  int64_t model_max_length;
  TextSides sides;
  std::string source;  // names the vocabulary's file in messages
};

/// From tokenizer.json where there is one, else from vocab.json and merges.txt. Throws CheckpointError naming
/// the file and what is wrong.
ClipVocabulary parse_clip_vocabulary(const TokenizerFiles& files);

}  // namespace diffract::text
