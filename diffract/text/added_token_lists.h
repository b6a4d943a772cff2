#pragma once
#include <set>
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/text/added_tokens.h"
#include "diffract/text/tokenizer_files.h"

namespace diffract::text {

/// True when tokenizer_config.json has the list "added_tokens_decoder", which goes before every other file.
bool has_added_tokens_decoder(const Json& tokenizer_config);

/// The tokens that the files list beside the vocabulary, by rising ids: those of tokenizer_config.json's
/// "added_tokens_decoder", or else of added_tokens.json and of tokenizer.json's `added_tokens` (null without
/// one), the latter where both have an id. Of added_tokens.json, which has no flags, the tokens in `special`
/// are looked for in the text as it is, the others in normalised text. Source: transformers'
/// PreTrainedTokenizerBase. Throws CheckpointError naming the file and the token that is wrong.
std::vector<AddedToken> parse_added_tokens(const TokenizerFiles& files, const Json& tokenizer_config,
                                           const Json& added_tokens, const std::set<std::string>& special);

}  // namespace diffract::text
