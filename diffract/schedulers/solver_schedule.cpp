#include "diffract/schedulers/solver_schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "diffract/schedulers/spacing.h"

namespace diffract::schedulers {
namespace {

// The training timesteps above this one are left out: their lambda is below `lambda_min_clipped`.
int64_t clipped_timesteps(const TrainingSchedule& training, double lambda_min_clipped) {
  int64_t last = training.timesteps();
  while (last > 0) {
    const auto alpha = static_cast<float>(training.alphas_cumprod[static_cast<size_t>(last - 1)]);
    const float lambda = std::log(std::sqrt(alpha)) - std::log(std::sqrt(1 - alpha));
    // -1.8e308 stands for minus infinity: with zero terminal SNR the last lambda is that.
    if (lambda >= lambda_min_clipped || lambda_min_clipped == std::numeric_limits<double>::lowest()) break;
    --last;
  }
  return std::max<int64_t>(last, 1);
}

}  // namespace

SolverSchedule::SolverSchedule(const ConfigReader& config, const ScheduleRequest& request,
                               const Options& options)
    : training_(read_training_schedule(
          config, {.has_rescale_zero_snr = options.has_rescale_zero_snr, .keep_last_above_zero = true})),
      prediction_(read_prediction(config, {"epsilon", "sample", "v_prediction"})) {
  config.unsupported_unless("use_flow_sigmas");
  config.unsupported_unless("use_dynamic_shifting");
  range_.read_threshold(config);
  constexpr double kMost = std::numeric_limits<double>::max();
  const int64_t last =
      options.clips_lambda
          ? clipped_timesteps(training_, config.number("lambda_min_clipped", -kMost, kMost, -kMost))
          : training_.timesteps();
  timesteps_ =
      spaced_timesteps(Spacing::from_json(config, "linspace"), {.round_linspace = true, .one_more = true},
                       training_.timesteps(), last, request.num_inference_steps);
  const auto table = training_.sigmas();
  SigmaSpacing spacing = read_sigma_spacing(config);
  if (options.has_lu_lambdas && spacing != SigmaSpacing::karras && config.boolean("use_lu_lambdas", false))
    spacing = SigmaSpacing::lu;
  if (spacing == SigmaSpacing::timesteps) {
    for (const double t : timesteps_) sigmas_.push_back(interpolate(table, t));
    require_finite_sigmas(training_, sigmas_, config);
  } else {
    const bool bounded = spacing != SigmaSpacing::lu;
    sigmas_ = space_sigmas(spacing, read_sigma_bound(config, "sigma_max", bounded, table.back()),
                           read_sigma_bound(config, "sigma_min", bounded, table.front()),
                           request.num_inference_steps);
    require_finite_sigmas(training_, sigmas_, config);
    const bool cosine = config.text("beta_schedule", "linear") == "squaredcos_cap_v2";
    const bool round = (spacing == SigmaSpacing::karras || spacing == SigmaSpacing::lu) &&
                       (!cosine || options.rounds_even_with_cosine);
    timesteps_.resize(sigmas_.size());
    for (size_t i = 0; i < sigmas_.size(); ++i) {
      const double t = sigma_to_timestep(sigmas_[i], table);
      timesteps_[i] = round ? std::nearbyint(t) : std::trunc(t);
    }
  }
  const bool to_picture =
      options.ends_at_picture && config.choice("final_sigmas_type", {"zero", "sigma_min"}, "zero") == "zero";
  const bool spaced = spacing != SigmaSpacing::timesteps && options.final_is_last_spaced;
  sigmas_.push_back(to_picture ? 0.0 : spaced ? sigmas_.back() : table.front());
  // diffusers keeps this table in float32; a difference of two of its entries is small enough for that to
  // show.
  for (double& sigma : sigmas_) sigma = static_cast<float>(sigma);
}

}  // namespace diffract::schedulers
