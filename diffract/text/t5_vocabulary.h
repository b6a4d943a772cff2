#pragma once
#include <string>
#include <vector>

#include "diffract/text/added_tokens.h"
#include "diffract/text/text_sides.h"
#include "diffract/text/tokenizer_files.h"
#include "diffract/text/unigram.h"

namespace diffract::text {

/// What the files of a T5 tokenizer's folder say.
struct T5Vocabulary {
  std::vector<Unigram::Piece> pieces;  // by id, with the sentinels <extra_id_99> to <extra_id_0> at the end
  std::string precompiled_charsmap;    // empty: texts are not normalised
  std::vector<AddedToken> added_tokens;
  int64_t eos_id, pad_id, unk_id;
  int64_t model_max_length;
  TextSides sides;
  std::string source;  // names the vocabulary's file in messages
};

/// From tokenizer.json where there is one, else from spiece.model. Throws CheckpointError naming the file and
/// what is wrong.
T5Vocabulary parse_t5_vocabulary(const TokenizerFiles& files);

}  // namespace diffract::text
