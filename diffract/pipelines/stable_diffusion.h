#pragma once
#include <filesystem>
#include <memory>

#include "diffract/io/model_folder.h"
#include "diffract/kernels/step_graph.h"
#include "diffract/models/autoencoder_kl.h"
#include "diffract/models/clip_text_model.h"
#include "diffract/models/unet_2d_condition_model.h"
#include "diffract/pipelines/pipeline.h"
#include "diffract/pipelines/request_memory.h"
#include "diffract/pipelines/scheduler_choice.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/text/tokenizer.h"

namespace diffract::pipelines {

using at::Tensor;

/// Text to image with Stable Diffusion 1.x and 2.x. Source: diffusers pipeline_stable_diffusion.py.
class StableDiffusionPipeline final : public Pipeline {
 public:
  /// The networks of the checkpoint; shared, since they do not change.
  struct Components {
    std::shared_ptr<const text::Tokenizer> tokenizer;
    std::shared_ptr<const models::CLIPTextModel> text_encoder;
    std::shared_ptr<const models::UNet2DConditionModel> unet;
    std::shared_ptr<const models::AutoencoderKL> vae;
    SchedulerSpec scheduler;
    at::Device device = at::kCPU;  // of the latents
    tensor::DtypePolicy policy = {};
    placement::DeviceMap map = {};
    // Of the UNet's steps; none are kept unless they may be.
    std::shared_ptr<kernels::StepGraphs> graphs = std::make_shared<kernels::StepGraphs>(0);
    std::shared_ptr<const RequestMemory> memory = {};  // null: requests are not checked
  };

  static std::shared_ptr<StableDiffusionPipeline> from_folder(const io::ModelFolder& folder,
                                                              const LoadOptions& options);
  /// Throws CheckpointError when the components do not fit each other.
  explicit StableDiffusionPipeline(Components components);

  // B images of the batch, T tokens of the tokenizer, D hidden size
  struct PromptEmbeds {
    Tensor positive;  // [B, T, D]
    Tensor negative;  // [B, T, D], undefined without classifier-free guidance
  };
  /// Embeddings of the request's prompts, one row an image. Text beyond the tokenizer's length is cut, with a
  /// warning that shows what was lost.
  PromptEmbeds encode_prompt(const Request& request, bool do_classifier_free_guidance) const;

  Output generate(const Request& request, const StepObserver& observe) const override;
  Defaults defaults() const override { return defaults_; }
  const SchedulerSpec& scheduler() const override { return components_.scheduler; }
  void set_scheduler(SchedulerSpec scheduler) override;
  void require_scheduler() const override;
  ImageSize image_size(const Request& request) const override;
  static const UsableSchedulers kSchedulers;
  const placement::DeviceMap& hf_device_map() const override { return components_.map; }
  std::vector<ComponentStay> stays() const override;

  const Components& components() const { return components_; }

 private:
  static void check_scheduler(const SchedulerSpec& scheduler);

  struct Settings {  // a request with every default filled in, checked
    ImageSize latent_size;
    int64_t num_inference_steps;
    double guidance_scale, guidance_rescale;
    std::vector<uint64_t> seeds;
    at::ScalarType noise_dtype;
    bool do_classifier_free_guidance() const { return guidance_scale > 1.0; }
  };
  Settings settle(const Request& request) const;
  void require_memory(const Request& request, const Settings& settings) const;
  Tensor encode_texts(const std::vector<std::string>& texts, int64_t clip_skip) const;
  Tensor denoise(const PromptEmbeds& prompt, const Settings& settings, schedulers::Schedule& schedule,
                 const StepObserver& observe) const;

  Components components_;
  Defaults defaults_{};
};

}  // namespace diffract::pipelines
