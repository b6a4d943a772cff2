#pragma once
#include <cstdint>
#include <vector>

#include "diffract/core/json.h"

namespace diffract::schedulers {

/// Which of the training timesteps are visited. Source: Lin et al. 2024, table 2.
struct Spacing {
  enum class Kind { linspace, leading, trailing };
  Kind kind;
  int64_t steps_offset;  // added to the leading ones

  /// Reads timestep_spacing and steps_offset.
  static Spacing from_json(const ConfigReader& config, const char* fallback);
};

/// How a class of schedulers picks them.
struct SpacingRule {
  bool round_linspace = false;  // else fractions
  // The multistep solvers space one step more and drop the one nearest to the picture; their last step leads
  // to it.
  bool one_more = false;
};

/// `steps` timesteps out of `train_timesteps`, from noise to picture. `last_timestep` bounds them where a
/// solver clips its range; the trailing ones are then fewer, as they keep their distance. Throws UsageError
/// when there are more steps than timesteps to visit.
std::vector<double> spaced_timesteps(const Spacing& spacing, const SpacingRule& rule, int64_t train_timesteps,
                                     int64_t last_timestep, int64_t steps);

/// Which numbers a request's own timesteps may be.
enum class OwnTimesteps { whole, fractions };
/// The request's `timesteps`, checked: falling, of those that the model was trained at. Throws UsageError.
std::vector<double> own_timesteps(const std::vector<double>& timesteps, int64_t train_timesteps,
                                  OwnTimesteps kind);

/// Throws UsageError unless a request's own levels of a straight path fall from 1 at most, above 0. `what`
/// names them.
void check_flow_levels(const std::vector<float>& sigmas, const char* what);

/// Throws UsageError unless every timestep is one that the model was trained at, for the methods that look
/// them up.
void check_trained(const std::vector<double>& timesteps, int64_t train_timesteps, int64_t steps);

}  // namespace diffract::schedulers
