#include "diffract/pipelines/denoise.h"

#include "diffract/core/heartbeat.h"
#include "diffract/core/stop.h"
#include "diffract/pipelines/guidance.h"
#include "diffract/pipelines/request_checks.h"

namespace diffract::pipelines {

at::Tensor denoise(const Task& task, const DenoiseSetting& setting) {
  auto& [denoiser, schedule, noise, guidance, policy, observe] = setting;
  const auto& timesteps = schedule.timesteps();
  const auto for_both = [&](const at::Tensor& x) { return setting.guidance.is_on ? at::cat({x, x}) : x; };
  const at::Tensor extra = task.extra_channels.defined() ? for_both(task.extra_channels) : at::Tensor();
  at::Tensor latents = task.start(schedule);
  FiniteCheck finite(policy);
  for (size_t i = schedule.begin(); i < timesteps.size(); ++i) {
    at::Tensor input = schedule.scale_model_input(for_both(latents), i);
    if (extra.defined()) input = at::cat({input, extra}, 1);
    at::Tensor prediction = denoiser.predict(input, i, timesteps[i]);
    if (guidance.is_on) prediction = guide(prediction, guidance.scale, guidance.rescale);
    latents = task.kept(schedule.step(prediction, i, latents, noise), schedule, i);
    finite.step(latents, i);
    heartbeat();
    stop_if_asked();
    if (observe)
      observe({.index = i - schedule.begin(),
               .count = timesteps.size() - schedule.begin(),
               .timestep = timesteps[i],
               .latents = latents});
  }
  finite.finish();
  return latents;
}

}  // namespace diffract::pipelines
