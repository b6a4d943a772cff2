#include "diffract/families/shared/clip_text.h"

#include <algorithm>

#include "diffract/pipelines/request_checks.h"

namespace diffract::families {

pipelines::PromptTokenizer load_clip_tokenizer(const loading::ComponentLoader& load, const char* component,
                                               const char* text_encoder) {
  load.require_class(component, {"CLIPTokenizer", "CLIPTokenizerFast"});
  return pipelines::load_prompt_tokenizer(load.folder().component_folder(component),
                                          load.inversions(text_encoder));
}

at::Tensor clip_ids(const text::Tokenizer& tokenizer, const std::vector<std::string>& texts,
                    const models::CLIPTextConfig& encoder) {
  return pipelines::token_batch(
      tokenizer, texts,
      {.length = std::min(tokenizer.model_max_length(), encoder.max_position_embeddings),
       .vocab_size = encoder.vocab_size});
}

}  // namespace diffract::families
