#pragma once
#include <memory>

#include "diffract/families/shared/unet_pipeline.h"
#include "diffract/families/stable_diffusion_xl/stable_diffusion_xl_facts.h"
#include "diffract/io/model_folder.h"
#include "diffract/models/text/clip_text_model.h"
#include "diffract/text/tokenizer.h"

namespace diffract::families {

/// Stable Diffusion XL, base and refiner: text to image, image to image, inpainting. Source: diffusers
/// pipeline_stable_diffusion_xl.py, pipeline_stable_diffusion_xl_img2img.py,
/// pipeline_stable_diffusion_xl_inpaint.py.
class StableDiffusionXLPipeline final : public UNetPipeline {
 public:
  struct TextEncoders {
    std::shared_ptr<const text::Tokenizer> tokenizer, tokenizer_2;
    std::shared_ptr<const models::CLIPTextModel> text_encoder;  // null, as its tokenizer, in a refiner
    std::shared_ptr<const models::CLIPTextModelWithProjection> text_encoder_2;
    // Of model_index.json:
    bool force_zeros_for_empty_prompt = true;  // no negative prompt is zeros
    bool requires_aesthetics_score = false;    // it is a refiner
  };

  /// `StableDiffusionXLPipeline::from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")`. Throws
  /// CheckpointError for what is damaged or missing.
  static std::shared_ptr<StableDiffusionXLPipeline> from_pretrained(const std::string& model,
                                                                    const loading::LoadOptions& options = {});
  static std::shared_ptr<StableDiffusionXLPipeline> from_folder(const io::ModelFolder& folder,
                                                                const loading::LoadOptions& options);
  /// Throws CheckpointError when the components do not fit each other.
  StableDiffusionXLPipeline(TextEncoders text, Core core);

  // B images of the batch, T tokens, D both hidden sizes, P projection_dim
  struct PromptEmbeds {
    Tensor prompt_embeds;                                             // [B, T, D]
    Tensor negative_prompt_embeds = {};                               // the same, with guidance
    Tensor pooled_prompt_embeds, negative_pooled_prompt_embeds = {};  // [B, P]
  };
  /// Embeddings of the request's prompts, or those that it has itself; one row an image. Text beyond the
  /// tokenizers' length is cut, with a warning that shows what was lost.
  PromptEmbeds encode_prompt(const pipelines::Request& request, bool do_classifier_free_guidance) const;

 protected:
  Conditions conditions_of(const pipelines::Request& request,
                           bool do_classifier_free_guidance) const override;
  std::vector<std::string> text_encoders() const override;

 private:
  struct Encoded {
    Tensor embeds, pooled;  // [texts, T, D], [texts, P]
  };
  Encoded encode_texts(const std::vector<std::string>& texts, const std::vector<std::string>& texts_2,
                       int64_t clip_skip) const;
  Encoded encode_positive(const pipelines::Request& request) const;
  Encoded encode_negative(const pipelines::Request& request, const Encoded& positive) const;

  TextEncoders text_;
};

}  // namespace diffract::families
