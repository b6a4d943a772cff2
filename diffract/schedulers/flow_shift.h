#pragma once
#include <cmath>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/json.h"

namespace diffract::schedulers {

// Noise levels of flow matching, from 1 (noise) to 0 (picture), moved towards the noise. `Real` is float or
// double, whichever numpy computes in at the place.

/// shift * sigma / (1 + (shift - 1) * sigma). Source: Esser et al. 2024, equation 23.
template <typename Real>
Real shift_by_factor(Real sigma, double shift) {
  const auto factor = static_cast<Real>(shift);
  return factor * sigma / (1 + static_cast<Real>(shift - 1) * sigma);
}

/// The same by a factor of exp(mu), or of mu where the shift is linear in it.
template <typename Real>
Real shift_by_mu(Real sigma, double mu, bool exponential) {
  const auto moved = static_cast<Real>(exponential ? std::exp(mu) : mu);
  return moved / (moved + (1 / sigma - 1));
}

/// Stretches the levels so that the last one is `terminal`.
template <typename Real>
void stretch_to_terminal(std::vector<Real>& sigmas, double terminal) {
  const Real factor = (1 - sigmas.back()) / static_cast<Real>(1 - terminal);
  for (Real& sigma : sigmas) sigma = 1 - (1 - sigma) / factor;
}

/// Says of a config with use_dynamic_shifting that the request has no shift.
[[noreturn]] inline void throw_no_mu(const ConfigReader& config) {
  throw UsageError(
      "{}: has \"use_dynamic_shifting\", which needs the shift mu of the picture's size; this pipeline has "
      "none",
      config.source());
}

}  // namespace diffract::schedulers
