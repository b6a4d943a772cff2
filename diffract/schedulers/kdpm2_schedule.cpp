#include "diffract/schedulers/kdpm2_schedule.h"

#include <cmath>

namespace diffract::schedulers {

Kdpm2Schedule::Kdpm2Schedule(const ConfigReader& config, const ScheduleRequest& request)
    : SigmaSchedule(config, request,
                    {.training = {.beta_start = 0.00085, .beta_end = 0.012},
                     .predictions = {"epsilon", "v_prediction"}}) {
  if (read_sigma_spacing(config) == SigmaSpacing::karras)
    for (double& t : timesteps_) t = std::nearbyint(t);
}

void Kdpm2Schedule::plan(const Reach& reach) {
  const auto numbers = [](const Tensor& tensor) {
    const Tensor values = tensor.to(at::kDouble).contiguous();
    return std::vector<double>(values.const_data_ptr<double>(),
                               values.const_data_ptr<double>() + values.numel());
  };
  down_ = numbers(reach.down);
  up_ = numbers(reach.up);
  const Tensor from = at::tensor(sigmas_, at::kDouble).to(at::kFloat).slice(0, 0, -1);
  middles_ = numbers(from.log().lerp(reach.down.log(), 0.5).exp());
  middles_.back() = 0;
  const auto table = training_.sigmas();
  const std::vector<double> ends = timesteps_;
  timesteps_ = {ends[0]};
  for (size_t i = 0; i + 1 < ends.size(); ++i) {
    timesteps_.push_back(sigma_to_timestep(middles_[i], table));
    timesteps_.push_back(ends[i + 1]);
  }
}

Tensor Kdpm2Schedule::step(const Tensor& output, size_t index, const Tensor& sample,
                           const NoiseSource& noise) {
  const size_t i = index / 2;
  const double from = sigmas_[i];
  const Tensor slope = derivative(output, sample, input_sigma(index));
  if (index % 2 == 0) {
    start_ = sample;
    return sample + slope * (middles_[i] - from);
  }
  const Tensor next = start_ + slope * (down_[i] - from);
  return up_[i] > 0 ? next + noise() * up_[i] : next;
}

}  // namespace diffract::schedulers
