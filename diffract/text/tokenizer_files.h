#pragma once
#include <filesystem>
#include <string>

#include "diffract/core/json.h"

namespace diffract::text {

/// The contents of the files of a tokenizer's folder; empty where a file is missing. Held apart from the disk
/// for tests and for fuzzing.
struct TokenizerFiles {
  std::string tokenizer_json, vocab_json, merges_txt, tokenizer_config_json, special_tokens_map_json;
  std::string folder;             // names them in messages
  std::string spiece_model = {};  // a protocol buffer
  std::string added_tokens_json = {};
};

/// Reads what is there; of the vocabulary's forms only the first that is there: tokenizer.json, else
/// spiece.model, else vocab.json and merges.txt. Throws CheckpointError when there is no such folder, no form
/// of a vocabulary, or an empty file of it.
TokenizerFiles load_tokenizer_files(const std::filesystem::path& folder);

/// An object, empty for empty text. Throws CheckpointError naming `source`.
Json parse_object(const std::string& text, const std::string& source);

}  // namespace diffract::text
