#include <algorithm>
#include <array>
#include <cmath>

#include "diffract/schedulers/registry.h"
#include "diffract/schedulers/solver_schedule.h"

namespace diffract::schedulers {
namespace {

/// DEIS of order 1 to 3: the noise is a polynomial in log(rho), rho = sigma / alpha, whose integral over rho
/// is known. Source: Zhang and Chen 2023, section 4 (the log-rho variant); diffusers
/// scheduling_deis_multistep.py.
class DeisMultistep final : public SolverSchedule {
 public:
  DeisMultistep(const ConfigReader& config, const ScheduleRequest& request)
      : SolverSchedule(config, request,
                       {.rounds_even_with_cosine = true,
                        .final_is_last_spaced = true,
                        .ends_at_picture = false,
                        .has_rescale_zero_snr = false}),
        order_(static_cast<size_t>(config.integer("solver_order", 1, 3, 2))),
        lower_order_final_(config.boolean("lower_order_final", true)) {
    // The other solvers' algorithms and types stand for DEIS's only one, as diffusers has it.
    config.choice("algorithm_type", {"deis", "dpmsolver", "dpmsolver++"}, "deis");
    config.choice("solver_type", {"logrho", "midpoint", "heun", "bh1", "bh2"}, "logrho");
  }

  Tensor step(const Tensor& output, size_t index, const Tensor& sample, const NoiseSource&) override {
    if (noises_.size() == order_) noises_.erase(noises_.begin());
    noises_.push_back(noise_in(output, index, sample));
    Tensor sum = sample / level(index).alpha;
    const auto weights = integrals(index, order_at(index));
    for (size_t back = 0; back < weights.size(); ++back)
      sum = sum + weights[back] * noises_[noises_.size() - 1 - back];
    return level(index + 1).alpha * sum;
  }

 private:
  // The first steps have fewer noises, and the last ones of short walks are of lower order, for stability.
  size_t order_at(size_t index) const {
    constexpr size_t kShort = 15;
    const size_t left = steps() - index;
    const size_t most = lower_order_final_ && steps() < kShort ? std::min<size_t>(left, order_) : order_;
    return std::min(most, noises_.size());
  }

  // The integral over rho, from here to the next level, of each Lagrange polynomial in log(rho) through the
  // last `order` levels; the newest first. With x = log(rho) that is the integral of p(x) exp(x).
  std::vector<double> integrals(size_t index, size_t order) const {
    const auto rho = [this](size_t i) { return level(i).sigma / level(i).alpha; };
    const double from = rho(index), to = rho(index + 1);
    std::vector<double> node;
    node.reserve(order);
    for (size_t back = 0; back < order; ++back) node.push_back(std::log(rho(index - back)));
    // Of exp(x) * 1, x and x * x.
    const auto moments = [](double at) {
      const double x = std::log(at);
      return std::array{at, at * (x - 1), at * (x * x - 2 * x + 2)};
    };
    const auto high = moments(to), low = moments(from);
    const auto moment = [&](size_t power) { return high[power] - low[power]; };
    std::vector<double> weights;
    for (size_t i = 0; i < order; ++i) {
      if (order == 1) {
        weights.push_back(moment(0));
      } else if (order == 2) {
        const double other = node[1 - i];
        weights.push_back((moment(1) - other * moment(0)) / (node[i] - other));
      } else {
        const double a = node[(i + 1) % 3], b = node[(i + 2) % 3];
        weights.push_back((moment(2) - (a + b) * moment(1) + a * b * moment(0)) /
                          ((node[i] - a) * (node[i] - b)));
      }
    }
    return weights;
  }

  size_t order_;
  bool lower_order_final_;
  std::vector<Tensor> noises_;  // the newest at the end
};

}  // namespace

std::unique_ptr<Schedule> make_deis_multistep(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<DeisMultistep>(config, request);
}

}  // namespace diffract::schedulers
