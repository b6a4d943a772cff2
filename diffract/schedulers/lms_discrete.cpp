#include <cmath>

#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/sigma_schedule.h"

namespace diffract::schedulers {
namespace {

/// Linear multistep: the derivatives of up to four steps, joined by a polynomial that is integrated over the
/// next. Source: k-diffusion; diffusers scheduling_lms_discrete.py, which integrates numerically.
class LmsDiscrete final : public SigmaSchedule {
 public:
  LmsDiscrete(const ConfigReader& config, const ScheduleRequest& request)
      : SigmaSchedule(config, request, {.karras_bounds = false}) {}

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource&) override {
    if (derivatives_.size() == kOrder) derivatives_.erase(derivatives_.begin());
    derivatives_.push_back(derivative(output, sample, sigmas_[index]));
    Tensor next = sample;
    const size_t order = derivatives_.size();
    for (size_t back = 0; back < order; ++back)
      next = next + coefficient(order, index, back) * derivatives_[order - 1 - back];
    return next;
  }

 private:
  static constexpr size_t kOrder = 4;

  // Integral from sigma[index] to sigma[index + 1] of the polynomial that is 1 at sigma[index - back] and 0
  // at the other `order` - 1 sigmas. Gauss's rule with two points is exact for its degree, three at most.
  double coefficient(size_t order, size_t index, size_t back) const {
    const auto basis = [&](double tau) {
      double product = 1;
      for (size_t k = 0; k < order; ++k)
        if (k != back) product *= (tau - sigmas_[index - k]) / (sigmas_[index - back] - sigmas_[index - k]);
      return product;
    };
    const double middle = (sigmas_[index] + sigmas_[index + 1]) / 2;
    const double half = (sigmas_[index + 1] - sigmas_[index]) / 2;
    const double reach = half / std::sqrt(3.0);
    return half * (basis(middle - reach) + basis(middle + reach));
  }

  std::vector<Tensor> derivatives_;  // the newest at the end
};

}  // namespace

std::unique_ptr<Schedule> make_lms_discrete(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<LmsDiscrete>(config, request);
}

}  // namespace diffract::schedulers
