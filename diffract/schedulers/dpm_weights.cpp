#include "diffract/schedulers/dpm_weights.h"

namespace diffract::schedulers {

DpmAlgorithm DpmAlgorithm::from_json(const ConfigReader& config, std::vector<std::string> allowed) {
  allowed.emplace_back("deis");
  std::string algorithm = config.choice("algorithm_type", allowed, "dpmsolver++");
  if (algorithm == "deis") algorithm = "dpmsolver++";  // as diffusers takes a DEIS scheduler's config
  // The other schedulers' solver types stand for the midpoint rule, as diffusers has it.
  const std::string solver =
      config.choice("solver_type", {"midpoint", "heun", "logrho", "bh1", "bh2"}, "midpoint");
  return {.predicts_picture = algorithm.ends_with("++"),
          .sde = algorithm.starts_with("sde-"),
          .heun = solver == "heun"};
}

DpmWeights dpm_weights(const DpmAlgorithm& algorithm, const NoiseLevel& from, const NoiseLevel& to) {
  const double h = to.lambda() - from.lambda();
  if (algorithm.predicts_picture) {
    const double kept = to.sigma / from.sigma;
    if (!algorithm.sde) return {.sample = kept, .noise = 0, .scale = -to.alpha, .z = -h};
    return {.sample = kept * std::exp(-h),
            .noise = to.sigma * std::sqrt(-std::expm1(-2 * h)),
            .scale = -to.alpha,
            .z = -2 * h};
  }
  const double kept = to.alpha / from.alpha;
  if (!algorithm.sde) return {.sample = kept, .noise = 0, .scale = -to.sigma, .z = h};
  return {.sample = kept, .noise = to.sigma * std::sqrt(std::expm1(2 * h)), .scale = -2 * to.sigma, .z = h};
}

}  // namespace diffract::schedulers
