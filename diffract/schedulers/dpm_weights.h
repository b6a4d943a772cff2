#pragma once
#include <cmath>
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/schedulers/prediction.h"

namespace diffract::schedulers {

/// Which of the DPM-Solvers a config asks for. Source: Lu et al. 2022a (dpmsolver) and 2022b (dpmsolver++).
struct DpmAlgorithm {
  bool predicts_picture = true;  // "++": integrates the picture; else the noise
  bool sde = false;              // with fresh noise at each step
  bool heun = false;             // else the midpoint rule

  /// Reads algorithm_type, one of `allowed` or a DEIS scheduler's, and solver_type.
  static DpmAlgorithm from_json(const ConfigReader& config, std::vector<std::string> allowed);
};

/// A step is `sample` of the sample, `noise` of fresh noise, and `scale` times the integral of exp over [0,
/// z] of the predictions' polynomial, whose terms have the weights phi0, phi1, phi2.
struct DpmWeights {
  double sample, noise, scale, z;

  double phi0() const { return std::expm1(z); }
  double phi1() const { return phi0() / z - 1; }
  double phi2() const { return (phi0() - z) / (z * z) - 0.5; }
};

/// Of a step from one noise level to another.
DpmWeights dpm_weights(const DpmAlgorithm& algorithm, const NoiseLevel& from, const NoiseLevel& to);

}  // namespace diffract::schedulers
