#include "diffract/schedulers/sigmas.h"

#include <algorithm>
#include <boost/math/special_functions/beta.hpp>
#include <cmath>

#include "diffract/core/error.h"

namespace diffract::schedulers {
namespace {

double beta_quantile(double p) {
  constexpr double kShape = 0.6;  // both parameters, diffusers' choice
  return p <= 0 ? 0.0 : p >= 1 ? 1.0 : boost::math::ibeta_inv(kShape, kShape, p);
}

const char* key_of(SigmaSpacing spacing) {
  switch (spacing) {
    case SigmaSpacing::karras:
      return "use_karras_sigmas";
    case SigmaSpacing::exponential:
      return "use_exponential_sigmas";
    case SigmaSpacing::beta:
      return "use_beta_sigmas";
    case SigmaSpacing::lu:
      return "use_lu_lambdas";
    case SigmaSpacing::timesteps:
      break;
  }
  throw InternalError("key_of: no key spaces timesteps");
}

}  // namespace

double evenly(double first, double last, int64_t i, int64_t count) {
  if (count == 1) return first;
  if (i == count - 1) return last;
  return first + static_cast<double>(i) * ((last - first) / static_cast<double>(count - 1));
}

void refuse_own_with_spacing(bool own, const char* what, SigmaSpacing spacing, const ConfigReader& config) {
  if (!own || spacing == SigmaSpacing::timesteps) return;
  throw UsageError("{}: {} has \"{}\", which spaces its own. Set it to false, or leave {} out", what,
                   config.source(), key_of(spacing), what);
}

SigmaSpacing read_sigma_spacing(const ConfigReader& config) {
  const bool karras = config.boolean("use_karras_sigmas", false);
  const bool exponential = config.boolean("use_exponential_sigmas", false);
  const bool beta = config.boolean("use_beta_sigmas", false);
  if (karras + exponential + beta > 1)
    throw CheckpointError(
        "{}: more than one of \"use_karras_sigmas\", \"use_exponential_sigmas\" and \"use_beta_sigmas\" is "
        "true",
        config.source());
  return karras        ? SigmaSpacing::karras
         : exponential ? SigmaSpacing::exponential
         : beta        ? SigmaSpacing::beta
                       : SigmaSpacing::timesteps;
}

double read_sigma_bound(const ConfigReader& config, const char* key, bool read, double fallback) {
  return read ? config.number(key, 1e-9, 1e9, fallback) : fallback;
}

std::vector<double> space_sigmas(SigmaSpacing spacing, double largest, double smallest, int64_t steps) {
  constexpr double kRho = 7.0;
  std::vector<double> sigmas;
  for (int64_t i = 0; i < steps; ++i) {
    switch (spacing) {
      case SigmaSpacing::karras:
        sigmas.push_back(
            std::pow(evenly(std::pow(largest, 1 / kRho), std::pow(smallest, 1 / kRho), i, steps), kRho));
        break;
      case SigmaSpacing::exponential:
        sigmas.push_back(std::exp(evenly(std::log(largest), std::log(smallest), i, steps)));
        break;
      case SigmaSpacing::lu:  // as exponential, from float32 logarithms: their timesteps are rounded
        sigmas.push_back(std::exp(
            evenly(std::log(static_cast<float>(largest)), std::log(static_cast<float>(smallest)), i, steps)));
        break;
      case SigmaSpacing::beta:
        sigmas.push_back(smallest + beta_quantile(1 - evenly(0, 1, i, steps)) * (largest - smallest));
        break;
      case SigmaSpacing::timesteps:
        throw InternalError("space_sigmas: nothing to space");
    }
  }
  return sigmas;
}

double interpolate(const std::vector<double>& table, double index) {
  if (index <= 0) return table.front();
  const auto low = static_cast<size_t>(index);
  if (low + 1 >= table.size()) return table.back();
  return table[low] + (table[low + 1] - table[low]) * (index - static_cast<double>(low));
}

double sigma_to_timestep(double sigma, const std::vector<double>& sigmas) {
  const auto log_of = [&](size_t i) { return static_cast<double>(std::log(static_cast<float>(sigmas[i]))); };
  const double log_sigma = std::log(std::max(sigma, 1e-10));
  size_t low = 0;  // the last one that is not above sigma
  for (size_t i = 0; i + 1 < sigmas.size() && log_of(i) <= log_sigma; ++i) low = i;
  low = std::min(low, sigmas.size() - 2);
  const double share = std::clamp((log_of(low) - log_sigma) / (log_of(low) - log_of(low + 1)), 0.0, 1.0);
  return static_cast<double>(low) + share;
}

}  // namespace diffract::schedulers
