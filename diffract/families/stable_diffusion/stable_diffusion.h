#pragma once
#include <filesystem>
#include <memory>

#include "diffract/families/stable_diffusion/stable_diffusion_facts.h"
#include "diffract/io/model_folder.h"
#include "diffract/kernels/step_graph.h"
#include "diffract/loading/request_memory.h"
#include "diffract/models/text/clip_text_model.h"
#include "diffract/models/unet/unet_2d_condition_model.h"
#include "diffract/models/vae/autoencoder_kl.h"
#include "diffract/pipelines/pipeline.h"
#include "diffract/pipelines/scheduler_choice.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/text/tokenizer.h"

namespace diffract::families {

using at::Tensor;

/// Text to image with Stable Diffusion 1.x and 2.x. Source: diffusers pipeline_stable_diffusion.py.
class StableDiffusionPipeline final : public pipelines::Pipeline {
 public:
  /// The networks of the checkpoint; shared, since they do not change.
  struct Components {
    std::shared_ptr<const text::Tokenizer> tokenizer;
    std::shared_ptr<const models::CLIPTextModel> text_encoder;
    std::shared_ptr<const models::UNet2DConditionModel> unet;
    std::shared_ptr<const models::AutoencoderKL> vae;
    schedulers::SchedulerSpec scheduler;
    at::Device device = at::kCPU;  // of the latents
    tensor::DtypePolicy policy = {};
    placement::DeviceMap map = {};
    // Of the UNet's steps; none are kept unless they may be.
    std::shared_ptr<kernels::StepGraphs> graphs = std::make_shared<kernels::StepGraphs>(0);
    std::shared_ptr<const loading::RequestMemory> memory = {};  // null: requests are not checked
  };

  static std::shared_ptr<StableDiffusionPipeline> from_folder(const io::ModelFolder& folder,
                                                              const loading::LoadOptions& options);
  /// Throws CheckpointError when the components do not fit each other.
  explicit StableDiffusionPipeline(Components components);

  // B images of the batch, T tokens of the tokenizer, D hidden size
  struct PromptEmbeds {
    Tensor positive;  // [B, T, D]
    Tensor negative;  // [B, T, D], undefined without classifier-free guidance
  };
  /// Embeddings of the request's prompts, one row an image. Text beyond the tokenizer's length is cut, with a
  /// warning that shows what was lost.
  PromptEmbeds encode_prompt(const pipelines::Request& request, bool do_classifier_free_guidance) const;

  const loading::FamilyFacts& facts() const override { return kStableDiffusion; }
  loading::Defaults defaults() const override { return defaults_; }
  const schedulers::SchedulerSpec& scheduler() const override { return components_.scheduler; }
  pipelines::SchedulerRules scheduler_rules() const override { return rules(); }
  loading::ImageSize image_size(const pipelines::Request& request) const override;
  const placement::DeviceMap& hf_device_map() const override { return components_.map; }
  std::vector<loading::ComponentStay> stays() const override;

  const Components& components() const { return components_; }

 protected:
  pipelines::Output generate(const pipelines::Request& request, const schedulers::SchedulerSpec& scheduler,
                             const pipelines::StepObserver& observe) const override;

 private:
  static pipelines::SchedulerRules rules();

  struct Settings {  // a request with every default filled in, checked
    loading::ImageSize latent_size;
    int64_t num_inference_steps;
    double guidance_scale, guidance_rescale;
    bool is_guided_by_model;  // which takes the scale itself
    bool draws_in_float32;    // the noise of the steps
    std::vector<uint64_t> seeds;
    at::ScalarType noise_dtype;
    bool do_classifier_free_guidance() const { return guidance_scale > 1.0 && !is_guided_by_model; }
  };
  Settings settle(const pipelines::Request& request, const schedulers::SchedulerTraits& scheduler) const;
  void require_memory(const pipelines::Request& request, const Settings& settings) const;
  Tensor encode_texts(const std::vector<std::string>& texts, int64_t clip_skip) const;
  Tensor denoise(const PromptEmbeds& prompt, const Settings& settings, schedulers::Schedule& schedule,
                 const pipelines::StepObserver& observe) const;

  Components components_;
  loading::Defaults defaults_{};
};

}  // namespace diffract::families
