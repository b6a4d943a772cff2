#include "diffract/core/error.h"
#include "diffract/core/heartbeat.h"
#include "diffract/core/log.h"
#include "diffract/io/hub_cache.h"
#include "diffract/io/model_folder.h"
#include "diffract/pipelines/auto_model.h"
#include "diffract/pipelines/flux.h"
#include "diffract/pipelines/known_models.h"
#include "diffract/pipelines/pipeline.h"
#include "diffract/pipelines/scheduler_choice.h"
#include "diffract/pipelines/stable_diffusion.h"
#include "diffract/tensor/device_backend.h"
#include "diffract/tensor/host_memory.h"
#include "diffract/tensor/memory_errors.h"
#include "diffract/tensor/threads.h"

namespace diffract::pipelines {
namespace {

struct Family {
  std::string_view class_name;  // what runs_as gives
  std::shared_ptr<Pipeline> (*from_folder)(const io::ModelFolder&, const LoadOptions&);
};

constexpr Family kFamilies[] = {
    {"StableDiffusionPipeline",
     [](const io::ModelFolder& folder, const LoadOptions& options) -> std::shared_ptr<Pipeline> {
       return StableDiffusionPipeline::from_folder(folder, options);
     }},
    {"FluxPipeline",
     [](const io::ModelFolder& folder, const LoadOptions& options) -> std::shared_ptr<Pipeline> {
       return std::make_shared<FluxPipeline>(FluxPipeline::from_folder(folder, {}, options));
     }},
};

}  // namespace

DiffusionPipeline DiffusionPipeline::from_pretrained(const std::string& model, const LoadOptions& options) {
  tensor::keep_host_memory();
  tensor::settle_threads();
  const io::ModelFolder folder = io::ModelFolder::open(find_model(model, ModelUse::pictures));
  const std::string_view class_name = runs_as(folder.class_name());
  for (const Family& family : kFamilies)
    if (class_name == family.class_name) {
      io::require_all_files(folder, options.variant, model);
      if (class_name != folder.class_name())
        log::info("this checkpoint was saved from a {}; it is run as {}, text to image", folder.class_name(),
                  class_name);
      // First: what is wrong with its scheduler shows before its weights are looked at.
      auto pipeline = tensor::with_memory_errors([&] { return family.from_folder(folder, options); });
      return DiffusionPipeline(std::move(pipeline), io::identify_checkpoint(folder, options.variant));
    }
  throw InternalError("{}: has no family", class_name);  // find_model refuses the others
}

Output Pipeline::operator()(const Request& request, const StepObserver& observe) const {
  struct AtTheEnd {
    const Pipeline& pipeline;
    ~AtTheEnd() {
      try {
        pipeline.give_back();
      } catch (const std::exception& error) {  // a device that failed; what generate() threw says more
        log::debug("memory was not given back: {}", error.what());
      }
      tensor::settle_backends();
    }
  } at_the_end{*this};
  const HeartbeatRestAtEnd rests;
  const c10::InferenceMode no_autograd;
  return tensor::with_memory_errors([&] { return generate(request, observe); });
}

void Pipeline::give_back() const { flush(); }

Output DiffusionPipeline::operator()(const Request& request, const StepObserver& observe) const {
  return (*pipeline_)(request, observe);
}

void DiffusionPipeline::set_scheduler(const std::string& class_name, const Json& overrides) {
  changed_scheduler(scheduler(), class_name, overrides,
                    [&](const SchedulerSpec& spec) { pipeline_->set_scheduler(spec); });
}

}  // namespace diffract::pipelines
