#include <algorithm>
#include <cmath>

#include "diffract/core/error.h"
#include "diffract/schedulers/prediction.h"
#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/spacing.h"
#include "diffract/schedulers/training_schedule.h"

namespace diffract::schedulers {
namespace {

/// Denoising diffusion probabilistic models: fresh noise at every step but the last. Source: Ho et al. 2020,
/// equations 6, 7 and 15; diffusers scheduling_ddpm.py.
class Ddpm final : public Schedule {
 public:
  Ddpm(const ConfigReader& config, const ScheduleRequest& request)
      : training_(read_training_schedule(config, {.has_sigmoid = true, .has_rescale_zero_snr = true})),
        prediction_(read_prediction(config, {"epsilon", "sample", "v_prediction"})) {
    range_.read_threshold(config);
    if (!range_.quantile) range_.read_clip(config, true);
    // "fixed_small_log" is the same deviation by way of its logarithm. Learned variances are a second half of
    // a model's output, which no model here has; of "fixed_large_log" diffusers takes a negative number's
    // root.
    large_variance_ = config.choice("variance_type", {"fixed_small", "fixed_small_log", "fixed_large"},
                                    "fixed_small") == "fixed_large";
    const int64_t steps = request.num_inference_steps;
    if (steps > training_.timesteps())
      throw UsageError("num_inference_steps {}: the model was trained at {} timesteps", steps,
                       training_.timesteps());
    timesteps_ = spaced_timesteps(Spacing::from_json(config, "leading"), {.round_linspace = true},
                                  training_.timesteps(), training_.timesteps(), steps);
    check_trained(timesteps_, training_.timesteps(), steps);
    if (prediction_ == Prediction::epsilon) require_signal(training_, timesteps_, config, kOfEpsilon);
  }

  Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const override {
    return training_.level(timesteps_[index]).mix(sample, noise);
  }

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource& noise) override {
    const double alpha = alpha_cumprod(index), alpha_next = alpha_cumprod(index + 1);
    const double kept = alpha / alpha_next, added = 1 - kept;  // by the step that is taken back
    const Tensor picture =
        range_.apply(predicted_picture(prediction_, output, sample, NoiseLevel::of_alpha_cumprod(alpha)));
    const Tensor mean = (std::sqrt(alpha_next) * added / (1 - alpha)) * picture +
                        (std::sqrt(kept) * (1 - alpha_next) / (1 - alpha)) * sample;
    if (timesteps_[index] <= 0) return mean;
    constexpr double kLeastVariance = 1e-20;
    const double small = std::max((1 - alpha_next) / (1 - alpha) * added, kLeastVariance);
    return mean + std::sqrt(large_variance_ ? added : small) * noise();
  }

 private:
  // At the evaluation `index`; behind the last one is the picture.
  double alpha_cumprod(size_t index) const {
    if (index == timesteps_.size()) return 1.0;
    return training_.alphas_cumprod[static_cast<size_t>(timesteps_[index])];
  }

  TrainingSchedule training_;
  Prediction prediction_;
  PictureRange range_;
  bool large_variance_ = false;
};

}  // namespace

std::unique_ptr<Schedule> make_ddpm(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<Ddpm>(config, request);
}

}  // namespace diffract::schedulers
