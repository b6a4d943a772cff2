#pragma once
#include <memory>
#include <vector>

#include "diffract/families/shared/image_prompt.h"
#include "diffract/families/shared/safety_check.h"
#include "diffract/families/shared/unet_denoiser.h"
#include "diffract/loading/flush.h"
#include "diffract/loading/load_component.h"
#include "diffract/loading/request_memory.h"
#include "diffract/models/vae/autoencoder.h"
#include "diffract/pipelines/make_task.h"
#include "diffract/pipelines/pipeline.h"
#include "diffract/pipelines/scheduler_choice.h"
#include "diffract/pipelines/text_cache.h"
#include "diffract/schedulers/schedule.h"

namespace diffract::families {

/// What the pipelines of a UNet and a VAE share: all but how they encode texts. All models stay in memory.
class UNetPipeline : public pipelines::Pipeline {
 public:
  /// The networks are shared, since they do not change.
  struct Core {
    std::shared_ptr<const models::UNet2DConditionModel> unet;
    std::shared_ptr<const models::Autoencoder> vae;
    std::vector<std::shared_ptr<const models::ControlNetModel>> controlnets = {};
    std::shared_ptr<const ImagePrompt> image_prompt = {};  // null: without IP-Adapters
    std::shared_ptr<const SafetyCheck> safety_check = {};  // null: pictures are not looked at
    schedulers::SchedulerSpec scheduler;
    std::shared_ptr<const models::Autoencoder> preview_vae = {};  // null: vae
    at::Device device = at::kCPU;                                 // of the latents
    tensor::DtypePolicy policy = {};
    placement::DeviceMap map = {};
    // Of the UNet's steps, with what ControlNets add; none are kept unless they may be.
    std::shared_ptr<kernels::StepGraphs> graphs = std::make_shared<kernels::StepGraphs>(0);
    std::shared_ptr<pipelines::TextCache> texts = std::make_shared<pipelines::TextCache>();
    std::shared_ptr<const loading::RequestMemory> memory = {};  // null: requests are not checked
    loading::Defaults defaults = {};
  };
  /// pipelines::first_scheduler for a UNet's pipelines.
  static schedulers::SchedulerSpec first_scheduler(const loading::ComponentLoader& load,
                                                   schedulers::SchedulerSpec of_checkpoint,
                                                   const loading::LoadOptions& options);
  /// The core of a folder. Throws CheckpointError.
  static Core load_core(const loading::ComponentLoader& load, schedulers::SchedulerSpec scheduler);

  const Core& core() const { return core_; }
  const loading::FamilyFacts& facts() const override { return facts_; }
  loading::Defaults defaults() const override { return core_.defaults; }
  const schedulers::SchedulerSpec& scheduler() const override { return core_.scheduler; }
  pipelines::SchedulerRules scheduler_rules() const override { return rules(facts_); }
  loading::ImageSize image_size(const pipelines::Request& request) const override;
  const placement::DeviceMap& hf_device_map() const override { return core_.map; }
  std::shared_ptr<const loading::RequestNeeds> needs_of(const pipelines::Request& request) const override;
  std::vector<loading::ComponentStay> stays() const override;
  std::vector<io::Image> preview(const Tensor& latents) const override;

 protected:
  /// Throws CheckpointError when the components do not fit each other. `text_width`: of the tokens that the
  /// UNet is given, made by `text_source`.
  UNetPipeline(const loading::FamilyFacts& facts, Core core, int64_t text_width, const char* text_source);

  using Conditions = UNetConditions;
  virtual Conditions conditions_of(const pipelines::Request& request,
                                   bool do_classifier_free_guidance) const = 0;
  /// The components that encode texts.
  virtual std::vector<std::string> text_encoders() const = 0;

  // An accelerator's free blocks stay: giving them back makes the host wait, and all models stay anyway.
  void give_back() const override { loading::flush_host(); }
  pipelines::Output generate(const pipelines::Request& request, const schedulers::SchedulerSpec& scheduler,
                             const pipelines::StepObserver& observe) const override;

 private:
  static pipelines::SchedulerRules rules(const loading::FamilyFacts& facts);

  struct Settings {           // a request with every default filled in, checked
    loading::ImageSize size;  // in pixels, that is computed
    int64_t num_inference_steps;
    double guidance_scale, guidance_rescale;
    bool is_guided_by_model;  // which takes the scale itself
    bool draws_in_float32;    // the noise of the steps
    std::vector<uint64_t> seeds;
    at::ScalarType noise_dtype;
    bool do_classifier_free_guidance() const { return guidance_scale > 1.0 && !is_guided_by_model; }
  };
  Settings settings_of(const pipelines::Request& request, const schedulers::SchedulerTraits& scheduler) const;
  double guidance_scale_of(const pipelines::Request& request) const;
  loading::RequestShape shape_of(const pipelines::Request& request) const;
  void require_memory(const pipelines::Request& request) const;
  pipelines::TaskModels task_models() const;
  std::vector<std::string> controlnet_names() const;
  void check_controlnet(const models::ControlNetConfig& config, const std::string& name) const;
  void check_control(const pipelines::Request& request, const loading::TaskClass& task) const;
  /// What a request is drawn from, checked and read.
  struct Inputs {
    pipelines::TaskInputs task;
    std::vector<pipelines::ControlPictures> control;  // one a ControlNet, or none
    std::vector<pipelines::ControlStrength> strengths;
    bool guess_mode = false;
  };
  Inputs read_inputs(const pipelines::Request& request, const Settings& settings) const;
  Tensor denoise(const Conditions& conditions, const Inputs& inputs, const Settings& settings,
                 schedulers::Schedule& schedule, size_t end_step,
                 const pipelines::StepObserver& observe) const;
  pipelines::ArrivingImages decode(const Tensor& latents, const models::Autoencoder& vae) const;
  pipelines::Output images_of(const Tensor& latents, const pipelines::TaskInputs& inputs) const;

  const loading::FamilyFacts& facts_;
  Core core_;
};

}  // namespace diffract::families
