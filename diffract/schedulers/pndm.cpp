#include <cmath>

#include "diffract/core/error.h"
#include "diffract/schedulers/prediction.h"
#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/spacing.h"
#include "diffract/schedulers/training_schedule.h"

namespace diffract::schedulers {
namespace {

constexpr size_t kRungeKuttaSteps =
    4;  // each of them four evaluations, the last one of which starts the next

/// Pseudo numerical methods: a linear multistep rule over the last four noises, optionally started by
/// Runge-Kutta steps. Source: Liu et al. 2022, equations 9, 12 and 13; diffusers scheduling_pndm.py.
class Pndm final : public Schedule {
 public:
  Pndm(const ConfigReader& config, const ScheduleRequest& request)
      : training_(read_training_schedule(config, {})),
        prediction_(read_prediction(config, {"epsilon", "v_prediction"})),
        skip_prk_steps_(config.boolean("skip_prk_steps", false)),
        final_alpha_(config.boolean("set_alpha_to_one", false) ? 1.0 : training_.alphas_cumprod.front()) {
    const int64_t steps = request.num_inference_steps;
    if (steps > training_.timesteps())
      throw UsageError("num_inference_steps {}: the model was trained at {} timesteps", steps,
                       training_.timesteps());
    stride_ = training_.timesteps() / steps;
    const auto spaced = spaced_timesteps(Spacing::from_json(config, "leading"), {.round_linspace = true},
                                         training_.timesteps(), training_.timesteps(), steps);
    if (skip_prk_steps_)
      plan_multistep_only(spaced);
    else
      plan_with_runge_kutta(spaced);
    check_trained(timesteps_, training_.timesteps(), steps);
    require_signal(training_, timesteps_, config, kOfEverything);
  }

  Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const override {
    return training_.level(timesteps_[index]).mix(sample, noise);
  }

  // diffusers counts from where the walk begins, so that a cut walk begins as a whole one does.
  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource&) override {
    return index - begin() < runge_kutta_count_ ? runge_kutta_step(output, index, sample)
                                                : multistep(output, index, sample);
  }

 private:
  // The second timestep is evaluated twice: the first step is taken again with what it showed.
  void plan_multistep_only(const std::vector<double>& spaced) {
    timesteps_ = spaced;
    if (spaced.size() > 1) timesteps_.insert(timesteps_.begin() + 1, spaced[1]);
  }

  void plan_with_runge_kutta(const std::vector<double>& spaced) {
    if (spaced.size() < kRungeKuttaSteps)
      throw UsageError("num_inference_steps {}: PNDMScheduler with skip_prk_steps false takes {} or more",
                       spaced.size(), kRungeKuttaSteps);
    // From one timestep to the next: at its begin, twice half way, at its end.
    const int64_t half_stride = stride_ / 2;
    const auto half = static_cast<double>(half_stride);
    for (size_t i = 0; i + 1 < kRungeKuttaSteps; ++i)
      for (const double t : {spaced[i], spaced[i + 1] + half, spaced[i + 1] + half, spaced[i + 1]})
        timesteps_.push_back(t);
    runge_kutta_count_ = timesteps_.size();
    timesteps_.insert(timesteps_.end(), spaced.begin() + kRungeKuttaSteps - 1, spaced.end());
  }

  Tensor runge_kutta_step(const Tensor& output, size_t index, const Tensor& sample) {
    const size_t count = index - begin(), stage = count % 4;
    if (stage == 0) {
      noises_.push_back(output);
      start_ = sample;
      mean_noise_ = output / 6;
    } else if (stage < 3) {
      mean_noise_ = mean_noise_ + output / 3;
    }
    const Tensor direction = stage == 3 ? mean_noise_ + output / 6 : output;
    // Not counted from where the walk begins, as in diffusers.
    const auto from = static_cast<int64_t>(timesteps_[count - stage]);
    const int64_t to = static_cast<int64_t>(timesteps_[index]) - (stage % 2 == 0 ? stride_ / 2 : 0);
    return transfer(start_, from, to, direction);
  }

  Tensor multistep(const Tensor& output, size_t index, const Tensor& sample) {
    auto from = static_cast<int64_t>(timesteps_[index]);
    int64_t to = from - stride_;
    if (skip_prk_steps_ && index == begin() + 1) {  // the first step again, with the mean of both its ends
      const Tensor mean = (output + noises_.back()) / 2;
      return transfer(start_, from + stride_, from, mean);
    }
    if (noises_.size() == kRungeKuttaSteps) noises_.erase(noises_.begin());
    noises_.push_back(output);
    if (index == begin()) start_ = sample;
    return transfer(sample, from, to, extrapolate());
  }

  // Adams-Bashforth over the noises there are.
  Tensor extrapolate() const {
    const auto e = [&](size_t back) -> const Tensor& { return noises_[noises_.size() - back]; };
    switch (noises_.size()) {
      case 1:
        return e(1);
      case 2:
        return (3 * e(1) - e(2)) / 2;
      case 3:
        return (23 * e(1) - 16 * e(2) + 5 * e(3)) / 12;
      default:
        return (55 * e(1) - 59 * e(2) + 37 * e(3) - 9 * e(4)) / 24;
    }
  }

  double alpha_cumprod(int64_t timestep) const {
    return timestep < 0 ? final_alpha_ : training_.alphas_cumprod[static_cast<size_t>(timestep)];
  }

  // Equation 9: the sample at timestep `to`, given the noise in it at `from`.
  Tensor transfer(const Tensor& sample, int64_t from, int64_t to, const Tensor& output) const {
    if (from >= training_.timesteps())
      throw UsageError(
          "PNDMScheduler: the steps lead to timestep {}; the model was trained at 0 to {}. Take fewer steps "
          "or another timestep_spacing",
          from, training_.timesteps() - 1);
    const double alpha = alpha_cumprod(from), alpha_to = alpha_cumprod(to);
    const Tensor noise = predicted_noise(prediction_, output, sample, NoiseLevel::of_alpha_cumprod(alpha));
    const double denominator = alpha * std::sqrt(1 - alpha_to) + std::sqrt(alpha * (1 - alpha) * alpha_to);
    return std::sqrt(alpha_to / alpha) * sample - ((alpha_to - alpha) / denominator) * noise;
  }

  TrainingSchedule training_;
  Prediction prediction_;
  bool skip_prk_steps_;
  double final_alpha_;
  int64_t stride_ = 0;
  size_t runge_kutta_count_ = 0;
  std::vector<Tensor> noises_;  // the last four, the newest at the end
  Tensor start_;                // the sample that the current Runge-Kutta step began with
  Tensor mean_noise_;
};

}  // namespace

std::unique_ptr<Schedule> make_pndm(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<Pndm>(config, request);
}

}  // namespace diffract::schedulers
