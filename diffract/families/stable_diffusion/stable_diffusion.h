#pragma once
#include <memory>

#include "diffract/families/shared/unet_pipeline.h"
#include "diffract/families/stable_diffusion/stable_diffusion_facts.h"
#include "diffract/io/model_folder.h"
#include "diffract/models/text/clip_text_model.h"
#include "diffract/text/tokenizer.h"

namespace diffract::families {

/// Stable Diffusion 1.x and 2.x: text to image, image to image, inpainting. Source: diffusers
/// pipeline_stable_diffusion.py, pipeline_stable_diffusion_img2img.py, pipeline_stable_diffusion_inpaint.py.
class StableDiffusionPipeline final : public UNetPipeline {
 public:
  struct TextEncoder {
    std::shared_ptr<const text::Tokenizer> tokenizer;
    std::shared_ptr<const models::CLIPTextModel> text_encoder;
  };

  static std::shared_ptr<StableDiffusionPipeline> from_folder(const io::ModelFolder& folder,
                                                              const loading::LoadOptions& options);
  /// Throws CheckpointError when the components do not fit each other.
  StableDiffusionPipeline(TextEncoder text, Core core);

  // B images of the batch, T tokens of the tokenizer, D hidden size
  struct PromptEmbeds {
    Tensor positive;  // [B, T, D]
    Tensor negative;  // [B, T, D], undefined without classifier-free guidance
  };
  /// Embeddings of the request's prompts, one row an image. Text beyond the tokenizer's length is cut, with a
  /// warning that shows what was lost.
  PromptEmbeds encode_prompt(const pipelines::Request& request, bool do_classifier_free_guidance) const;

 protected:
  Conditions conditions_of(const pipelines::Request& request,
                           bool do_classifier_free_guidance) const override;
  std::vector<std::string> text_encoders() const override { return {"text_encoder"}; }

 private:
  Tensor encode_texts(const std::vector<std::string>& texts, int64_t clip_skip) const;

  TextEncoder text_;
};

}  // namespace diffract::families
