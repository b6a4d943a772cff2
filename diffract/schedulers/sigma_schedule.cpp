#include "diffract/schedulers/sigma_schedule.h"

#include <algorithm>
#include <cmath>

#include "diffract/schedulers/spacing.h"

namespace diffract::schedulers {

SigmaSchedule::SigmaSchedule(const ConfigReader& config, const ScheduleRequest& request, const Options& options)
    : training_(read_training_schedule(config, options.training)),
      prediction_(read_prediction(config, options.predictions)) {
  const auto table = training_.sigmas();
  timesteps_ = spaced_timesteps(Spacing::from_json(config, "linspace"), {}, training_.timesteps(),
                                training_.timesteps(), request.num_inference_steps);
  for (const double t : timesteps_) sigmas_.push_back(interpolate(table, t));
  const SigmaSpacing spacing = options.sigma_spacing ? read_sigma_spacing(config) : SigmaSpacing::timesteps;
  if (spacing != SigmaSpacing::timesteps) {
    sigmas_ = space_sigmas(spacing, options.sigma_max.value_or(sigmas_.front()),
                           options.sigma_min.value_or(sigmas_.back()), request.num_inference_steps);
    for (size_t i = 0; i < sigmas_.size(); ++i) timesteps_[i] = static_cast<float>(sigma_to_timestep(sigmas_[i], table));
  }
  sigmas_.push_back(0.0);
  set_init_noise_sigma(config);
}

void SigmaSchedule::set_init_noise_sigma(const ConfigReader& config) {
  const double largest = *std::max_element(sigmas_.begin(), sigmas_.end());
  const bool leading = Spacing::from_json(config, "linspace").kind == Spacing::Kind::leading;
  init_noise_sigma_ = leading ? std::sqrt(largest * largest + 1) : largest;
}

Tensor SigmaSchedule::scale_model_input(const Tensor& sample, size_t index) const {
  return sample / std::sqrt(sigmas_[index] * sigmas_[index] + 1);
}

Tensor SigmaSchedule::derivative(const Tensor& output, const Tensor& sample, double sigma) const {
  return (sample - range_.apply(predicted_picture_unscaled(prediction_, output, sample, sigma))) / sigma;
}

}  // namespace diffract::schedulers
