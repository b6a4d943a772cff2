#include "diffract/schedulers/kdpm2_schedule.h"
#include "diffract/schedulers/registry.h"

namespace diffract::schedulers {
namespace {

/// The midpoint rule to a lower noise level, and fresh noise up to the next. Source: k-diffusion's
/// sample_dpm_2_ancestral; diffusers scheduling_k_dpm_2_ancestral_discrete.py.
class Kdpm2AncestralDiscrete final : public Kdpm2Schedule {
 public:
  Kdpm2AncestralDiscrete(const ConfigReader& config, const ScheduleRequest& request)
      : Kdpm2Schedule(config, request) {
    // By the operations of diffusers, in float32: the two squares are close.
    const Tensor sigmas = at::tensor(sigmas_, at::kDouble).to(at::kFloat);
    const Tensor from = sigmas.slice(0, 0, -1).pow(2), to = sigmas.slice(0, 1).pow(2);
    const Tensor up = (to * (from - to) / from).pow(0.5);
    plan({.down = (to - up.pow(2)).pow(0.5), .up = up});
  }
};

}  // namespace

std::unique_ptr<Schedule> make_kdpm2_ancestral_discrete(const ConfigReader& config,
                                                        const ScheduleRequest& request) {
  return std::make_unique<Kdpm2AncestralDiscrete>(config, request);
}

}  // namespace diffract::schedulers
