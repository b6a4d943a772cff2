#pragma once
#include <filesystem>
#include <memory>
#include <vector>

#include "diffract/loading/textual_inversion.h"
#include "diffract/text/tokenizer.h"

namespace diffract::pipelines {

/// A CLIP tokenizer as pipelines use it, and what its text encoder gets for the tokens that were added.
struct PromptTokenizer {
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const loading::ComponentTokens> tokens;  // null: nothing was added
};

/// The tokenizer of a folder with the tokens of `inversions` behind its own: one of several vectors stands
/// for as many tokens in a row. Throws CheckpointError for a folder that is damaged, UsageError for a token
/// that it has already.
PromptTokenizer load_prompt_tokenizer(const std::filesystem::path& folder,
                                      std::vector<loading::Inversion> inversions);

}  // namespace diffract::pipelines
