#include "diffract/pipelines/scheduler_choice.h"

#include <fmt/ranges.h>

#include <set>

#include "diffract/core/error.h"
#include "diffract/core/keys_read.h"
#include "diffract/core/log.h"
#include "diffract/core/nearest.h"
#include "diffract/schedulers/schedule.h"

namespace diffract::pipelines {
namespace {

bool can_use(const schedulers::SchedulerSpec& spec, const loading::FamilyFacts& facts) {
  return schedulers::traits_of(spec.class_name) && schedulers::path_of(spec) == facts.path;
}

// Says of keys that a class does not read that they have no effect.
void warn_of_unread(const Json& overrides, const std::set<std::string>& read, const std::string& class_name) {
  for (const auto& [key, value] : overrides.items()) {
    if (read.contains(key)) continue;
    const auto meant = nearest(key, {read.begin(), read.end()});
    log::write_once(log::Level::warning,
                    fmt::format("scheduler config: \"{}\" has no effect on {}{}", key, class_name,
                                meant ? fmt::format("; did you mean \"{}\"?", *meant) : ""));
  }
}

}  // namespace

void check_scheduler(const schedulers::SchedulerSpec& spec, const SchedulerRules& rules) {
  const schedulers::Path path = schedulers::path_of(spec);
  if (schedulers::traits_of(spec.class_name) && path != rules.facts.path)
    throw UsageError("scheduler \"{}\": is for models of {}; {} needs one for {}, e.g. {}", spec.class_name,
                     path == schedulers::Path::flow ? "flow matching" : "diffusion", rules.facts.class_name,
                     rules.facts.path == schedulers::Path::flow ? "flow matching" : "diffusion",
                     rules.facts.scheduler);
  rules.try_out(spec);  // which refuses a class that is not known
}

void require_usable(const schedulers::SchedulerSpec& of_checkpoint, const loading::FamilyFacts& facts) {
  if (can_use(of_checkpoint, facts)) return;
  std::vector<std::string> names;
  for (const std::string& name : schedulers::scheduler_names())
    if (can_use({.class_name = name}, facts)) names.push_back(name);
  throw CheckpointError(
      "{}: the checkpoint's scheduler is {}, which diffract does not have for this model. Choose another "
      "over the same config: --scheduler {}. There are {}",
      of_checkpoint.source, of_checkpoint.class_name, facts.scheduler, fmt::join(names, ", "));
}

schedulers::SchedulerSpec changed_scheduler(schedulers::SchedulerSpec spec, const std::string& class_name,
                                            const Json& overrides, const SchedulerRules& rules) {
  if (!overrides.is_object())
    throw UsageError("scheduler config: is {}; expected a JSON object", excerpt(overrides));
  spec.class_name = class_name;
  for (const std::string& key : spec.not_in_file) spec.config.erase(key);
  spec.not_in_file.clear();
  for (const auto& [key, value] : overrides.items()) spec.config[key] = value;
  if (overrides.empty()) {
    check_scheduler(spec, rules);
    return spec;
  }
  constexpr std::string_view kChanged = " with overrides";
  if (!spec.source.ends_with(kChanged)) spec.source += kChanged;
  try {
    warn_of_unread(overrides, keys_read_by([&] { check_scheduler(spec, rules); }), class_name);
  } catch (const CheckpointError& error) {
    throw UsageError("{}", error.what());  // the overrides are the caller's, not the checkpoint's
  }
  return spec;
}

schedulers::SchedulerSpec scheduler_of(const Request& request, const schedulers::SchedulerSpec& of_pipeline,
                                       const SchedulerRules& rules) {
  if (request.scheduler.empty()) require_usable(of_pipeline, rules.facts);
  if (request.scheduler.empty() && request.scheduler_config.empty()) return of_pipeline;
  const std::string& class_name = request.scheduler.empty() ? of_pipeline.class_name : request.scheduler;
  try {
    return changed_scheduler(of_pipeline, class_name, request.scheduler_config, rules);
  } catch (const CheckpointError& error) {
    throw UsageError("{}", error.what());  // the choice is the request's: another one may fit
  }
}

schedulers::SchedulerSpec first_scheduler(schedulers::SchedulerSpec of_checkpoint,
                                          const loading::LoadOptions& options, const SchedulerRules& rules) {
  const bool is_own = options.scheduler.empty();
  // Keys for a scheduler that is not there would be lost without a word.
  if (is_own && (options.requires_scheduler || !options.scheduler_config.empty()))
    require_usable(of_checkpoint, rules.facts);
  if (is_own && !can_use(of_checkpoint, rules.facts)) return of_checkpoint;
  if (!is_own || !options.scheduler_config.empty()) {
    const std::string class_name = is_own ? of_checkpoint.class_name : options.scheduler;
    return changed_scheduler(std::move(of_checkpoint), class_name, options.scheduler_config, rules);
  }
  check_scheduler(of_checkpoint, rules);
  return of_checkpoint;
}

}  // namespace diffract::pipelines
