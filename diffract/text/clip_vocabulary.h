#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/text/byte_pair.h"

namespace diffract::text {

/// A token with a meaning of its own that is recognised inside a text.
struct SpecialToken {
  std::string content;
  int64_t id;
  bool normalized;  // looked for after the text has been normalised, not before
};

/// What the files of a CLIP tokenizer's folder say.
struct ClipVocabulary {
  BytePair::Vocabulary tokens;
  BytePair::Merges merges;
  std::vector<SpecialToken> special_tokens;
  int64_t bos_id, eos_id, pad_id, unk_id;
  int64_t model_max_length;
  std::string source;  // names the vocabulary's file in messages
};

/// Reads a tokenizer's folder: tokenizer.json where there is one, else vocab.json and merges.txt; with
/// tokenizer_config.json and special_tokens_map.json. Throws CheckpointError naming the file and what is
/// wrong.
ClipVocabulary load_clip_vocabulary(const std::filesystem::path& folder);

/// The contents of the files, for tests and for fuzzing; empty where a file is missing. Either
/// `tokenizer_json`, or `vocab_json` and `merges_txt`, is there.
struct ClipFiles {
  std::string tokenizer_json, vocab_json, merges_txt, tokenizer_config_json, special_tokens_map_json;
  std::string folder;  // names them in messages
};
ClipVocabulary parse_clip_vocabulary(const ClipFiles& files);

}  // namespace diffract::text
