#include "diffract/families/shared/clip_text.h"

#include <algorithm>

#include "diffract/pipelines/request_checks.h"
#include "diffract/text/clip_tokenizer.h"

namespace diffract::families {

std::shared_ptr<const text::Tokenizer> load_clip_tokenizer(const loading::ComponentLoader& load,
                                                           const char* component) {
  load.require_class(component, {"CLIPTokenizer", "CLIPTokenizerFast"});
  return std::make_shared<const text::ClipTokenizer>(
      text::ClipTokenizer::load(load.folder().component_folder(component)));
}

at::Tensor clip_ids(const text::Tokenizer& tokenizer, const std::vector<std::string>& texts,
                    const models::CLIPTextConfig& encoder) {
  return pipelines::token_batch(
      tokenizer, texts,
      {.length = std::min(tokenizer.model_max_length(), encoder.max_position_embeddings),
       .vocab_size = encoder.vocab_size});
}

}  // namespace diffract::families
