#include "diffract/families/diffusion_pipeline.h"

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/families/open_checkpoint.h"
#include "diffract/families/registry.h"
#include "diffract/io/hub_cache.h"
#include "diffract/io/model_folder.h"
#include "diffract/tensor/host_memory.h"
#include "diffract/tensor/memory_errors.h"
#include "diffract/tensor/threads.h"

namespace diffract::families {

DiffusionPipeline DiffusionPipeline::from_pretrained(const std::string& model,
                                                     const loading::LoadOptions& options) {
  tensor::keep_host_memory();
  tensor::take_chosen_threads();
  const io::ModelFolder folder = open_checkpoint(model, options);
  const Family* family = find_family(folder.class_name());
  if (!family) throw InternalError("{}: has no family", folder.class_name());  // find_pipeline refuses those
  io::require_all_files(folder, options.variant, model);
  if (!family->facts->task_class(folder.class_name()))
    log::info("this checkpoint was saved from a {}; it is run as {}", folder.class_name(),
              family->facts->class_name);
  // First: what is wrong with its scheduler shows before its weights are looked at.
  auto pipeline = tensor::with_memory_errors([&] { return family->from_folder(folder, options); });
  return DiffusionPipeline(std::move(pipeline), io::identify_checkpoint(folder, options.variant));
}

pipelines::Output DiffusionPipeline::operator()(const pipelines::Request& request,
                                                const pipelines::StepObserver& observe) const {
  return pipeline_->run(request, scheduler_, observe);
}

void DiffusionPipeline::set_scheduler(const std::string& class_name, const Json& overrides) {
  scheduler_ = pipelines::changed_scheduler(scheduler_, class_name, overrides, pipeline_->scheduler_rules());
}

void DiffusionPipeline::require_scheduler() const {
  pipelines::require_usable(scheduler_, pipeline_->facts());
}

}  // namespace diffract::families
