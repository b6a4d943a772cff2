#pragma once
#include <memory>
#include <vector>

#include "diffract/loading/component_stay.h"
#include "diffract/loading/load_options.h"
#include "diffract/loading/request_memory.h"
#include "diffract/pipelines/request.h"
#include "diffract/pipelines/scheduler_choice.h"
#include "diffract/placement/device_map.h"
#include "diffract/schedulers/scheduler_spec.h"

namespace diffract::pipelines {

/// The interface of a checkpoint family's pipeline. Calls are const and safe from several threads.
class Pipeline {
 public:
  virtual ~Pipeline() = default;

  virtual const loading::FamilyFacts& facts() const = 0;
  /// generate() without autograd, with libtorch's out-of-memory errors as MemoryError. At the end flush(),
  /// but an accelerator's free blocks stay for the next request where a pipeline keeps all its models.
  /// `scheduler`: in place of the pipeline's, where a request names none.
  Output operator()(const Request& request, const StepObserver& observe = {}) const {
    return run(request, scheduler(), observe);
  }
  Output run(const Request& request, const schedulers::SchedulerSpec& scheduler,
             const StepObserver& observe) const;
  /// run(), but pictures may still be on their way from an accelerator (Output::arriving), which may be told
  /// the next request meanwhile. Pictures that never arrive are lost with what they were made of.
  Output begin(const Request& request, const schedulers::SchedulerSpec& scheduler,
               const StepObserver& observe) const;
  virtual loading::Defaults defaults() const = 0;
  /// What it was loaded with; it may be one of a checkpoint's that cannot be used.
  virtual const schedulers::SchedulerSpec& scheduler() const = 0;
  virtual SchedulerRules scheduler_rules() const = 0;
  /// The size of the pictures that a request gives. Throws UsageError for one that the model has not.
  virtual loading::ImageSize image_size(const Request& request) const = 0;
  /// Where which model, or part of one, is kept, as accelerate prints it; empty without a device map.
  virtual const placement::DeviceMap& hf_device_map() const = 0;
  /// What the components take for a request; null where that is not known. Throws UsageError for a request
  /// that does not fit the model.
  virtual std::shared_ptr<const loading::RequestNeeds> needs_of(const Request&) const { return nullptr; }
  /// What a walk's latents [B, ...], as an observer sees them, look like now: B pictures. Nothing of the walk
  /// changes. Throws UsageError where FamilyFacts::has_previews is not set.
  virtual std::vector<io::Image> preview(const at::Tensor& latents) const;
  /// How the weights of the components that were used are in memory between requests.
  virtual std::vector<loading::ComponentStay> stays() const = 0;

 protected:
  /// The pictures of a request, or Output::arriving, `scheduler` being what the request or the caller says.
  virtual Output generate(const Request& request, const schedulers::SchedulerSpec& scheduler,
                          const StepObserver& observe) const = 0;
  /// At the end of a request, also of one that fails.
  virtual void give_back() const;

 private:
  Output make(const Request& request, const schedulers::SchedulerSpec& scheduler, const StepObserver& observe,
              bool awaits_images) const;
};

}  // namespace diffract::pipelines
