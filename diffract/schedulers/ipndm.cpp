#include <algorithm>
#include <cmath>
#include <numbers>

#include "diffract/core/error.h"
#include "diffract/schedulers/linear_multistep.h"
#include "diffract/schedulers/prediction.h"
#include "diffract/schedulers/registry.h"

namespace diffract::schedulers {
namespace {

// The noise's share at each evaluation, and 0 at the end, float32: the squared sine of evenly spaced angles.
Tensor noise_shares(const ConfigReader& config, int64_t steps) {
  if (!config.has("trained_betas")) {
    const Tensor evenly = at::linspace(1, 0, steps + 1, at::kFloat);
    evenly[-1] = 0;
    return (evenly * std::numbers::pi / 2).sin().square();
  }
  const auto betas = config.numbers("trained_betas");
  if (betas.size() < 2)
    throw CheckpointError("{}: \"trained_betas\" has {} entries; expected 2 or more", config.source(),
                          betas.size());
  for (size_t i = 0; i < betas.size(); ++i)
    if (!(betas[i] >= 0 && betas[i] <= 1))
      throw CheckpointError("{}: \"trained_betas\" has {} at {}; expected 0 to 1", config.source(), betas[i],
                            i);
  return at::tensor(betas, at::kDouble).to(at::kFloat);
}

/// Improved pseudo numerical methods: a linear multistep rule over samples on a circle, x = alpha * picture +
/// beta * noise with alpha^2 + beta^2 = 1. Source: diffusers scheduling_ipndm.py, after v-diffusion's
/// plms_sample.
class Ipndm final : public Schedule {
 public:
  Ipndm(const ConfigReader& config, const ScheduleRequest& request) {
    config.integer("num_train_timesteps", 2, 100'000, 1000);
    const Tensor betas = noise_shares(config, request.num_inference_steps);
    const Tensor alphas = (1.0 - betas.square()).sqrt();
    const Tensor angles = at::atan2(betas, alphas) / std::numbers::pi * 2;
    for (int64_t i = 0; i < betas.size(0); ++i)
      levels_.push_back({.alpha = alphas[i].item<double>(), .sigma = betas[i].item<double>()});
    for (int64_t i = 0; i + 1 < betas.size(0); ++i) timesteps_.push_back(angles[i].item<double>());
  }

  Tensor add_noise(const Tensor& sample, const Tensor& noise, size_t index) const override {
    return levels_[index].mix(sample, noise);
  }

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource&) override {
    const NoiseLevel &here = levels_[index], &next = levels_[index + 1];
    const Tensor noise = rule_.extrapolate(sample * here.sigma + output * here.alpha);
    constexpr double kLeastAlpha = 1e-8;  // the walk begins with noise alone
    const Tensor picture = (sample - here.sigma * noise) / std::max(here.alpha, kLeastAlpha);
    return next.mix(picture, noise);
  }

 private:
  std::vector<NoiseLevel> levels_;  // one an evaluation, and the one that the last step leads to
  LinearMultistep rule_;
};

}  // namespace

std::unique_ptr<Schedule> make_ipndm(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<Ipndm>(config, request);
}

}  // namespace diffract::schedulers
