#include "diffract/schedulers/edm_schedule.h"

#include <cmath>

#include "diffract/core/error.h"
#include "diffract/schedulers/sigmas.h"

namespace diffract::schedulers {

EdmSchedule::EdmSchedule(const ConfigReader& config, const ScheduleRequest& request)
    : prediction_(read_prediction(config, {"epsilon", "v_prediction"})),
      sigma_data_(config.number("sigma_data", 1e-6, 1e6, 0.5)) {
  config.integer("num_train_timesteps", 2, 100'000, 1000);
  const double smallest = config.number("sigma_min", 1e-9, 1e9, 0.002),
               largest = config.number("sigma_max", 1e-9, 1e9, 80.0),
               rho = config.number("rho", 0.1, 1000, 7.0);
  if (smallest >= largest)
    throw CheckpointError("{}: \"sigma_min\" is {}; expected less than \"sigma_max\", {}", config.source(),
                          smallest, largest);
  const bool karras = config.choice("sigma_schedule", {"karras", "exponential"}, "karras") == "karras";
  const int64_t steps = request.num_inference_steps;
  const double root_largest = std::pow(largest, 1 / rho), root_smallest = std::pow(smallest, 1 / rho);
  for (int64_t i = 0; i < steps; ++i) {
    // Exponential levels are spaced from the picture's end: a single one is the smallest.
    const double sigma =
        karras ? std::pow(root_largest + evenly(0, 1, i, steps) * (root_smallest - root_largest), rho)
               : std::exp(evenly(std::log(smallest), std::log(largest), steps - 1 - i, steps));
    sigmas_.push_back(static_cast<float>(sigma));
    timesteps_.push_back(0.25f * std::log(static_cast<float>(sigma)));
  }
  const bool to_picture = config.choice("final_sigmas_type", {"zero", "sigma_min"}, "zero") == "zero";
  sigmas_.push_back(to_picture ? 0.0 : sigmas_.back());
  init_noise_sigma_ = std::sqrt(largest * largest + 1);
}

Tensor EdmSchedule::scale_model_input(const Tensor& sample, size_t index) const {
  return sample * (1 / std::hypot(sigmas_[index], sigma_data_));
}

Tensor EdmSchedule::picture_in(const Tensor& output, size_t index, const Tensor& sample) const {
  const double sigma = sigmas_[index], both = sigma * sigma + sigma_data_ * sigma_data_;
  const double sign = prediction_ == Prediction::v_prediction ? -1 : 1;
  return (sigma_data_ * sigma_data_ / both) * sample +
         (sign * sigma * sigma_data_ / std::sqrt(both)) * output;
}

}  // namespace diffract::schedulers
