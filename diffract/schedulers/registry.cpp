#include "diffract/schedulers/registry.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/nearest.h"

namespace diffract::schedulers {
namespace {

struct Entry {
  const char* class_name;
  MakeSchedule* make;
};

constexpr Entry kEntries[] = {
    {"DDIMScheduler", make_ddim},
    {"DDPMScheduler", make_ddpm},
    {"DEISMultistepScheduler", make_deis_multistep},
    {"DPMSolverMultistepScheduler", make_dpm_solver_multistep},
    {"EulerAncestralDiscreteScheduler", make_euler_ancestral_discrete},
    {"EulerDiscreteScheduler", make_euler_discrete},
    {"FlowMatchEulerDiscreteScheduler", make_flow_match_euler_discrete},
    {"HeunDiscreteScheduler", make_heun_discrete},
    {"LMSDiscreteScheduler", make_lms_discrete},
    {"PNDMScheduler", make_pndm},
    {"UniPCMultistepScheduler", make_unipc_multistep},
};

}  // namespace

const std::vector<std::string>& scheduler_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Entry& entry : kEntries) all.emplace_back(entry.class_name);
    return all;
  }();
  return names;
}

bool is_known(const std::string& class_name) {
  return std::any_of(std::begin(kEntries), std::end(kEntries),
                     [&](const Entry& entry) { return class_name == entry.class_name; });
}

std::unique_ptr<Schedule> make_schedule(const std::string& class_name, const Json& config,
                                        const std::string& source, const ScheduleRequest& request) {
  constexpr int64_t kMostSteps = 10'000;
  if (request.num_inference_steps < 1 || request.num_inference_steps > kMostSteps)
    throw UsageError("num_inference_steps {}: expected 1 to {}", request.num_inference_steps, kMostSteps);
  if (!(request.eta >= 0 && request.eta <= 1)) throw UsageError("eta {}: expected 0 to 1", request.eta);
  for (const Entry& entry : kEntries)
    if (class_name == entry.class_name) return entry.make(ConfigReader(config, source), request);
  const auto suggestion = nearest(class_name, scheduler_names());
  throw UsageError("scheduler \"{}\" is not known{} There are {}", class_name,
                   suggestion ? fmt::format("; did you mean {}?", *suggestion) : ".",
                   fmt::join(scheduler_names(), ", "));
}

}  // namespace diffract::schedulers
