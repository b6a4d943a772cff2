#include "diffract/schedulers/sigma_schedule.h"

#include <algorithm>
#include <cmath>

#include "diffract/schedulers/spacing.h"

namespace diffract::schedulers {

SigmaSchedule::SigmaSchedule(const ConfigReader& config, const ScheduleRequest& request,
                             const Options& options)
    : training_(read_training_schedule(config, options.training)),
      prediction_(read_prediction(config, options.predictions)) {
  const auto table = training_.sigmas();
  timesteps_ = spaced_timesteps(Spacing::from_json(config, "linspace"), {}, training_.timesteps(),
                                training_.timesteps(), request.num_inference_steps);
  for (const double t : timesteps_) sigmas_.push_back(interpolate(table, t));
  const SigmaSpacing spacing = options.sigma_spacing ? read_sigma_spacing(config) : SigmaSpacing::timesteps;
  if (spacing != SigmaSpacing::timesteps) {
    const bool bounded = spacing != SigmaSpacing::karras || options.karras_bounds;
    sigmas_ = space_sigmas(spacing,
                           read_sigma_bound(config, "sigma_max", bounded,
                                            options.spaces_whole_table ? table.back() : sigmas_.front()),
                           read_sigma_bound(config, "sigma_min", bounded,
                                            options.spaces_whole_table ? table.front() : sigmas_.back()),
                           request.num_inference_steps);
    for (size_t i = 0; i < sigmas_.size(); ++i)
      timesteps_[i] = static_cast<float>(sigma_to_timestep(sigmas_[i], table));
  }
  require_finite_sigmas(training_, sigmas_, config);
  sigmas_.push_back(0.0);
  round_sigmas();
  set_init_noise_sigma(config);
}

// diffusers keeps the table in float32. With zero terminal SNR the first sigma is 4096 and a step from it
// cancels all but a few bits, so that the same rounding is needed for the same picture.
void SigmaSchedule::round_sigmas() {
  for (double& sigma : sigmas_) sigma = static_cast<float>(sigma);
}

void SigmaSchedule::set_init_noise_sigma(const ConfigReader& config) {
  const double largest = *std::max_element(sigmas_.begin(), sigmas_.end());
  const bool leading = Spacing::from_json(config, "linspace").kind == Spacing::Kind::leading;
  init_noise_sigma_ = leading ? std::sqrt(largest * largest + 1) : largest;
}

Tensor SigmaSchedule::add_noise(const Tensor& sample, const Tensor& noise, size_t index) const {
  return sample + noise * sigmas_[index];
}

Tensor SigmaSchedule::scale_model_input(const Tensor& sample, size_t index) const {
  // ATen's float32 power, as in TrainingSchedule::sigmas: later steps may cancel down to the last bits.
  const auto sigma = static_cast<float>(sigmas_[index]);
  return sample / at::scalar_tensor(sigma * sigma + 1.0f).pow(0.5).item<float>();
}

Tensor SigmaSchedule::derivative(const Tensor& output, const Tensor& sample, double sigma) const {
  return (sample - range_.apply(predicted_picture_unscaled(prediction_, output, sample, sigma))) / sigma;
}

}  // namespace diffract::schedulers
