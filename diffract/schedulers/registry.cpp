#include "diffract/schedulers/registry.h"

#include <fmt/ranges.h>

#include "diffract/core/error.h"
#include "diffract/core/nearest.h"
#include "diffract/schedulers/foreign_schedulers.h"
#include "diffract/schedulers/scheduler_spec.h"

namespace diffract::schedulers {
namespace {

struct Entry {
  const char* class_name;
  MakeSchedule* make;
  SchedulerTraits traits = {};
};

constexpr int64_t kMostSteps = 10'000;

constexpr Entry kEntries[] = {
    {"DDIMScheduler", make_ddim, {.uses_eta = true}},
    {"DDPMScheduler", make_ddpm, {.takes_timesteps = true}},
    {"DEISMultistepScheduler", make_deis_multistep, {.has_flow_sigmas = true}},
    {"DPMSolverMultistepScheduler",
     make_dpm_solver_multistep,
     {.has_flow_sigmas = true, .float32_noise = true, .takes_timesteps = true}},
    {"DPMSolverSinglestepScheduler",
     make_dpm_solver_singlestep,
     {.has_flow_sigmas = true, .takes_timesteps = true}},
    {"EDMDPMSolverMultistepScheduler", make_edm_dpm_solver_multistep},
    {"EDMEulerScheduler", make_edm_euler},
    {"EulerAncestralDiscreteScheduler", make_euler_ancestral_discrete},
    {"EulerDiscreteScheduler", make_euler_discrete, {.takes_timesteps = true, .takes_sigmas = true}},
    {"FlowMatchEulerDiscreteScheduler",
     make_flow_match_euler_discrete,
     {.path = Path::flow, .takes_timesteps = true, .takes_sigmas = true}},
    {"HeunDiscreteScheduler", make_heun_discrete, {.takes_timesteps = true}},
    {"IPNDMScheduler", make_ipndm},
    {"KDPM2AncestralDiscreteScheduler", make_kdpm2_ancestral_discrete},
    {"KDPM2DiscreteScheduler", make_kdpm2_discrete},
    {"LCMScheduler", make_lcm, {.takes_timesteps = true}},
    {"LMSDiscreteScheduler", make_lms_discrete},
    {"PNDMScheduler", make_pndm},
    {"SASolverScheduler", make_sa_solver, {.has_flow_sigmas = true}},
    {"TCDScheduler", make_tcd, {.uses_eta = true, .takes_timesteps = true}},
    {"UniPCMultistepScheduler", make_unipc_multistep, {.has_flow_sigmas = true, .takes_sigmas = true}},
};

std::string stem(const std::string& class_name) {
  constexpr std::string_view kEnd = "Scheduler";
  return class_name.ends_with(kEnd) ? class_name.substr(0, class_name.size() - kEnd.size()) : class_name;
}

// "Scheduler" is alike in all names, so only the rest tells whether two are.
std::string hint_of(const std::string& class_name) {
  if (std::string hint = hint_for(class_name, foreign_schedulers(), {}); !hint.empty()) return hint;
  std::vector<std::string> stems;
  stems.reserve(scheduler_names().size());
  for (const std::string& name : scheduler_names()) stems.push_back(stem(name));
  constexpr size_t kTypingErrors = 2;
  auto meant = nearest(class_name, scheduler_names(), kTypingErrors);
  if (const auto close = nearest(stem(class_name), stems); !meant && close) meant = *close + "Scheduler";
  return meant ? fmt::format("; did you mean {}?", *meant) : "";
}

// A schedule of the caller's own, for a class that has no argument for it.
void refuse_own(const Entry& entry, const char* what, bool SchedulerTraits::*takes) {
  if (entry.traits.*takes) return;
  std::vector<std::string> names;
  for (const Entry& other : kEntries)
    if (other.traits.*takes) names.emplace_back(other.class_name);
  throw UsageError("{}: {} does not take them. Those that do: {}", what, entry.class_name,
                   fmt::join(names, ", "));
}

// One schedule is asked for, and its length is the number of steps.
ScheduleRequest settled(ScheduleRequest request, const Entry& entry) {
  constexpr size_t kMost = kMostSteps;
  if (!request.timesteps.empty() && !request.sigmas.empty())
    throw UsageError("timesteps and sigmas: both given; give either");
  if (request.timesteps.size() > kMost || request.sigmas.size() > kMost)
    throw UsageError("timesteps and sigmas: more than {} numbers", kMost);
  if (!request.timesteps.empty()) refuse_own(entry, "timesteps", &SchedulerTraits::takes_timesteps);
  if (!request.sigmas.empty()) refuse_own(entry, "sigmas", &SchedulerTraits::takes_sigmas);
  const size_t own = request.timesteps.size() + request.sigmas.size();
  if (own > 0) request.num_inference_steps = static_cast<int64_t>(own);
  return request;
}

[[noreturn]] void refuse_unknown(const std::string& class_name) {
  std::string hint = hint_of(class_name);
  if (!hint.ends_with('?')) hint += ".";
  throw UsageError("scheduler \"{}\" is not known{} There are {}", class_name, hint,
                   fmt::join(scheduler_names(), ", "));
}

}  // namespace

const std::vector<std::string>& scheduler_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Entry& entry : kEntries) all.emplace_back(entry.class_name);
    return all;
  }();
  return names;
}

const SchedulerTraits* traits_of(const std::string& class_name) {
  for (const Entry& entry : kEntries)
    if (class_name == entry.class_name) return &entry.traits;
  return nullptr;
}

Path path_of(const SchedulerSpec& spec) {
  const SchedulerTraits* traits = traits_of(spec.class_name);
  if (!traits) return Path::diffusion;
  return traits->has_flow_sigmas && spec.config.value("use_flow_sigmas", Json(false)) == Json(true)
             ? Path::flow
             : traits->path;
}

std::unique_ptr<Schedule> make_schedule(const std::string& class_name, const Json& config,
                                        const std::string& source, const ScheduleRequest& request) {
  if (request.num_inference_steps < 1 || request.num_inference_steps > kMostSteps)
    throw UsageError("num_inference_steps {}: expected 1 to {}", request.num_inference_steps, kMostSteps);
  if (!(request.eta >= 0 && request.eta <= 1)) throw UsageError("eta {}: expected 0 to 1", request.eta);
  for (const Entry& entry : kEntries)
    if (class_name == entry.class_name)
      return entry.make(ConfigReader(config, source), settled(request, entry));
  refuse_unknown(class_name);
}

}  // namespace diffract::schedulers
