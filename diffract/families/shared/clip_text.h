#pragma once
#include <memory>
#include <string>
#include <vector>

#include "diffract/loading/load_component.h"
#include "diffract/models/text/clip_text_model.h"
#include "diffract/text/tokenizer.h"

namespace diffract::families {

/// A component that is CLIP's tokenizer. Throws CheckpointError for another class and damaged files.
std::shared_ptr<const text::Tokenizer> load_clip_tokenizer(const loading::ComponentLoader& load,
                                                           const char* component);

/// pipelines::token_batch for a text encoder of CLIP.
at::Tensor clip_ids(const text::Tokenizer& tokenizer, const std::vector<std::string>& texts,
                    const models::CLIPTextConfig& encoder);

}  // namespace diffract::families
