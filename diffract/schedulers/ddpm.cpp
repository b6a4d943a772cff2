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
      : training_(read_training_schedule(
            config, {.has_sigmoid = true, .has_laplace = true, .has_rescale_zero_snr = true})),
        prediction_(read_prediction(config, {"epsilon", "sample", "v_prediction"})) {
    range_.read_threshold(config);
    if (!range_.quantile) range_.read_clip(config, true);
    // "fixed_small_log" is the same deviation by way of its logarithm. Of "fixed_large_log" diffusers takes a
    // negative number's root.
    const std::string variance = config.choice(
        "variance_type", {"fixed_small", "fixed_small_log", "fixed_large", "learned", "learned_range"},
        "fixed_small");
    variance_ = variance == "fixed_large"     ? Variance::large
                : variance == "learned"       ? Variance::learned
                : variance == "learned_range" ? Variance::learned_range
                                              : Variance::small;
    plan_timesteps(config, request);
    if (prediction_ == Prediction::epsilon) require_signal(training_, timesteps_, config, kOfEpsilon);
  }

  Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const override {
    return training_.level(timesteps_[index]).mix(sample, noise);
  }

  Tensor step(const Tensor& both, size_t index, const Tensor& sample, const NoiseSource& noise) override {
    const auto [output, learned] = parts_of(both, sample);
    const double alpha = alpha_cumprod(index), alpha_next = alpha_cumprod(index + 1);
    const double kept = alpha / alpha_next, added = 1 - kept;  // by the step that is taken back
    const Tensor picture =
        range_.apply(predicted_picture(prediction_, output, sample, NoiseLevel::of_alpha_cumprod(alpha)));
    const Tensor mean = (std::sqrt(alpha_next) * added / (1 - alpha)) * picture +
                        (std::sqrt(kept) * (1 - alpha_next) / (1 - alpha)) * sample;
    if (timesteps_[index] <= 0) return mean;
    constexpr double kLeastVariance = 1e-20;
    const double small = std::max((1 - alpha_next) / (1 - alpha) * added, kLeastVariance);
    switch (variance_) {
      case Variance::small:
        return mean + std::sqrt(small) * noise();
      case Variance::large:
        return mean + std::sqrt(added) * noise();
      case Variance::learned:
        return mean + learned.sqrt() * noise();
      case Variance::learned_range: {  // between the logarithms of the two: Nichol and Dhariwal 2021,
                                       // equation 15
        const Tensor share = (learned + 1) / 2;
        return mean + (0.5 * (share * std::log(added) + (1 - share) * std::log(small))).exp() * noise();
      }
    }
    throw InternalError("unknown variance type");
  }

 private:
  enum class Variance { small, large, learned, learned_range };

  void plan_timesteps(const ConfigReader& config, const ScheduleRequest& request) {
    const int64_t steps = request.num_inference_steps;
    if (!request.timesteps.empty()) {
      timesteps_ = own_timesteps(request.timesteps, training_.timesteps(), OwnTimesteps::whole);
      return;
    }
    if (steps > training_.timesteps())
      throw UsageError("num_inference_steps {}: the model was trained at {} timesteps", steps,
                       training_.timesteps());
    timesteps_ = spaced_timesteps(Spacing::from_json(config, "leading"), {.round_linspace = true},
                                  training_.timesteps(), training_.timesteps(), steps);
    check_trained(timesteps_, training_.timesteps(), steps);
  }

  // A model that learned its variance gives it as the second half of its output.
  std::pair<Tensor, Tensor> parts_of(const Tensor& both, const Tensor& sample) const {
    if (variance_ != Variance::learned && variance_ != Variance::learned_range) return {both, {}};
    const int64_t channels = sample.size(1);
    if (both.size(1) != 2 * channels)
      throw CheckpointError(
          "the scheduler's \"variance_type\" says that the model learned its variance, but it gives {} "
          "channels "
          "for {}; set it to fixed_small",
          both.size(1), channels);
    return {both.narrow(1, 0, channels), both.narrow(1, channels, channels)};
  }

  // At the evaluation `index`; behind the last one is the picture.
  double alpha_cumprod(size_t index) const {
    if (index == timesteps_.size()) return 1.0;
    return training_.alphas_cumprod[static_cast<size_t>(timesteps_[index])];
  }

  TrainingSchedule training_;
  Prediction prediction_;
  PictureRange range_;
  Variance variance_ = Variance::small;
};

}  // namespace

std::unique_ptr<Schedule> make_ddpm(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<Ddpm>(config, request);
}

}  // namespace diffract::schedulers
