#include "diffract/schedulers/training_schedule.h"

#include <ATen/ATen.h>

#include <cmath>
#include <functional>
#include <numbers>

#include "diffract/core/error.h"

namespace diffract::schedulers {
namespace {

using at::Tensor;

constexpr int64_t kMaxTimesteps = 100'000;

// betas that give the falling function alpha_bar, capped. Source: Nichol and Dhariwal 2021, section 3.2.
Tensor betas_for(const std::function<double(double)>& alpha_bar, int64_t count) {
  constexpr double kMaxBeta = 0.999;
  std::vector<float> betas;
  for (int64_t i = 0; i < count; ++i) {
    const double t1 = static_cast<double>(i) / static_cast<double>(count);
    const double t2 = static_cast<double>(i + 1) / static_cast<double>(count);
    betas.push_back(static_cast<float>(std::min(1 - alpha_bar(t2) / alpha_bar(t1), kMaxBeta)));
  }
  return at::tensor(betas);
}

double cosine(double t) { return std::pow(std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2), 2); }
double exponential(double t) { return std::exp(-12.0 * t); }
// Its log signal-to-noise ratio is Laplace distributed. Source: diffusers' betas_for_alpha_bar.
double laplace(double t) {
  const double from_middle = 0.5 - t;
  const double lambda = std::copysign(-0.5, from_middle) * std::log(1 - 2 * std::abs(from_middle) + 1e-6);
  const double snr = std::exp(lambda);
  return std::sqrt(snr / (1 + snr));
}

// Shifts and scales sqrt(alphas_cumprod) so that nothing of the picture is left at the end.
// Source: Lin et al. 2024, algorithm 1.
Tensor rescale_to_zero_snr(const Tensor& betas) {
  Tensor root = (1.0 - betas).cumprod(0).sqrt();
  const Tensor first = root[0].clone(), last = root[-1].clone();
  root = (root - last) * (first / (first - last));
  const Tensor alphas_cumprod = root.pow(2);
  const Tensor ratios = alphas_cumprod.slice(0, 1) / alphas_cumprod.slice(0, 0, -1);
  return 1 - at::cat({alphas_cumprod.slice(0, 0, 1), ratios});
}

Tensor read_betas(const ConfigReader& config, const TrainingDefaults& defaults) {
  const int64_t count = config.integer("num_train_timesteps", 2, kMaxTimesteps, 1000);
  if (config.has("trained_betas")) {
    const auto betas = config.numbers("trained_betas");
    for (size_t i = 0; i < betas.size(); ++i)
      if (!(betas[i] >= 0 && (betas[i] < 1 || (betas[i] == 1 && i + 1 == betas.size()))))
        throw CheckpointError(
            "{}: \"trained_betas\" has {} at {}; expected 0 to less than 1, or 1 at the end alone (zero "
            "terminal SNR)",
            config.source(), betas[i], i);
    if (static_cast<int64_t>(betas.size()) != count)
      throw CheckpointError("{}: \"trained_betas\" has {} entries; expected \"num_train_timesteps\", {}",
                            config.source(), betas.size(), count);
    return at::tensor(betas, at::kDouble).to(at::kFloat);
  }
  const double start = config.number("beta_start", 0, 1, defaults.beta_start);
  const double end = config.number("beta_end", 0, 1, defaults.beta_end);
  std::vector<std::string> known = {"linear", "scaled_linear", "squaredcos_cap_v2"};
  if (defaults.has_exp) known.emplace_back("exp");
  if (defaults.has_sigmoid) known.emplace_back("sigmoid");
  if (defaults.has_laplace) known.emplace_back("laplace");
  const std::string schedule = config.choice("beta_schedule", known, defaults.beta_schedule);
  if (schedule == "linear") return at::linspace(start, end, count, at::kFloat);
  if (schedule == "scaled_linear")
    return at::linspace(std::sqrt(start), std::sqrt(end), count, at::kFloat).pow(2);
  if (schedule == "sigmoid") return at::linspace(-6, 6, count, at::kFloat).sigmoid() * (end - start) + start;
  if (schedule == "laplace") return betas_for(laplace, count);
  return betas_for(schedule == "exp" ? exponential : cosine, count);
}

}  // namespace

TrainingSchedule read_training_schedule(const ConfigReader& config, const TrainingDefaults& defaults) {
  Tensor betas = read_betas(config, defaults);
  const bool rescale = defaults.has_rescale_zero_snr && config.boolean("rescale_betas_zero_snr", false);
  if (rescale) betas = rescale_to_zero_snr(betas);
  const Tensor alphas = (1.0 - betas).cumprod(0).contiguous();
  const auto* values = alphas.const_data_ptr<float>();
  TrainingSchedule schedule{.alphas_cumprod = {values, values + alphas.numel()}};
  if (rescale) schedule.end_key = "rescale_betas_zero_snr";
  if (config.has("trained_betas")) schedule.end_key = "trained_betas";
  if (rescale && defaults.keep_last_above_zero) schedule.alphas_cumprod.back() = std::exp2(-24);
  return schedule;
}

namespace {

[[noreturn]] void refuse_zero_snr(const TrainingSchedule& training, const ConfigReader& config,
                                  const std::string& where, const Divider& divider) {
  throw CheckpointError(
      "{}: \"{}\" leaves nothing of the picture {} (zero terminal SNR), and {} divides by what is left. {}; "
      "or begin before the last timestep: --scheduler-config '{{\"timestep_spacing\": \"leading\"}}'",
      config.source(), training.end_key, where, divider.name, divider.advice);
}

}  // namespace

void require_signal(const TrainingSchedule& training, const std::vector<double>& timesteps,
                    const ConfigReader& config, const Divider& divider) {
  for (const double t : timesteps)
    if (t >= 0 && t < static_cast<double>(training.timesteps()) &&
        training.alphas_cumprod[static_cast<size_t>(t)] <= 0)
      refuse_zero_snr(training, config, fmt::format("at timestep {}", t), divider);
}

void require_finite_sigmas(const TrainingSchedule& training, const std::vector<double>& sigmas,
                           const ConfigReader& config) {
  for (const double sigma : sigmas)
    if (!std::isfinite(sigma)) refuse_zero_snr(training, config, "at the largest noise level", kOfEverything);
}

std::vector<double> TrainingSchedule::sigmas() const {
  // By the operations of diffusers: ATen's power and the square root differ in the last bit, which a step
  // from sigma 4096 (zero terminal SNR) shows.
  const Tensor alphas = at::tensor(alphas_cumprod, at::kDouble).to(at::kFloat);
  const Tensor sigmas = ((1 - alphas) / alphas).pow(0.5).to(at::kDouble).contiguous();
  const auto* values = sigmas.const_data_ptr<double>();
  return {values, values + sigmas.numel()};
}

}  // namespace diffract::schedulers
