#include "diffract/schedulers/dpm_multistep.h"

#include <algorithm>

namespace diffract::schedulers {

DpmMultistep::DpmMultistep(const ConfigReader& config, std::vector<std::string> algorithms)
    : algorithm_(DpmAlgorithm::from_json(config, std::move(algorithms))),
      order_(static_cast<size_t>(config.integer("solver_order", 1, 3, 2))),
      lower_order_final_(config.boolean("lower_order_final", true)),
      euler_at_final_(config.boolean("euler_at_final", false)) {}

Tensor DpmMultistep::step(const Tensor& prediction, size_t index, const Tensor& sample, const Walk& walk,
                          const NoiseSource& noise) {
  if (history_.size() == order_) history_.erase(history_.begin());
  history_.push_back(prediction);
  const DpmWeights w = dpm_weights(algorithm_, walk.level(index), walk.level(index + 1));
  const Tensor next = w.sample * sample + integral(w, order_at(index, walk), index, walk);
  return algorithm_.sde ? next + w.noise * noise() : next;
}

// The last steps of short walks are of lower order, for stability. A step to the picture itself has no finite
// length in lambda.
size_t DpmMultistep::order_at(size_t index, const Walk& walk) const {
  constexpr size_t kShort = 15;
  const bool few = lower_order_final_ && walk.steps < kShort;
  const bool to_picture = walk.level(index + 1).sigma == 0;
  if (index + 1 == walk.steps && (euler_at_final_ || few || to_picture)) return 1;
  const size_t order = index + 2 == walk.steps && few ? std::min<size_t>(order_, 2) : order_;
  return std::min(order, history_.size());
}

Tensor DpmMultistep::integral(const DpmWeights& w, size_t order, size_t index, const Walk& walk) const {
  const auto lambda = [&](size_t i) { return walk.level(i).lambda(); };
  const auto prediction = [&](size_t back) -> const Tensor& { return history_[history_.size() - 1 - back]; };
  const Tensor value = w.scale * w.phi0() * prediction(0);
  if (order == 1) return value;
  const double h = lambda(index + 1) - lambda(index);
  const double r0 = (lambda(index) - lambda(index - 1)) / h;
  const Tensor slope = (prediction(0) - prediction(1)) / r0;
  if (order == 2) return value + w.scale * (algorithm_.heun ? w.phi1() : 0.5 * w.phi0()) * slope;
  const double r1 = (lambda(index - 1) - lambda(index - 2)) / h;
  const Tensor bend = (slope - (prediction(1) - prediction(2)) / r1) / (r0 + r1);
  return value + w.scale * w.phi1() * (slope + r0 * bend) + w.scale * w.phi2() * bend;
}

}  // namespace diffract::schedulers
