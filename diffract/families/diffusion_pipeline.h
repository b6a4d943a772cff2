#pragma once
#include <concepts>
#include <memory>
#include <string>
#include <vector>

#include "diffract/io/model_identity.h"
#include "diffract/pipelines/pipeline.h"

namespace diffract::families {

/// Any pipeline, as `DiffusionPipeline.from_pretrained` gives it: the class that the checkpoint's
/// model_index.json names. A handle: copies share the loaded models, each has its own scheduler.
class DiffusionPipeline {
 public:
  /// Loads a built-in model by name ("emoji-sd"), a folder, ORG/NAME[@REV] from the Hugging Face cache, or a
  /// single .safetensors file of Stable Diffusion 1.x, 2.x or XL, as from_single_file.
  /// Throws CheckpointError when it is damaged, missing or of a class that diffract has no pipeline for.
  static DiffusionPipeline from_pretrained(const std::string& model,
                                           const loading::LoadOptions& options = {});

  explicit DiffusionPipeline(std::shared_ptr<pipelines::Pipeline> pipeline, io::ModelIdentity model = {})
      : pipeline_(std::move(pipeline)), model_(std::move(model)), scheduler_(pipeline_->scheduler()) {}

  /// Makes the pictures of a request. Throws UsageError for a request that does not fit the model,
  /// MemoryError when memory runs out, Cancelled when `observe` says so.
  pipelines::Output operator()(const pipelines::Request& request,
                               const pipelines::StepObserver& observe = {}) const;
  /// The same, but pictures may still be on their way (Output::arriving).
  pipelines::Output begin(const pipelines::Request& request,
                          const pipelines::StepObserver& observe = {}) const {
    return pipeline_->begin(request, scheduler_, observe);
  }
  /// One picture of a prompt, with the defaults of the model.
  template <std::convertible_to<std::string> Text>
  pipelines::Output operator()(const Text& prompt) const {
    return (*this)(pipelines::Request{.prompt = {prompt}});
  }

  /// What the latents that an observer is shown look like.
  std::vector<io::Image> preview(const at::Tensor& latents) const { return pipeline_->preview(latents); }

  /// Which model it was loaded from.
  const io::ModelIdentity& model() const { return model_; }
  const loading::FamilyFacts& facts() const { return pipeline_->facts(); }
  loading::Defaults defaults() const { return pipeline_->defaults(); }
  const schedulers::SchedulerSpec& scheduler() const { return scheduler_; }
  loading::ImageSize image_size(const pipelines::Request& request) const {
    return pipeline_->image_size(request);
  }
  const placement::DeviceMap& hf_device_map() const { return pipeline_->hf_device_map(); }
  std::shared_ptr<const loading::RequestNeeds> needs_of(const pipelines::Request& request) const {
    return pipeline_->needs_of(request);
  }
  std::vector<loading::ComponentStay> stays() const { return pipeline_->stays(); }
  /// Another scheduler over the checkpoint's own config, as `Class.from_config(pipe.scheduler.config,
  /// **overrides)`.
  void set_scheduler(const std::string& class_name, const Json& overrides = Json::object());
  /// Throws CheckpointError where the checkpoint's scheduler is one that diffract has not, and no other was
  /// set; the first request would.
  void require_scheduler() const;

 private:
  std::shared_ptr<pipelines::Pipeline> pipeline_;
  io::ModelIdentity model_;
  schedulers::SchedulerSpec scheduler_;  // of requests that name none
};

}  // namespace diffract::families
