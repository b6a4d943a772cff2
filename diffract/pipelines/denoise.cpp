#include "diffract/pipelines/denoise.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "diffract/core/heartbeat.h"
#include "diffract/core/stop.h"
#include "diffract/core/trace.h"
#include "diffract/pipelines/guidance.h"
#include "diffract/pipelines/request_checks.h"

namespace diffract::pipelines {

size_t steps_until(std::optional<double> denoising_end, const std::vector<double>& timesteps,
                   int64_t num_train_timesteps) {
  if (!divides_walk(denoising_end)) return timesteps.size();
  const auto all = static_cast<double>(num_train_timesteps);
  const double last = std::nearbyint(all - *denoising_end * all);
  return static_cast<size_t>(
      std::count_if(timesteps.begin(), timesteps.end(), [&](double timestep) { return timestep >= last; }));
}

at::Tensor denoise(const Task& task, const DenoiseSetting& setting) {
  auto& [denoiser, schedule, noise, guidance, policy, observe, end_step] = setting;
  const auto& timesteps = schedule.timesteps();
  const size_t begin = schedule.begin(), end = std::min(end_step, timesteps.size());
  const auto for_both = [&](const at::Tensor& x) { return setting.guidance.is_on ? at::cat({x, x}) : x; };
  const at::Tensor extra = task.extra_channels.defined() ? for_both(task.extra_channels) : at::Tensor();
  at::Tensor latents = task.start(schedule);
  FiniteCheck finite(policy);
  for (size_t i = begin; i < end; ++i) {
    const trace::Span span("compute", trace::is_on() ? fmt::format("step {}", i) : "");
    at::Tensor input = schedule.scale_model_input(for_both(latents), i);
    if (extra.defined()) input = at::cat({input, extra}, 1);
    at::Tensor prediction = denoiser.predict(input, i, timesteps[i]);
    if (guidance.is_on) prediction = guide(prediction, guidance.scale, guidance.rescale);
    latents = task.kept(schedule.step(prediction, i, latents, noise), schedule, i, end);
    finite.step(latents, i);
    heartbeat();
    stop_if_asked();
    if (observe)
      observe({.index = i - begin, .count = end - begin, .timestep = timesteps[i], .latents = latents});
  }
  const trace::Span span("wait", "last step");
  finite.finish();
  return latents;
}

}  // namespace diffract::pipelines
