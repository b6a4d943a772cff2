#include "diffract/schedulers/kdpm2_schedule.h"
#include "diffract/schedulers/registry.h"

namespace diffract::schedulers {
namespace {

/// The midpoint rule along sigma. Source: Karras et al. 2022, algorithm 2 without churn; k-diffusion's
/// sample_dpm_2; diffusers scheduling_k_dpm_2_discrete.py.
class Kdpm2Discrete final : public Kdpm2Schedule {
 public:
  Kdpm2Discrete(const ConfigReader& config, const ScheduleRequest& request) : Kdpm2Schedule(config, request) {
    const Tensor ends = at::tensor(sigmas_, at::kDouble).to(at::kFloat).slice(0, 1);
    plan({.down = ends, .up = at::zeros_like(ends)});
  }
};

}  // namespace

std::unique_ptr<Schedule> make_kdpm2_discrete(const ConfigReader& config, const ScheduleRequest& request) {
  return std::make_unique<Kdpm2Discrete>(config, request);
}

}  // namespace diffract::schedulers
