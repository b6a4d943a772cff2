#include <algorithm>
#include <cmath>

#include "diffract/core/error.h"
#include "diffract/schedulers/prediction.h"
#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/spacing.h"
#include "diffract/schedulers/training_schedule.h"

namespace diffract::schedulers {
namespace {

/// Denoising diffusion implicit models. Source: Song et al. 2021, equations 12 and 16; diffusers
/// scheduling_ddim.py.
class Ddim final : public Schedule {
 public:
  Ddim(const ConfigReader& config, const ScheduleRequest& request)
      : training_(read_training_schedule(config, {.has_rescale_zero_snr = true})),
        prediction_(read_prediction(config, {"epsilon", "sample", "v_prediction"})),
        final_alpha_(config.boolean("set_alpha_to_one", true) ? 1.0 : training_.alphas_cumprod.front()),
        eta_(request.eta) {
    range_.read_threshold(config);
    if (!range_.quantile) range_.read_clip(config, true);
    const int64_t steps = request.num_inference_steps;
    if (steps > training_.timesteps())
      throw UsageError("num_inference_steps {}: the model was trained at {} timesteps", steps,
                       training_.timesteps());
    stride_ = training_.timesteps() / steps;
    timesteps_ = spaced_timesteps(Spacing::from_json(config, "leading"), {.round_linspace = true},
                                  training_.timesteps(), training_.timesteps(), steps);
    check_trained(timesteps_, training_.timesteps(), steps);
    if (prediction_ == Prediction::epsilon) require_signal(training_, timesteps_, config, kOfEpsilon);
  }

  Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const override {
    return training_.level(timesteps_[index]).mix(sample, noise);
  }

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource& noise) override {
    const auto timestep = static_cast<int64_t>(timesteps_[index]);
    const double alpha = alpha_cumprod(timestep), alpha_next = alpha_cumprod(timestep - stride_);
    const NoiseLevel level = NoiseLevel::of_alpha_cumprod(alpha);
    const Tensor picture = range_.apply(predicted_picture(prediction_, output, sample, level));
    // From the model's own output, not from the clipped picture, as diffusers does by default.
    const Tensor direction = predicted_noise(prediction_, output, sample, level);
    const double variance = (1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next);
    const double deviation = eta_ * std::sqrt(std::max(variance, 0.0));
    const double along = std::sqrt(std::max(1 - alpha_next - deviation * deviation, 0.0));
    const Tensor next = std::sqrt(alpha_next) * picture + along * direction;
    return eta_ > 0 ? next + deviation * noise() : next;
  }

 private:
  double alpha_cumprod(int64_t timestep) const {
    return timestep < 0 ? final_alpha_ : training_.alphas_cumprod[static_cast<size_t>(timestep)];
  }

  TrainingSchedule training_;
  Prediction prediction_;
  PictureRange range_;
  double final_alpha_, eta_;
  int64_t stride_ = 0;
};

}  // namespace

std::unique_ptr<Schedule> make_ddim(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<Ddim>(config, request);
}

}  // namespace diffract::schedulers
