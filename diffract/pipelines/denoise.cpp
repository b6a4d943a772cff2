#include "diffract/pipelines/denoise.h"

#include "diffract/core/heartbeat.h"
#include "diffract/core/stop.h"
#include "diffract/pipelines/guidance.h"
#include "diffract/pipelines/request_checks.h"

namespace diffract::pipelines {

at::Tensor denoise(at::Tensor latents, const DenoiseSetting& setting) {
  auto& [denoiser, schedule, noise, guidance, policy, observe] = setting;
  const auto& timesteps = schedule.timesteps();
  FiniteCheck finite(policy);
  for (size_t i = schedule.begin(); i < timesteps.size(); ++i) {
    const at::Tensor input =
        schedule.scale_model_input(guidance.is_on ? at::cat({latents, latents}) : latents, i);
    at::Tensor prediction = denoiser.predict(input, i, timesteps[i]);
    if (guidance.is_on) prediction = guide(prediction, guidance.scale, guidance.rescale);
    latents = schedule.step(prediction, i, latents, noise);
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
