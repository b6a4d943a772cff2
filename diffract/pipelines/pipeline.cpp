#include "diffract/pipelines/pipeline.h"

#include "diffract/core/error.h"
#include "diffract/core/heartbeat.h"
#include "diffract/core/log.h"
#include "diffract/loading/flush.h"
#include "diffract/pipelines/image_processor.h"
#include "diffract/pipelines/request_checks.h"
#include "diffract/tensor/device_backend.h"
#include "diffract/tensor/memory_errors.h"

namespace diffract::pipelines {

Output Pipeline::run(const Request& request, const schedulers::SchedulerSpec& scheduler,
                     const StepObserver& observe) const {
  return make(request, scheduler, observe, /*awaits_images=*/true);
}

Output Pipeline::begin(const Request& request, const schedulers::SchedulerSpec& scheduler,
                       const StepObserver& observe) const {
  return make(request, scheduler, observe, /*awaits_images=*/false);
}

Output Pipeline::make(const Request& request, const schedulers::SchedulerSpec& scheduler,
                      const StepObserver& observe, bool awaits_images) const {
  struct AtTheEnd {
    const Pipeline& pipeline;
    ~AtTheEnd() {
      try {
        pipeline.give_back();
      } catch (const std::exception& error) {  // a device that failed; what generate() threw says more
        log::debug("memory was not given back: {}", error.what());
      }
      tensor::await_backends();
    }
  } at_the_end{*this};
  const HeartbeatRestAtEnd rests;
  const c10::InferenceMode no_autograd;
  return tensor::with_memory_errors([&] {
    check_request(request, facts());
    Output output = generate(request, scheduler_of(request, scheduler, scheduler_rules()), observe);
    if (awaits_images && output.arriving) {
      output.images = output.arriving();
      output.arriving = {};
    } else if (!awaits_images && !output.arriving) {
      output.arriving = arrived(std::move(output.images));
      output.images.clear();
    }
    return output;
  });
}

std::vector<io::Image> Pipeline::preview(const at::Tensor&) const {
  throw UsageError("preview: {} has none yet", facts().class_name);
}

void Pipeline::give_back() const { loading::flush(); }

}  // namespace diffract::pipelines
