#include "diffract/schedulers/solver_schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "diffract/core/error.h"
#include "diffract/schedulers/flow_shift.h"
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

Prediction read_solver_prediction(const ConfigReader& config, bool is_flow) {
  const Prediction prediction =
      read_prediction(config, {"epsilon", "sample", "v_prediction", "flow_prediction"});
  if (prediction == Prediction::flow && !is_flow)
    throw CheckpointError("{}: \"prediction_type\" flow_prediction needs \"use_flow_sigmas\" true",
                          config.source());
  return prediction;
}

// As the pipelines of flow models shift them: by the picture's size with use_dynamic_shifting, else by
// flow_shift.
std::vector<double> flow_sigmas(const ConfigReader& config, const ScheduleRequest& request,
                                int64_t train_timesteps) {
  const bool dynamic = config.boolean("use_dynamic_shifting", false);
  const double own_shift = config.number("flow_shift", 1e-6, 1e6, 1.0);
  if (dynamic) config.choice("time_shift_type", {"exponential"}, "exponential");
  const double shift = dynamic && request.mu ? std::exp(*request.mu) : own_shift;
  const int64_t steps = request.num_inference_steps;
  const double least_alpha = 1.0 / static_cast<double>(train_timesteps);
  std::vector<double> sigmas;
  for (int64_t i = 0; i < steps; ++i)
    sigmas.push_back(shift_by_factor(1.0 - evenly(1.0, least_alpha, steps - i, steps + 1), shift));
  return sigmas;
}

}  // namespace

SolverSchedule::SolverSchedule(const ConfigReader& config, const ScheduleRequest& request,
                               const Options& options)
    : training_(read_training_schedule(
          config, {.has_rescale_zero_snr = options.has_rescale_zero_snr, .keep_last_above_zero = true})),
      is_flow_(config.boolean("use_flow_sigmas", false)) {
  prediction_ = read_solver_prediction(config, is_flow_);
  range_.read_threshold(config);
  // Others than these two, as a DDPM scheduler's config has them, say nothing here.
  has_variance_ = options.has_variance_type && config.text("variance_type", "").starts_with("learned");
  SigmaSpacing spacing = read_sigma_spacing(config);
  if (options.has_lu_lambdas && spacing != SigmaSpacing::karras && config.boolean("use_lu_lambdas", false))
    spacing = SigmaSpacing::lu;
  refuse_own_with_spacing(!request.timesteps.empty(), "timesteps", spacing, config);
  const bool to_picture =
      options.ends_at_picture && config.choice("final_sigmas_type", {"zero", "sigma_min"}, "zero") == "zero";
  if (is_flow_) {
    if (options.has_own_flow) return;
    if (spacing != SigmaSpacing::timesteps || !request.timesteps.empty())
      throw CheckpointError("{}: \"use_flow_sigmas\" has levels of its own; it goes with no other spacing",
                            config.source());
    const auto sigmas = flow_sigmas(config, request, training_.timesteps());
    const double least = options.ends_at_picture ? training_.sigmas().front() : sigmas.back();
    walk_flow(sigmas, to_picture ? 0.0 : least);
    return;
  }
  if (spacing == SigmaSpacing::timesteps)
    walk_timesteps(config, request, options);
  else
    walk_spaced(config, request.num_inference_steps, spacing, options);
  const bool spaced = spacing != SigmaSpacing::timesteps && options.final_is_last_spaced;
  sigmas_.push_back(to_picture ? 0.0 : spaced ? sigmas_.back() : training_.sigmas().front());
  round_sigmas();
}

void SolverSchedule::walk_timesteps(const ConfigReader& config, const ScheduleRequest& request,
                                    const Options& options) {
  constexpr double kMost = std::numeric_limits<double>::max();
  const int64_t last =
      options.clips_lambda
          ? clipped_timesteps(training_, config.number("lambda_min_clipped", -kMost, kMost, -kMost))
          : training_.timesteps();
  const Spacing spacing = options.has_spacing ? Spacing::from_json(config, "linspace")
                                              : Spacing{.kind = Spacing::Kind::linspace, .steps_offset = 0};
  timesteps_ = request.timesteps.empty()
                   ? spaced_timesteps(spacing, {.round_linspace = true, .one_more = true},
                                      training_.timesteps(), last, request.num_inference_steps)
                   : own_timesteps(request.timesteps, training_.timesteps(), OwnTimesteps::whole);
  const auto table = training_.sigmas();
  for (const double t : timesteps_) sigmas_.push_back(interpolate(table, t));
  require_finite_sigmas(training_, sigmas_, config);
}

void SolverSchedule::walk_spaced(const ConfigReader& config, int64_t steps, SigmaSpacing spacing,
                                 const Options& options) {
  const auto table = training_.sigmas();
  const bool bounded = spacing != SigmaSpacing::lu;
  sigmas_ = space_sigmas(spacing, read_sigma_bound(config, "sigma_max", bounded, table.back()),
                         read_sigma_bound(config, "sigma_min", bounded, table.front()), steps);
  require_finite_sigmas(training_, sigmas_, config);
  const bool cosine = config.text("beta_schedule", "linear") == "squaredcos_cap_v2";
  const bool round = (spacing == SigmaSpacing::karras || spacing == SigmaSpacing::lu) &&
                     (!cosine || options.rounds_even_with_cosine);
  for (const double sigma : sigmas_) {
    const double t = sigma_to_timestep(sigma, table);
    timesteps_.push_back(round ? std::nearbyint(t) : std::trunc(t));
  }
}

void SolverSchedule::walk_flow(const std::vector<double>& sigmas, double last) {
  sigmas_ = sigmas;
  for (const double sigma : sigmas_)
    timesteps_.push_back(std::trunc(sigma * static_cast<double>(training_.timesteps())));
  sigmas_.push_back(last);
  round_sigmas();
}

// diffusers keeps this table in float32; a difference of two of its entries is small enough for that to show.
void SolverSchedule::round_sigmas() {
  for (double& sigma : sigmas_) sigma = static_cast<float>(sigma);
}

void SolverSchedule::require_reachable(const ConfigReader& config, bool predicts_picture) const {
  if (!predicts_picture && sigmas_.back() == 0)
    throw CheckpointError(
        "{}: \"algorithm_type\" {} cannot reach \"final_sigmas_type\" zero; set it to sigma_min",
        config.source(), config.text("algorithm_type", ""));
}

Tensor SolverSchedule::mean_of(const Tensor& output, const Tensor& sample) const {
  const bool is_both = has_variance_ && prediction_ == Prediction::epsilon && output.size(1) > sample.size(1);
  return is_both ? output.narrow(1, 0, sample.size(1)) : output;
}

Tensor SolverSchedule::picture_in(const Tensor& output, size_t index, const Tensor& sample) const {
  return range_.apply(predicted_picture(prediction_, mean_of(output, sample), sample, level(index)));
}

Tensor SolverSchedule::noise_in(const Tensor& output, size_t index, const Tensor& sample) const {
  if (!range_.quantile) return predicted_noise(prediction_, mean_of(output, sample), sample, level(index));
  return predicted_noise(Prediction::sample, picture_in(output, index, sample), sample, level(index));
}

}  // namespace diffract::schedulers
