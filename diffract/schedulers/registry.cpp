#include "diffract/schedulers/registry.h"

#include <fmt/ranges.h>

#include "diffract/core/error.h"
#include "diffract/core/nearest.h"
#include "diffract/schedulers/foreign_schedulers.h"

namespace diffract::schedulers {
namespace {

struct Entry {
  const char* class_name;
  MakeSchedule* make;
  SchedulerTraits traits = {};
};

constexpr Entry kEntries[] = {
    {"DDIMScheduler", make_ddim, {.uses_eta = true}},
    {"DDPMScheduler", make_ddpm},
    {"DEISMultistepScheduler", make_deis_multistep},
    {"DPMSolverMultistepScheduler", make_dpm_solver_multistep, {.float32_noise = true}},
    {"EulerAncestralDiscreteScheduler", make_euler_ancestral_discrete},
    {"EulerDiscreteScheduler", make_euler_discrete},
    {"FlowMatchEulerDiscreteScheduler", make_flow_match_euler_discrete, {.path = Path::flow}},
    {"HeunDiscreteScheduler", make_heun_discrete},
    {"LMSDiscreteScheduler", make_lms_discrete},
    {"PNDMScheduler", make_pndm},
    {"UniPCMultistepScheduler", make_unipc_multistep},
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

std::unique_ptr<Schedule> make_schedule(const std::string& class_name, const Json& config,
                                        const std::string& source, const ScheduleRequest& request) {
  constexpr int64_t kMostSteps = 10'000;
  if (request.num_inference_steps < 1 || request.num_inference_steps > kMostSteps)
    throw UsageError("num_inference_steps {}: expected 1 to {}", request.num_inference_steps, kMostSteps);
  if (!(request.eta >= 0 && request.eta <= 1)) throw UsageError("eta {}: expected 0 to 1", request.eta);
  for (const Entry& entry : kEntries)
    if (class_name == entry.class_name) return entry.make(ConfigReader(config, source), request);
  refuse_unknown(class_name);
}

}  // namespace diffract::schedulers
