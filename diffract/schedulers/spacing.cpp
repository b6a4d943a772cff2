#include "diffract/schedulers/spacing.h"

#include <algorithm>
#include <cmath>

#include "diffract/core/error.h"

namespace diffract::schedulers {

Spacing Spacing::from_json(const ConfigReader& config, const char* fallback) {
  const std::string name = config.choice("timestep_spacing", {"linspace", "leading", "trailing"}, fallback);
  return {.kind = name == "linspace"  ? Kind::linspace
                  : name == "leading" ? Kind::leading
                                      : Kind::trailing,
          .steps_offset = config.integer("steps_offset", 0, 1000, 0)};
}

std::vector<double> spaced_timesteps(const Spacing& spacing, const SpacingRule& rule, int64_t train_timesteps,
                                     int64_t last_timestep, int64_t steps) {
  const int64_t spaced = rule.one_more ? steps + 1 : steps;
  if (spacing.kind != Spacing::Kind::linspace && spaced > last_timestep)
    throw UsageError("num_inference_steps {}: the model was trained at {} timesteps; expected at most {}",
                     steps, last_timestep, rule.one_more ? last_timestep - 1 : last_timestep);
  // Trailing timesteps are a numpy.arange, whose length and increment are rounded like this: halves depend on
  // it.
  const auto last = static_cast<double>(last_timestep);
  const double ratio = static_cast<double>(train_timesteps) / static_cast<double>(steps);
  const double increment = (last - ratio) - last;
  const int64_t count = spacing.kind == Spacing::Kind::trailing
                            ? std::clamp<int64_t>(static_cast<int64_t>(std::ceil(last / ratio)), 1, steps)
                            : steps;
  const int64_t step_ratio = last_timestep / spaced;  // the leading timesteps are whole multiples of it
  std::vector<double> timesteps(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const auto from_picture = static_cast<double>(spaced - 1 - i);
    double t = 0;
    switch (spacing.kind) {
      case Spacing::Kind::linspace:
        t = spaced == 1
                ? 0
                : from_picture * (static_cast<double>(last_timestep - 1) / static_cast<double>(spaced - 1));
        // Halves go to the even neighbour, as in numpy; fractions are float32, as numpy is told to keep them.
        t = rule.round_linspace ? std::nearbyint(t) : static_cast<double>(static_cast<float>(t));
        break;
      case Spacing::Kind::leading:
        t = static_cast<double>((spaced - 1 - i) * step_ratio + spacing.steps_offset);
        break;
      case Spacing::Kind::trailing:
        t = std::nearbyint(last + static_cast<double>(i) * increment) - 1;
        break;
    }
    timesteps[static_cast<size_t>(i)] = t;
  }
  return timesteps;
}

std::vector<double> own_timesteps(const std::vector<double>& timesteps, int64_t train_timesteps,
                                  OwnTimesteps kind) {
  const auto last = static_cast<double>(train_timesteps - 1);
  for (size_t i = 0; i < timesteps.size(); ++i) {
    const double t = timesteps[i];
    if (!(t >= 0 && t <= last))
      throw UsageError("timesteps: the one at {} is {}; the model was trained at 0 to {}", i, t, last);
    if (kind == OwnTimesteps::whole && t != std::floor(t))
      throw UsageError("timesteps: the one at {} is {}; this scheduler takes whole numbers", i, t);
    if (i > 0 && t >= timesteps[i - 1])
      throw UsageError("timesteps: the one at {} is {}, after {}; expected falling numbers", i, t,
                       timesteps[i - 1]);
  }
  return timesteps;
}

void check_flow_levels(const std::vector<float>& sigmas, const char* what) {
  for (size_t i = 0; i < sigmas.size(); ++i)
    if (!(sigmas[i] > 0 && sigmas[i] <= 1) || (i > 0 && sigmas[i] >= sigmas[i - 1]))
      throw UsageError("{}: the one at {} is noise level {}; expected falling levels from 1 at most, above 0",
                       what, i, sigmas[i]);
}

void check_trained(const std::vector<double>& timesteps, int64_t train_timesteps, int64_t steps) {
  for (const double t : timesteps)
    if (t < 0 || t >= static_cast<double>(train_timesteps))
      throw UsageError(
          "num_inference_steps {}: leads to timestep {}; the model was trained at 0 to {}. Take fewer steps "
          "or another timestep_spacing",
          steps, t, train_timesteps - 1);
}

}  // namespace diffract::schedulers
