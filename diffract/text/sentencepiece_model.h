#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "diffract/text/unigram.h"

namespace diffract::text {

/// What a SentencePiece model file (spiece.model) holds, as far as encoding needs it.
struct SentencePieceModel {
  std::vector<Unigram::Piece> pieces;
  std::string precompiled_charsmap;  // empty: texts are not normalised
};

/// Reads the file's bytes, a protocol buffer of type ModelProto (sentencepiece_model.proto). Throws
/// CheckpointError naming `source` and the byte when it is damaged or of another kind than unigram.
SentencePieceModel parse_sentencepiece_model(std::string_view bytes, const std::string& source);

}  // namespace diffract::text
