#include "diffract/core/error.h"
#include "diffract/core/heartbeat.h"
#include "diffract/core/keys_read.h"
#include "diffract/core/log.h"
#include "diffract/core/nearest.h"
#include "diffract/io/hub_cache.h"
#include "diffract/io/model_folder.h"
#include "diffract/pipelines/auto_model.h"
#include "diffract/pipelines/builtin_models.h"
#include "diffract/pipelines/flux.h"
#include "diffract/pipelines/pipeline.h"
#include "diffract/pipelines/stable_diffusion.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/tensor/device_backend.h"
#include "diffract/tensor/host_memory.h"
#include "diffract/tensor/memory_errors.h"
#include "diffract/tensor/threads.h"

namespace diffract::pipelines {
namespace {

struct Family {
  const char* class_name;  // as model_index.json names it
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

std::filesystem::path find_model(const std::string& model) {
  if (const auto folder = builtin_model(model)) return *folder;
  return io::resolve_model(model);
}

DiffusionPipeline DiffusionPipeline::from_pretrained(const std::string& model, const LoadOptions& options) {
  tensor::keep_host_memory();
  tensor::settle_threads();
  const io::ModelFolder folder = io::ModelFolder::open(find_model(model));
  for (const Family& family : kFamilies)
    if (folder.class_name() == family.class_name) {
      io::require_all_files(folder, options.variant, model);
      return DiffusionPipeline(
          tensor::with_memory_errors([&] { return family.from_folder(folder, options); }));
    }
  std::string known;
  for (const Family& family : kFamilies) known += fmt::format(" {}", family.class_name);
  throw CheckpointError("{}: \"_class_name\" is \"{}\"; diffract has:{}",
                        (folder.path() / "model_index.json").string(), folder.class_name(), known);
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

void DiffusionPipeline::require_scheduler() const {
  if (schedulers::is_known(scheduler().class_name)) return;
  schedulers::make_schedule(scheduler().class_name, scheduler().config, scheduler().source,
                            {.num_inference_steps = 1});
}

void DiffusionPipeline::set_scheduler(const std::string& class_name, const Json& overrides) {
  if (!overrides.is_object())
    throw UsageError("scheduler config: is {}; expected a JSON object", excerpt(overrides));
  SchedulerSpec spec = scheduler();
  spec.class_name = class_name;
  for (const std::string& key : spec.not_in_file) spec.config.erase(key);
  spec.not_in_file.clear();
  for (const auto& [key, value] : overrides.items()) spec.config[key] = value;
  if (overrides.empty()) return pipeline_->set_scheduler(std::move(spec));
  spec.source += " with overrides";
  try {
    const auto known = keys_read_by([&] { pipeline_->set_scheduler(std::move(spec)); });
    for (const auto& [key, value] : overrides.items())
      if (!known.contains(key)) {
        const auto meant = nearest(key, {known.begin(), known.end()});
        log::warning("scheduler config: \"{}\" has no effect on {}{}", key, class_name,
                     meant ? fmt::format("; did you mean \"{}\"?", *meant) : "");
      }
  } catch (const CheckpointError& error) {
    throw UsageError("{}", error.what());  // the overrides are the caller's, not the checkpoint's
  }
}

}  // namespace diffract::pipelines
