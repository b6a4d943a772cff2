#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "diffract/core/json.h"

namespace diffract::schedulers {

/// How noise levels are spaced between the largest and the smallest.
enum class SigmaSpacing {
  timesteps,    // as the timesteps have them
  karras,       // Karras et al. 2022, equation 5, rho 7
  exponential,  // evenly in the logarithm
  beta,         // quantiles of a beta distribution: Lee et al. 2024
  lu            // evenly in lambda: Lu et al. 2022
};

/// Reads use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas, at most one of them true.
SigmaSpacing read_sigma_spacing(const ConfigReader& config);
/// Throws UsageError where timesteps or sigmas were asked for (`own`, named by `what`) and the config spaces
/// its own.
void refuse_own_with_spacing(bool own, const char* what, SigmaSpacing spacing, const ConfigReader& config);

/// The `i`-th of `count` numbers evenly from `first` to `last`, as numpy.linspace rounds it.
double evenly(double first, double last, int64_t i, int64_t count);

/// sigma_min or sigma_max. Classes without these keys find them too when a config was made for another class,
/// as diffusers keeps the keys it does not know; `read` is false where it does not look.
double read_sigma_bound(const ConfigReader& config, const char* key, bool read, double fallback);

/// `steps` noise levels from `largest` down to `smallest`; for every spacing but `timesteps`.
std::vector<double> space_sigmas(SigmaSpacing spacing, double largest, double smallest, int64_t steps);

/// The table's value at a fractional index, linear between its entries and constant beyond its ends.
double interpolate(const std::vector<double>& table, double index);

/// The fractional timestep whose noise level is `sigma`, interpolated in the logarithm. `sigmas` rises.
double sigma_to_timestep(double sigma, const std::vector<double>& sigmas);

}  // namespace diffract::schedulers
