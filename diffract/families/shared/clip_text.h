#pragma once
#include <memory>
#include <string>
#include <vector>

#include "diffract/loading/load_component.h"
#include "diffract/models/text/clip_text_model.h"
#include "diffract/pipelines/prompt_tokenizer.h"
#include "diffract/text/tokenizer.h"

namespace diffract::families {

/// A component that is CLIP's tokenizer, with the options' textual inversions for its text encoder. Throws
/// CheckpointError for another class and damaged files, UsageError for a token that it has already.
pipelines::PromptTokenizer load_clip_tokenizer(const loading::ComponentLoader& load, const char* component,
                                               const char* text_encoder);

/// pipelines::token_batch for a text encoder of CLIP.
at::Tensor clip_ids(const text::Tokenizer& tokenizer, const std::vector<std::string>& texts,
                    const models::CLIPTextConfig& encoder);

}  // namespace diffract::families
