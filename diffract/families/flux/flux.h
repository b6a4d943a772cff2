#pragma once
#include <memory>
#include <string>

#include "diffract/families/flux/flux_facts.h"
#include "diffract/io/model_folder.h"
#include "diffract/kernels/step_graph.h"
#include "diffract/loading/component.h"
#include "diffract/models/flux/flux_transformer_2d_model.h"
#include "diffract/models/text/clip_text_model.h"
#include "diffract/models/text/t5_encoder_model.h"
#include "diffract/models/vae/autoencoder_kl.h"
#include "diffract/pipelines/pipeline.h"
#include "diffract/pipelines/scheduler_choice.h"
#include "diffract/pipelines/text_cache.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/text/tokenizer.h"

namespace diffract::families {

using at::Tensor;

// B images of the batch, T tokens of the T5 prompt, I image tokens
/// Text to image with FLUX.1 in three stages: encode the prompt, denoise, decode. A stage's weights are
/// loaded when it begins and stay for the next request where there is room for the other stages beside them.
/// Source: diffusers pipeline_flux.py.
class FluxPipeline final : public pipelines::Pipeline {
 public:
  /// The components of model_index.json; a part that is not named comes from the checkpoint.
  struct Parts {
    loading::GivenComponent<text::Tokenizer> tokenizer, tokenizer_2;
    loading::GivenComponent<models::CLIPTextModel> text_encoder;
    loading::GivenComponent<models::T5EncoderModel> text_encoder_2;
    loading::GivenComponent<models::FluxTransformer2DModel> transformer;
    loading::GivenComponent<models::AutoencoderKL> vae;
  };
  /// `FluxPipeline::from_pretrained("black-forest-labs/FLUX.1-dev", {.transformer = nullptr, .vae =
  /// nullptr})`. Reads the configs and the headers of all files now, the weights when their stage begins.
  /// Throws CheckpointError for what is damaged or missing.
  static FluxPipeline from_pretrained(const std::string& model, const Parts& parts = {},
                                      const loading::LoadOptions& options = {});
  static FluxPipeline from_folder(const io::ModelFolder& folder, const Parts& parts,
                                  const loading::LoadOptions& options);
  static std::shared_ptr<FluxPipeline> from_folder(const io::ModelFolder& folder,
                                                   const loading::LoadOptions& options) {
    return std::make_shared<FluxPipeline>(from_folder(folder, {}, options));
  }

  struct EncodeOptions {
    std::vector<std::string> prompt_2;  // for T5: none (the prompt), one for all, or one each
    int64_t num_images_per_prompt = 1;
    int64_t max_sequence_length = 512;  // tokens of T5, 1 to 512
  };
  struct PromptEmbeds {
    Tensor prompt_embeds;         // [B, T, width of T5]
    Tensor pooled_prompt_embeds;  // [B, width of CLIP]
    Tensor text_ids;              // [T, 3], zeros
  };
  /// Embeddings of prompts, one row an image. Throws UsageError when the text encoders were left out.
  PromptEmbeds encode_prompt(const std::vector<std::string>& prompt, const EncodeOptions& options) const;
  PromptEmbeds encode_prompt(const std::vector<std::string>& prompt) const {
    return encode_prompt(prompt, {});
  }

  const loading::FamilyFacts& facts() const override { return kFlux; }
  loading::Defaults defaults() const override { return defaults_; }
  const schedulers::SchedulerSpec& scheduler() const override { return scheduler_; }
  pipelines::SchedulerRules scheduler_rules() const override;
  /// Others than multiples of 16 are rounded down, with a warning, as diffusers does.
  loading::ImageSize image_size(const pipelines::Request& request) const override;
  const placement::DeviceMap& hf_device_map() const override { return map_; }
  std::shared_ptr<const loading::RequestNeeds> needs_of(const pipelines::Request& request) const override {
    return kept_->needs_of(shape_of(request, settings_of(request)));
  }
  std::vector<loading::ComponentStay> stays() const override { return kept_->stays(); }

 protected:
  pipelines::Output generate(const pipelines::Request& request, const schedulers::SchedulerSpec& scheduler,
                             const pipelines::StepObserver& observe) const override;
  void give_back() const override { kept_->give_back(); }

 private:
  /// The transformer with its recorded steps, which are over its memory and go with it.
  struct RecordedTransformer {
    RecordedTransformer(std::shared_ptr<const models::FluxTransformer2DModel> transformer, size_t most_graphs)
        : model(std::move(transformer)), graphs(most_graphs) {}
    std::shared_ptr<const models::FluxTransformer2DModel> model;
    mutable kernels::StepGraphs graphs;
  };
  struct Settings {           // a request with every default filled in, checked
    loading::ImageSize size;  // pixels
    int64_t num_inference_steps;
    std::vector<double> sigmas;  // the request's own; empty: evenly spaced
    int64_t max_sequence_length;
    double guidance_scale;
    bool guidance_is_given;
    double true_cfg_scale;
    bool do_true_cfg;
    std::vector<uint64_t> seeds;
    at::ScalarType noise_dtype;
  };
  struct Prompts {
    PromptEmbeds positive, negative;  // negative undefined without true guidance
  };
  FluxPipeline() = default;
  Settings settings_of(const pipelines::Request& request) const;
  static loading::RequestShape shape_of(const pipelines::Request& request, const Settings& settings);
  Prompts prompts_of(const pipelines::Request& request, const Settings& settings,
                     const loading::RequestNeeds* needs) const;
  struct Texts {  // that are encoded together
    std::vector<std::string> prompt, prompt_2;
  };
  // Of each of `all`.
  std::vector<PromptEmbeds> encode(const std::vector<Texts>& all, int64_t num_images_per_prompt,
                                   int64_t max_sequence_length, const loading::RequestNeeds* needs) const;
  std::vector<Tensor> encode_clip(const std::vector<Texts>& all, const loading::RequestNeeds* needs) const;
  std::vector<Tensor> encode_t5(const std::vector<Texts>& all, int64_t max_sequence_length,
                                const loading::RequestNeeds* needs) const;
  Tensor denoise(const Prompts& prompts, const Settings& settings, schedulers::Schedule& schedule,
                 const loading::RequestNeeds* needs, const pipelines::StepObserver& observe) const;
  pipelines::ArrivingImages decode(const Tensor& latents, const Settings& settings,
                                   const loading::RequestNeeds* needs) const;
  struct Walk {
    int64_t steps, image_tokens;
    std::vector<double> sigmas = {};  // of the request
  };
  static std::unique_ptr<schedulers::Schedule> make_schedule(const schedulers::SchedulerSpec& scheduler,
                                                             const Walk& walk);

  at::Device device_ = at::kCPU;  // of the latents
  tensor::DtypePolicy policy_;
  placement::DeviceMap map_;
  std::shared_ptr<loading::KeptModels> kept_;
  std::shared_ptr<pipelines::TextCache> texts_;
  loading::Component<text::Tokenizer> tokenizer_, tokenizer_2_;
  loading::Component<models::CLIPTextModel> text_encoder_;
  loading::Component<models::T5EncoderModel> text_encoder_2_;
  loading::Component<RecordedTransformer> transformer_;
  loading::Component<models::AutoencoderKL> vae_;
  schedulers::SchedulerSpec scheduler_;
  loading::Defaults defaults_{};
  int64_t vae_scale_factor_ = 8;
};

}  // namespace diffract::families
